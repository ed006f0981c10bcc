"""Own envelopes and those of others: how they come, go, and are carried."""

from dataclasses import dataclass

from p2pnode.ids import ContactId, DeviceId, EnvelopeId
from p2pnode.turns.asks.links import LinkId

BY_COURIER: LinkId = 0
"""Stands for a link in `Arrived` when an envelope came in a courier's file."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An envelope came over a link.

    device: None where none has proved itself. contact: who is charged: a contact, FRIEND on links
    of a locked node, None for strangers. later: it may wait, unless its author hands it over for
    us; then nothing is done, and the effect Later says so.
    """

    link: LinkId
    device: DeviceId | None
    contact: ContactId | None
    age: int
    raw: bytes
    later: bool = False


@dataclass(frozen=True, slots=True)
class Offered:
    """The other side of a link names envelopes it could send.

    device: None where it has not proved itself, also where it runs locked; peer: then too.
    """

    link: LinkId
    device: DeviceId | None
    ids: tuple[EnvelopeId, ...]
    peer: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A contact's device says that envelopes are durable there, or opened (`receipts`).

    locked: it runs with its vault locked, and so took even what is for itself as a carrier.
    """

    device: DeviceId
    ids: tuple[EnvelopeId, ...]
    receipts: bool
    transport: str
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """The next page of envelopes for a device, after outbox row `after`."""

    device: DeviceId
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """The bytes of some own envelopes."""

    ids: tuple[EnvelopeId, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Time passes: copies of own envelopes go to carriers, and overdue receipts are written.

    links: those on which envelopes may be given to somebody, with the device there.
    """

    links: tuple[tuple[LinkId, DeviceId | None], ...] = ()


@dataclass(frozen=True, slots=True)
class OwnParcels:
    """The next own envelopes for a courier, after outbox row `after`; for a contact, or all."""

    contact: ContactId | None
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class CarriedIds:
    """The next ids of carried envelopes, after custody's row `after`."""

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Couriered:
    """Own envelopes were written to a courier's place."""

    ids: tuple[EnvelopeId, ...]


@dataclass(frozen=True, slots=True)
class GetLeaves:
    """The digests of all that is or was carried, and the newest row, for a reconciliation.

    peer: with whom; what is held back from it does not count.
    """

    peer: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class GetLeafIds:
    """The ids in some leaves, as towards a peer."""

    leaves: tuple[int, ...]
    peer: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """Which of these envelopes are carried, with their sources, in the order they came: about that
    of their writing. A recipient keeps only so many keys for what it has not seen yet."""

    ids: tuple[EnvelopeId, ...]


@dataclass(frozen=True, slots=True)
class GetRecent:
    """The ids of what came into custody after row `after`, and the newest row now; at most `limit`
    ids, as towards a peer."""

    after: int
    limit: int
    peer: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class ForStrangers:
    """Which carried envelopes a stranger may get now."""


@dataclass(frozen=True, slots=True)
class HaveCome:
    """The other side of a link says that carried envelopes have come: (id, token) pairs."""

    link: LinkId
    pairs: tuple[tuple[EnvelopeId, bytes], ...]


@dataclass(frozen=True, slots=True)
class Examine:
    """Open what came into custody while nobody could: after row `after`. Answers the last row
    examined, None when there was nothing more."""

    after: int


@dataclass(frozen=True, slots=True)
class FetchCarried:
    """The bytes of some carried envelopes."""

    ids: tuple[EnvelopeId, ...]
