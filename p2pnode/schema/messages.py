"""Writing, reading, and what became of it."""

from typing import Annotated, Literal

import msgspec

from p2pnode.schema.base import Answer, Asks, Name, Page, Seconds

MAX_TEXT = 61_440
"""Bytes of UTF-8 in one message; equals the protocol's bound (a test holds them together)."""

State = Literal["queued", "handed", "delivered", "read", "expired", "received"]
"""queued → handed (to n carriers, or to the recipient's own node) → delivered → read | expired;
a message of somebody else is `received`. States never go back."""


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


class Redact(Asks["Message"], frozen=True):
    """Ask the recipient to remove one's own message; id may be a unique beginning."""

    id: str
