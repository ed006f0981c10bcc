"""What happened, stored until whoever takes it acknowledges it."""

from typing import Annotated, Literal

import msgspec

from p2pnode.schema.base import Answer, Asks, Done, Page, Seconds
from p2pnode.schema.messages import Message

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

Consumer = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
"""Who takes events: each consumer has its own acknowledged cursor."""

Place = Annotated[int, msgspec.Meta(ge=-1, le=2**53)]
"""A cursor, as far as every language's numbers are exact; -1: the consumer's own."""


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


class AckEvents(Asks[Done], frozen=True):
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
