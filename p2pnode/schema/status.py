"""Who this node is and how it stands."""

from typing import Literal

from p2pnode.schema.base import Answer, Asks, Seconds
from p2pnode.schema.rights import Erasing


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
    erasing: list[Erasing] = []
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
