"""Everything that can ask for a turn. One frozen record each; bytes in it are still foreign
where the field says raw."""

from dataclasses import dataclass

from p2pnode.ids import ContactId, Cursor, DeviceId, EnvelopeId, PairingId
from p2pnode.protocol.link.messages import Addresses, Statement
from p2pnode.protocol.pairing.agreement import Agreed, Half
from p2pnode.protocol.pairing.code import Code
from p2pnode.store.records import ErasureKind, Verified

LinkId = int
"""Number of a link in this process."""


@dataclass(frozen=True, slots=True)
class Send:
    """A client writes to a contact, by its petname or account id."""

    to: str
    text: str
    lifetime: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """An envelope came over a link.

    device: None where none has proved itself. contact: who is charged: a contact, FRIEND on links
    of a locked node, None for strangers.
    """

    link: LinkId
    device: DeviceId | None
    contact: ContactId | None
    age: int
    raw: bytes


BY_COURIER: LinkId = 0
"""Stands for a link in `Arrived` when an envelope came in a courier's file."""


FRIEND = ContactId(b"a friend")
"""Stands for whoever shows this node's carry pass: one of its contacts, it cannot tell which."""


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
class Step:
    """A link is about to be proven with link key `proven`; keep the step first."""

    device: DeviceId
    proven: int


@dataclass(frozen=True, slots=True)
class GetBaselines:
    """What devices' statements will be checked against; asked before our proof leaves."""

    devices: tuple[DeviceId, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Highest index opened from a device, and the highest it ever stated, at one moment."""

    received: int
    stated_sent: int
    stated_received: int


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link with a contact's device stands."""

    device: DeviceId
    transport: str


@dataclass(frozen=True, slots=True)
class Met:
    """A link stands with a contact's device whose vault is locked."""

    device: DeviceId
    transport: str


@dataclass(frozen=True, slots=True)
class Stated:
    """A device's index statements, with the baseline taken before."""

    device: DeviceId
    statements: tuple[Statement, ...]
    baseline: Baseline


@dataclass(frozen=True, slots=True)
class Told:
    """A device told on a link where it may be reached."""

    link: LinkId
    device: DeviceId
    addresses: Addresses


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
class PassTold:
    """A device told how it is recognised while its vault is locked."""

    device: DeviceId
    secret: bytes


@dataclass(frozen=True, slots=True)
class Examine:
    """Open what came into custody while nobody could: after row `after`. Answers the last row
    examined, None when there was nothing more."""

    after: int


@dataclass(frozen=True, slots=True)
class FetchCarried:
    """The bytes of some carried envelopes."""

    ids: tuple[EnvelopeId, ...]


@dataclass(frozen=True, slots=True)
class ShowMutual:
    """A code for a mutual scan is shown; its keys must last until the other's have come."""

    id: PairingId
    code: Code
    half: Half


@dataclass(frozen=True, slots=True)
class EndPairing:
    """A durable pairing is given up."""

    id: PairingId


@dataclass(frozen=True, slots=True)
class GetPeers:
    """Who may be recognised: devices with their link keys, and mutual pairings."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Our person said yes: keep a pending contact. theirs: the other's yes is here already."""

    pairing: PairingId
    agreed: Agreed
    petname: str
    theirs: bool
    verified: Verified


@dataclass(frozen=True, slots=True)
class Confirm:
    """A device sent its confirmation of a pairing (raw)."""

    link: LinkId
    device: DeviceId
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The other person said no after ours had said yes."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class BeginMutual:
    """The other's code was scanned while ours is shown: both scans make a mutual pairing."""

    id: PairingId
    code: Code
    petname: str


@dataclass(frozen=True, slots=True)
class MutualBacklog:
    """The envelopes of a mutual pairing."""

    id: PairingId


@dataclass(frozen=True, slots=True)
class Rename:
    """Change a petname."""

    contact: ContactId
    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget a contact and all that belongs to it."""

    contact: ContactId


@dataclass(frozen=True, slots=True)
class Block:
    """Block or unblock a contact."""

    contact: ContactId
    blocked: bool


@dataclass(frozen=True, slots=True)
class Rotate:
    """Change the addresses a contact reaches this node at."""

    contact: ContactId


@dataclass(frozen=True, slots=True)
class LaneKept:
    """A device has kept the addresses of a lane it was told."""

    device: DeviceId
    lane: bytes


@dataclass(frozen=True, slots=True)
class GetLane:
    """A device's newest lane, b"" when there is none."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class PrepareResets:
    """Give devices of an older vault their reset keys in the form of now."""


@dataclass(frozen=True, slots=True)
class ReturningUp:
    """A link stands with somebody who showed the reset mark of a generation."""

    device: DeviceId
    generation: int


@dataclass(frozen=True, slots=True)
class ReturningStated:
    """What the other side of such a link states."""

    device: DeviceId
    generation: int
    statements: tuple[Statement, ...]
    baseline: Baseline


@dataclass(frozen=True, slots=True)
class StepTwin:
    """A link was proven by the link key of a device that a reset had replaced."""

    twin: int
    proven: int


@dataclass(frozen=True, slots=True)
class TwinMet:
    """A link with such a device stands."""

    twin: int


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup was made that holds all generations of reset keys up to `newest`."""

    newest: int


@dataclass(frozen=True, slots=True)
class Verify:
    """The fingerprint was compared in person."""

    contact: ContactId
    matches: bool


@dataclass(frozen=True, slots=True)
class Erase:
    """A contact, or only its conversation, is to be erased after so many seconds; 0 for now."""

    contact: ContactId
    what: ErasureKind
    after: int


@dataclass(frozen=True, slots=True)
class CancelErasures:
    """Planned erasures of a contact are not to be; None: those of all."""

    contact: ContactId | None


@dataclass(frozen=True, slots=True)
class SetRetention:
    """How many seconds messages with a contact are kept; 0 for ever, None as elsewhere."""

    contact: ContactId
    retention: int | None


@dataclass(frozen=True, slots=True)
class Propose:
    """Our person wants messages with a contact to go after so many seconds; 0: to stay."""

    contact: ContactId
    span: int


@dataclass(frozen=True, slots=True)
class Decide:
    """Our person's answer to what a contact proposed."""

    contact: ContactId
    accepted: bool


@dataclass(frozen=True, slots=True)
class Redact:
    """Our person asks to have an own message removed, by the beginning of its id."""

    message: str


@dataclass(frozen=True, slots=True)
class Collect:
    """What is over goes for good: messages, planned erasures, carried envelopes. Answers whether
    there is more to do at once."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """A consumer has taken events up to a cursor."""

    consumer: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Begin:
    """A consumer wants events from now on, if it is new. Answers (its cursor, whether it is)."""

    consumer: str


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Time has passed: expire what is over, keep the clock.

    examined: everything in custody has been looked at with the vault open (see Examine).
    """

    examined: bool = True


@dataclass(frozen=True, slots=True)
class SavePrivate:
    """A transport keeps something."""

    transport: str
    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class LoadPrivate:
    """A transport asks for what it kept."""

    transport: str
    name: str


@dataclass(frozen=True, slots=True)
class PrivateNames:
    """A transport asks under which names it kept something."""

    transport: str


Ask = (
    Send
    | Arrived
    | Offered
    | Acknowledged
    | Step
    | GetBaselines
    | LinkUp
    | Met
    | Stated
    | Told
    | Backlog
    | Fetch
    | Spread
    | Ordered
    | OwnParcels
    | CarriedIds
    | Couriered
    | FetchCarried
    | GetRecent
    | ForStrangers
    | HaveCome
    | PassTold
    | Examine
    | GetLeaves
    | GetLeafIds
    | ShowMutual
    | EndPairing
    | GetPeers
    | Keep
    | Confirm
    | Refused
    | BeginMutual
    | MutualBacklog
    | Rename
    | Remove
    | Block
    | Rotate
    | LaneKept
    | GetLane
    | PrepareResets
    | ReturningUp
    | ReturningStated
    | StepTwin
    | TwinMet
    | BackedUp
    | Verify
    | Erase
    | CancelErasures
    | SetRetention
    | Propose
    | Decide
    | Redact
    | Collect
    | Acknowledge
    | Begin
    | Upkeep
    | SavePrivate
    | LoadPrivate
    | PrivateNames
)
