"""The local API's typed requests, answers and events: what clients and the node agree on.

Every request names its JSON-RPC method and its answer in `METHODS`. Ids are lower-case base32
text (`p2pnode.ids.id_text`), times are integer Unix seconds of this node's own clock (a caption,
never an order), durations are seconds. Every answer and event carries `schema: 1`.
"""

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from p2pnode.errors import LocalError

SCHEMA = 1

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Page = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Consumer = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
"""Who takes events: each consumer has its own acknowledged cursor."""
Place = Annotated[int, msgspec.Meta(ge=-1, le=2**53)]
"""A cursor, as far as every language's numbers are exact; -1: the consumer's own."""

MAX_TEXT = 61_440
"""Bytes of UTF-8 in one message; equals the protocol's bound (a test holds them together)."""

EventKind = Literal[
    "message.received",
    "message.state",
    "message.redacted",
    "contact.paired",
    "contact.suspect",
    "contact.changed",
    "disappear.proposed",
    "disappear.agreed",
    "disappear.declined",
    "disappear.withdrawn",
]
State = Literal["queued", "handed", "delivered", "read", "expired", "received"]
"""queued → handed (to n carriers, or to the recipient's own node) → delivered → read | expired;
a message of somebody else is `received`. States never go back."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding foreign JSON may raise: bad UTF-8 inside of a string has an error of its own."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every request."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every answer and event."""

    schema: int = SCHEMA


A = TypeVar("A", bound=Answer)


class Asks(Request, Generic[A], frozen=True):
    """A request whose answer is an `A`: so clients get typed answers from one `call`."""


# Identity and status ---------------------------------------------------------------------------


class GetIdentity(Asks["Identity"], frozen=True):
    """Ask who this node is."""


class Identity(Answer, frozen=True):
    """This node's account and device. `name` is a hint given to contacts at pairing."""

    name: str
    account: str
    device: str
    fingerprint: str
    words: list[str]


class GetReady(Asks["Ready"], frozen=True):
    """Wait until all configured transports have started or failed."""

    timeout: Seconds = 0


class Ready(Answer, frozen=True):
    """Whether they have."""

    ready: bool


class GetStatus(Asks["Status"], frozen=True):
    """Ask how the node is."""


class TransportStatus(Answer, frozen=True):
    """State of one transport; detail is a short constant."""

    state: str
    detail: str = ""
    nearby: int = 0


class CustodyStatus(Answer, frozen=True):
    """Envelopes carried, and their bytes; for whom, and the bytes charged to each kind of source
    (these count what is remembered of envelopes that have gone)."""

    count: int
    bytes: int
    limit: int
    carries_for: Literal["contacts", "everyone", "nobody"] = "contacts"
    own: int = 0
    contacts: int = 0
    couriers: int = 0
    strangers: int = 0


class LinkStatus(Answer, frozen=True):
    """One link that stands now.

    kind: contact; carrier (a contact's node whose vault is locked); friend (this node is locked,
    somebody knows its carry pass); pairing; returning (a contact that begins anew); twin (a copy of
    a contact that was replaced); stranger. contact: the petname, where it is known.
    sent, received: envelopes so far; waiting: those known to go to the other side still.
    """

    transport: str
    contact: str
    age: float
    kind: Literal["contact", "carrier", "friend", "pairing", "returning", "twin", "stranger"] = (
        "contact"
    )
    sent: int = 0
    received: int = 0
    waiting: int = 0


class OutboxStatus(Answer, frozen=True):
    """Own messages under way: how many, and the age in seconds of the oldest."""

    count: int
    oldest: float


class ProgramStatus(Answer, frozen=True):
    """A program that is run for events: a hook, or the desktop's notifications.

    state: ready, running, retrying (the last try failed, another follows), refused (it must not be
    run as it is; events wait). done, failed: tries since the start; skipped: events given up.
    detail: what was wrong last, a short constant.
    """

    state: Literal["ready", "running", "retrying", "refused"]
    done: int = 0
    failed: int = 0
    skipped: int = 0
    detail: str = ""


class BackupStatus(Answer, frozen=True):
    """When the last backup was made, None for never; missing: contacts it could not bring back."""

    at: int | None
    missing: int


class Status(Answer, frozen=True):
    """The whole picture."""

    version: str
    uptime: float
    contacts: int
    pending: int
    links: list[LinkStatus]
    outbox: OutboxStatus
    custody: CustodyStatus
    transports: dict[str, TransportStatus]
    locked: bool = False
    """The vault is locked: this node carries and forwards, and does nothing else."""
    erasing: list["Erasing"] = []
    """What is to be erased, and when."""
    work: dict[str, int] = {}
    """Long work under way and how far it has come: export (rows written)."""
    courier: dict[str, int] = {}
    """Envelopes handled so far by courier work that is not done: write, read."""
    rejected: dict[str, int] = {}
    """Foreign input refused since start, by reason."""
    warnings: list[str] = []
    programs: dict[str, ProgramStatus] = {}
    """Programs run for events, by what they are: on_message, desktop."""
    backup: BackupStatus | None = None
    """None while the vault is locked."""


class CreateBackup(Asks["BackupMade"], frozen=True):
    """Write a backup to a new file (absolute path); the secret that opens the vault is asked for.

    history: with all messages. One of passphrase and key_file (absolute path), as for Unlock.
    """

    place: Annotated[str, msgspec.Meta(max_length=4_096)]
    history: bool = False
    passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""


class BackupMade(Answer, frozen=True):
    """The phrase that opens the backup, which is told this once, and what is in it."""

    place: str
    phrase: str
    contacts: int
    messages: int
    bytes: int


class Unlock(Asks["Done"], frozen=True):
    """Open the vault of a node that runs locked. One of the two: the passphrase, or the path of the
    key file."""

    passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""


class ChangeSecret(Asks["Done"], frozen=True):
    """Change what opens the vault, locked or open; it stays as it is. Paths are absolute.

    What opens it now: the passphrase, or the path of the key file. From now on: one of the new
    ones; without either the key lies beside the vault in the clear.
    """

    passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    new_passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    new_key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""


class Lock(Asks["Done"], frozen=True):
    """Close the vault of a running node: from now on it carries and forwards, and no more."""


class Reload(Asks["Reloaded"], frozen=True):
    """Read config.toml again, as SIGHUP does. A file that cannot be used changes nothing."""


class Reloaded(Answer, frozen=True):
    """What came of it. applied: changed settings in force from now on; restart: changed settings
    that the next start brings."""

    applied: list[str]
    restart: list[str]


class GetMetrics(Asks["Metrics"], frozen=True):
    """Ask for the counts, where `[metrics]` allows it."""


class Metrics(Answer, frozen=True):
    """Counts since the start, in Prometheus' text format. They name nobody."""

    text: str


class Diagnose(Asks["Diagnosis"], frozen=True):
    """Ask for a look at everything that could be wrong; may take some seconds."""


class Finding(Answer, frozen=True):
    """One thing that was looked at: where, what, how it is, and what would mend it."""

    area: str
    name: str
    result: Literal["pass", "warn", "fail", "skip"]
    detail: str
    fix: str = ""


class Diagnosis(Answer, frozen=True):
    """All findings, in the order of their areas."""

    findings: list[Finding]


class GetPeers(Asks["Peers"], frozen=True):
    """Ask who was met, and what waits for whom."""


class Peer(Answer, frozen=True):
    """A contact as somebody to meet.

    over: the transport of the link that stands now, or empty; locked: it is there, but only
    carries. encounters: links with it so far. waiting: own messages for it under way, oldest: age
    of the oldest in seconds. carrying: own envelopes under way that it has taken to carry. tag:
    what the log calls it until the daemon ends.
    """

    name: str
    state: Literal["pending", "active", "blocked", "suspect"]
    over: str
    locked: bool
    last_seen: int | None
    encounters: int
    waiting: int
    oldest: float
    carrying: int
    tag: str = ""


class Peers(Answer, frozen=True):
    """All contacts, sorted by name."""

    peers: list[Peer]


class GetMap(Asks["Map"], frozen=True):
    """Ask whom this node met, over what and when."""


class Meetings(Answer, frozen=True):
    """Links with a contact over one transport: how many on each of the last days, oldest first, the
    last entry today; last: when the last one came up, by the wall clock then."""

    transport: str
    days: list[int]
    last: int


class MapEntry(Answer, frozen=True):
    """A contact on the map: how it stands as a peer, and its meetings, the most frequent first."""

    peer: Peer
    met: list[Meetings]


class Map(Answer, frozen=True):
    """What this node saw itself, for its person alone; `name` is its own. Sorted by contact."""

    name: str
    days: int
    places: list[MapEntry]


# Pairing ---------------------------------------------------------------------------------------


class ShowCode(Asks["Pairing"], frozen=True):
    """Open a pairing and show its code.

    mutual: both show and scan; needs no common medium. remote: the code also names a place where
    whoever is not near reaches this node (an onion); needs a transport that has one. timeout:
    seconds to wait until that transport is up.
    """

    mutual: bool = False
    remote: bool = False
    timeout: Seconds = 0


class JoinCode(Asks["Pairing"], frozen=True):
    """Use a code. With `pairing` (of a mutual code shown here) it completes a mutual scan."""

    uri: Annotated[str, msgspec.Meta(max_length=1_024)]
    petname: Name = ""
    pairing: str = ""


class Pairing(Answer, frozen=True):
    """An open pairing; uri is empty on the joining side."""

    pairing: str
    uri: str
    expires_in: float


class NextStep(Asks["PairingStep"], frozen=True):
    """Wait for the step after the `seen`-th of a pairing."""

    pairing: str
    seen: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    timeout: Seconds = 30


class PairingStep(Answer, frozen=True):
    """A step of a pairing.

    waiting: nobody has come yet (also the answer when the time is over); compare: read the words
    to each other; confirming: own yes given, the other's is awaited; keys-under-way: mutual scan
    done, the keys follow over any path; paired; failed (reason is a slug).
    """

    pairing: str
    step: int
    event: Literal["waiting", "compare", "confirming", "keys-under-way", "paired", "failed"]
    words: list[str] = []
    emoji: list[str] = []
    contact: str = ""
    fingerprint: str = ""
    reason: str = ""


class AnswerPairing(Asks["PairingStep"], frozen=True):
    """The person's answer to compare; petname names the contact."""

    pairing: str
    yes: bool
    petname: Name = ""


class CancelPairing(Asks["Done"], frozen=True):
    """Void a pairing."""

    pairing: str


# Contacts --------------------------------------------------------------------------------------


class ListContacts(Asks["Contacts"], frozen=True):
    """Ask for the address book."""


class ContactRef(Asks["Contact"], frozen=True):
    """Ask for one contact, by petname or account id."""

    contact: Name


class Contact(Answer, frozen=True):
    """One contact.

    hint: what it calls itself, made safe to show. state: pending (their yes or keys are awaited),
    active, blocked, suspect (nothing is sent). verified: how the key was checked (words compared
    at pairing, codes scanned both ways, or later in person); no: not since it was restored. doubt:
    why it is suspect: mismatch (of fingerprints), rollback (its node was set back to an old state),
    clone (two copies of it run), replaced (it says that your own identity was restored elsewhere).
    """

    name: str
    hint: str
    account: str
    fingerprint: str
    words: list[str]
    state: Literal["pending", "active", "blocked", "suspect"]
    verified: Literal["no", "words", "scan", "person"]
    devices: list[str]
    last_seen: int | None
    online: bool
    doubt: Literal["", "mismatch", "rollback", "clone", "replaced"] = ""


class Contacts(Answer, frozen=True):
    """The address book, sorted by name."""

    contacts: list[Contact]


class RenameContact(Asks["Contact"], frozen=True):
    """Change a petname."""

    contact: Name
    name: Name


class RemoveContact(Asks["Done"], frozen=True):
    """Forget a contact, its keys, sessions, messages and addresses."""

    contact: Name


class BlockContact(Asks["Contact"], frozen=True):
    """Block or unblock a contact: nothing of it is taken, nothing is sent."""

    contact: Name
    blocked: bool = True


class RotateAddress(Asks["Done"], frozen=True):
    """Change the addresses a contact reaches this node at; the old ones serve until it has the new
    ones."""

    contact: Name


class VerifyContact(Asks["Contact"], frozen=True):
    """Record that the fingerprint was compared in person, or that it did not match."""

    contact: Name
    matches: bool


class Done(Answer, frozen=True):
    """It is done."""

    done: bool = True


# Messages --------------------------------------------------------------------------------------


class Send(Asks["Sent"], frozen=True):
    """Write to a contact. lifetime: class 0..4 for 1, 3, 7, 14, 30 days."""

    to: Name
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    lifetime: Annotated[int, msgspec.Meta(ge=0, le=4)] = 3


class Sent(Answer, frozen=True):
    """The message is durable and will travel; `id` names it from now on."""

    id: str
    state: State


class WaitState(Asks["Message"], frozen=True):
    """Wait until a message has reached a state (or a later one), or the time is over."""

    id: str
    state: State = "delivered"
    timeout: Seconds = 30


class Message(Answer, frozen=True):
    """One message. `from` and `to` are petnames, empty for oneself.

    at: when it was written, by the author's clock, a caption; missing: how many messages the
    author had seen that this node has not. redacted: its author asked to have it removed (its text
    is empty then, unless `[privacy] redactions` is off, or it is one's own). span: seconds it
    lives, as both agreed; 0 without end.
    """

    id: str
    from_: str = msgspec.field(name="from")
    to: str
    text: str
    state: State
    at: int
    missing: int = 0
    redacted: bool = False
    span: int = 0


class GetHistory(Asks["History"], frozen=True):
    """Ask for the newest messages with a contact, in causal order; `before` pages back by id."""

    contact: Name
    limit: Page = 100
    before: str = ""


class History(Answer, frozen=True):
    """Messages, oldest first."""

    messages: list[Message]


class Why(Asks["Because"], frozen=True):
    """Ask what happened to a message; id may be a unique beginning of four characters or more."""

    id: str


class WhyEvent(Answer, frozen=True):
    """One thing that happened: a constant kind, and a sentence for people."""

    at: int
    kind: str
    text: str


class Because(Answer, frozen=True):
    """The events behind a message's state, oldest first, and what it means now."""

    id: str
    state: State
    events: list[WhyEvent]
    summary: str


# Events ----------------------------------------------------------------------------------------


class TakeEvents(Asks["Events"], frozen=True):
    """Ask for stored events after the consumer's acknowledged cursor (or after `after`)."""

    consumer: Consumer
    after: Place = -1
    limit: Page = 100
    timeout: Seconds = 0


class Event(Answer, frozen=True):
    """A stored event; it comes at least once until its consumer acknowledges it.

    message.received, message.state and message.redacted carry `message`; the others carry
    `contact`. reason: of contact.changed, restored (the contact begins anew, from a backup or an
    old disk image), reset-answered (it has taken our own new beginning), set-back (our own store
    was found to be an old one), known-already (a mutual scan with it ended); of contact.suspect,
    restored-twice, clone, rollback, replaced (see `Contact.doubt`); else empty.
    """

    cursor: int
    kind: EventKind
    at: int
    message: Message | None = None
    contact: str = ""
    reason: str = ""


class Events(Answer, frozen=True):
    """Events in order."""

    events: list[Event]


class AckEvents(Asks["Done"], frozen=True):
    """Acknowledge all events up to and including a cursor."""

    consumer: Consumer
    cursor: Place


class BeginEvents(Asks["Begun"], frozen=True):
    """Let a consumer that was never seen begin with the next event instead of the oldest. One that
    is known stays where it is."""

    consumer: Consumer


class Begun(Answer, frozen=True):
    """Where the consumer is now; fresh: it was not known before."""

    cursor: int
    fresh: bool


# Courier files ---------------------------------------------------------------------------------


class WriteCourier(Asks["CourierWritten"], frozen=True):
    """Write envelopes to a folder: own mail, then what is carried.

    place: absolute path. contact: own mail to this one alone. max_size: bytes, 0 for no limit.
    """

    place: Annotated[str, msgspec.Meta(max_length=4_096)]
    contact: Name = ""
    max_size: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class CourierWritten(Answer, frozen=True):
    """What was added to the folder; what it held already is not counted."""

    envelopes: int
    bytes: int


class ReadCourier(Asks["CourierRead"], frozen=True):
    """Take in the envelopes in a folder (absolute path)."""

    place: Annotated[str, msgspec.Meta(max_length=4_096)]


class CourierRead(Answer, frozen=True):
    """Envelopes found, those new here, those of them that were for us, those there was no room
    for."""

    found: int
    new: int
    opened: int
    refused: int


# One's own data --------------------------------------------------------------------------------


class Export(Asks["Exported"], frozen=True):
    """Write everything that is kept about this node's person, and by it, into one archive.

    path: absolute; the daemon writes it. replace: a file that is there already may be replaced.
    """

    path: Annotated[str, msgspec.Meta(max_length=4_096)]
    replace: bool = False


class Exported(Answer, frozen=True):
    """Where the archive is, its size, and how much of what people look for is in it."""

    path: str
    bytes: int
    contacts: int
    messages: int


class Erase(Asks["Erasures"], frozen=True):
    """Erase a contact, only the conversation with it, or all of this node.

    now: without the grace period of a day, in which it can be cancelled. settings: for all, also
    config.toml.
    """

    what: Literal["contact", "conversation", "all"]
    contact: Name = ""
    now: bool = False
    settings: bool = False


class CancelErasures(Asks["Erasures"], frozen=True):
    """Cancel what is planned: of a contact, or everything."""

    contact: Name = ""


class GetErasures(Asks["Erasures"], frozen=True):
    """Ask what is planned."""


class Erasing(Answer, frozen=True):
    """A planned erasure, and in how many seconds it comes."""

    what: Literal["contact", "conversation", "all"]
    contact: str
    left: float


class Erasures(Answer, frozen=True):
    """What is planned now; cancelled: how many were until this call."""

    erasing: list[Erasing]
    cancelled: int = 0


class GetRules(Asks["Rules"], frozen=True):
    """Ask how long messages are kept, with one contact or with all."""

    contact: Name = ""


class SetRetention(Asks["Rules"], frozen=True):
    """Keep messages with a contact for so many days: 0 for ever, None as the settings say."""

    contact: Name
    days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] | None


class Propose(Asks["Rules"], frozen=True):
    """Propose that messages disappear so many seconds after they were written, and after they came;
    0: that they stay. The same as the other proposed accepts it."""

    contact: Name
    seconds: Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)]


class AnswerProposal(Asks["Rules"], frozen=True):
    """Accept or decline what a contact proposed."""

    contact: Name
    accepted: bool


class Rule(Answer, frozen=True):
    """How long messages with a contact are kept.

    days: as set for it, None for as the settings say. seconds: after which messages disappear, as
    both agreed, 0 for never. proposed: what waits for the other's answer; offered: for ours.
    """

    contact: str
    days: int | None
    seconds: int
    proposed: int | None = None
    offered: int | None = None


class Rules(Answer, frozen=True):
    """The rules of one contact, or of all; default: days the settings say, 0 for ever."""

    default: int
    rules: list[Rule]


class Redact(Asks["Message"], frozen=True):
    """Ask the recipient to remove one's own message; id may be a unique beginning."""

    id: str


METHODS: dict[str, tuple[type[Request], type[Answer]]] = {
    "identity.get": (GetIdentity, Identity),
    "node.ready": (GetReady, Ready),
    "node.status": (GetStatus, Status),
    "node.unlock": (Unlock, Done),
    "node.lock": (Lock, Done),
    "node.secret": (ChangeSecret, Done),
    "node.backup": (CreateBackup, BackupMade),
    "node.diagnose": (Diagnose, Diagnosis),
    "node.reload": (Reload, Reloaded),
    "node.metrics": (GetMetrics, Metrics),
    "peers.list": (GetPeers, Peers),
    "peers.map": (GetMap, Map),
    "pair.show": (ShowCode, Pairing),
    "pair.join": (JoinCode, Pairing),
    "pair.next": (NextStep, PairingStep),
    "pair.answer": (AnswerPairing, PairingStep),
    "pair.cancel": (CancelPairing, Done),
    "contacts.list": (ListContacts, Contacts),
    "contacts.get": (ContactRef, Contact),
    "contacts.rename": (RenameContact, Contact),
    "contacts.remove": (RemoveContact, Done),
    "contacts.block": (BlockContact, Contact),
    "contacts.rotate": (RotateAddress, Done),
    "contacts.verify": (VerifyContact, Contact),
    "message.send": (Send, Sent),
    "message.wait": (WaitState, Message),
    "message.history": (GetHistory, History),
    "message.why": (Why, Because),
    "message.redact": (Redact, Message),
    "conversation.rules": (GetRules, Rules),
    "conversation.retain": (SetRetention, Rules),
    "conversation.propose": (Propose, Rules),
    "conversation.answer": (AnswerProposal, Rules),
    "data.export": (Export, Exported),
    "data.erase": (Erase, Erasures),
    "data.cancel": (CancelErasures, Erasures),
    "data.erasures": (GetErasures, Erasures),
    "courier.write": (WriteCourier, CourierWritten),
    "courier.read": (ReadCourier, CourierRead),
    "events.take": (TakeEvents, Events),
    "events.ack": (AckEvents, Done),
    "events.begin": (BeginEvents, Begun),
}
"""JSON-RPC method → (request, answer)."""

CALLS: dict[type[Request], tuple[str, type[Answer]]] = {
    request: (method, answer) for method, (request, answer) in METHODS.items()
}
"""The same the other way round: request → (JSON-RPC method, answer)."""

LONG: tuple[type[Request], ...] = (
    Unlock,
    ChangeSecret,
    CreateBackup,
    Diagnose,
    Export,
    WriteCourier,
    ReadCourier,
)
"""Requests that may take long without a timeout of their own."""


class Service:
    """What the API server needs of a node: one door for every method. `p2pnode.node` derives it."""

    async def call(self, request: Request) -> Answer:
        """Carry out a request; raises LocalError for what a person can understand."""
        raise LookupError(type(request).__name__)

    async def send_all(self, requests: Sequence[Send]) -> list[Answer | LocalError]:
        """Send messages in their order; return each one's answer or error."""
        answers: list[Answer | LocalError] = []
        for request in requests:
            try:
                answers.append(await self.call(request))
            except LocalError as error:
                answers.append(error)
        return answers
