"""What turns want done after their commit. The engine performs them; none waits for a peer."""

from dataclasses import dataclass
from typing import Any

from p2pnode.ids import ContactId, DeviceId, EnvelopeId, PairingId
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.link.messages import LinkMessage
from p2pnode.schema import Event
from p2pnode.turns.asks.envelopes import Arrived


@dataclass(frozen=True, slots=True)
class Push:
    """A new envelope for a device: send it now where a link with it stands and keeps up."""

    device: DeviceId
    row: int
    envelope: EnvelopeId
    age: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message on one link, if it still stands."""

    link: int
    message: LinkMessage


@dataclass(frozen=True, slots=True)
class Carried:
    """An envelope is in custody that was not before: others may want it. link: where it came by;
    source: the slot it is charged to. late: it was there before, but others were not to know."""

    link: int | None
    envelope: EnvelopeId
    source: bytes
    late: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """An envelope may wait until others come: nothing was done with it."""

    ask: Arrived


@dataclass(frozen=True, slots=True)
class Give:
    """A fresh own envelope for one carrier: send it on this link, if it still stands."""

    link: int
    envelope: EnvelopeId
    age: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """Tell the author's device that an envelope was opened, on a link with that device."""

    device: DeviceId
    envelope: EnvelopeId


@dataclass(frozen=True, slots=True)
class Charge:
    """Foreign input was refused: count it, against its link where there is one."""

    link: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Something was not taken in, so that the disk keeps some room: the person must know."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event was stored: tell the clients that listen now."""

    event: Event


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """Contacts, their keys or open pairings changed: recognise others from now on, dial anew."""


@dataclass(frozen=True, slots=True)
class KeyStepped:
    """A device's link key has moved on."""

    device: DeviceId
    key: LinkKey


@dataclass(frozen=True, slots=True)
class PassKept:
    """A device is recognised by another carry pass from now on."""

    device: DeviceId
    secret: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """End the links with a device; unsought: nobody is dialled for its sake until it is told of
    anew."""

    device: DeviceId
    unsought: bool = False


@dataclass(frozen=True, slots=True)
class Parted:
    """A contact is recognised otherwise from now on: let all links with it begin anew."""

    contact: ContactId


@dataclass(frozen=True, slots=True)
class TwinStepped:
    """The link key of a device that a reset replaced has moved on."""

    twin: int
    key: LinkKey


@dataclass(frozen=True, slots=True)
class LaneOpened:
    """Transports shall serve a lane."""

    lane: bytes


@dataclass(frozen=True, slots=True)
class LaneClosed:
    """Transports shall not serve a lane for now, and keep what belongs to it."""

    lane: bytes


@dataclass(frozen=True, slots=True)
class LaneRevoked:
    """Transports shall forget a lane."""

    lane: bytes


@dataclass(frozen=True, slots=True)
class Paired:
    """A pairing made an active contact."""

    contact: ContactId
    account: bytes
    name: str


@dataclass(frozen=True, slots=True)
class PairedMutually:
    """The keys of a mutual scan are here."""

    pairing: PairingId
    account: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Reachable:
    """A contact's device told an address."""

    device: DeviceId
    lane: bytes
    transport: str
    address: bytes


@dataclass(frozen=True, slots=True)
class PushPairing:
    """Envelopes of a mutual pairing are ready to travel."""

    pairing: PairingId
    envelopes: tuple[tuple[int, bytes], ...]
    """(age in hours, bytes) each."""


@dataclass(frozen=True, slots=True)
class Scrub:
    """Something was deleted: see to it that files and logs no longer hold it."""


Effect = (
    Push
    | Tell
    | Give
    | Receipt
    | Carried
    | Later
    | Charge
    | NoRoom
    | Happened
    | PeersChanged
    | KeyStepped
    | PassKept
    | Cut
    | Parted
    | TwinStepped
    | LaneOpened
    | LaneClosed
    | LaneRevoked
    | Paired
    | PairedMutually
    | Reachable
    | PushPairing
    | Scrub
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a turn decided: an answer for whoever asked, and effects."""

    answer: Any = None
    effects: tuple[Effect, ...] = ()
