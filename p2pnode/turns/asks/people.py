"""What a person, or a client for it, wants."""

from dataclasses import dataclass

from p2pnode.ids import ContactId, Cursor
from p2pnode.store.records import ErasureKind


@dataclass(frozen=True, slots=True)
class Send:
    """A client writes to a contact, by its petname or account id."""

    to: str
    text: str
    lifetime: int


@dataclass(frozen=True, slots=True)
class Redact:
    """Our person asks to have an own message removed, by the beginning of its id."""

    message: str


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
class Acknowledge:
    """A consumer has taken events up to a cursor."""

    consumer: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Begin:
    """A consumer wants events from now on, if it is new. Answers (its cursor, whether it is)."""

    consumer: str
