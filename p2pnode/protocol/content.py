"""What an opened envelope says: one byte of kind, then the MessagePack of that kind's struct.

A kind this version does not know is `Unknown`, not an error, so that newer nodes can say more.
"""

from typing import Annotated

import msgspec

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import limits, wire


class Text(wire.Wire, frozen=True):
    """A message a person wrote or a client sent."""

    id: wire.Bytes16
    """Chosen by the author, random, unique within the author's account."""
    clock: wire.Unsigned
    """One more than the highest clock the author had seen in the conversation."""
    heads: Annotated[tuple[wire.Bytes16, ...], msgspec.Meta(max_length=limits.MAX_HEADS)]
    """Ids of the newest messages the author had seen: what this one comes after."""
    at: wire.Unsigned
    """The author's wall time in seconds: a caption, never an order."""
    text: str
    """At most `limits.MAX_TEXT` bytes of UTF-8."""


class Receipts(wire.Wire, frozen=True):
    """Envelopes that the sender of this has opened and stored, by envelope id."""

    ids: Annotated[tuple[wire.Bytes32, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_IDS)]


Span = Annotated[int, msgspec.Meta(ge=limits.MIN_SPAN, le=limits.MAX_SPAN)]
"""Seconds a message lives."""


class Fading(wire.Wire, frozen=True):
    """A text that both agreed shall go: as `Text`, and `span` seconds later it is gone.

    They count from its writing at the author's, from its coming at the recipient's.
    """

    id: wire.Bytes16
    clock: wire.Unsigned
    heads: Annotated[tuple[wire.Bytes16, ...], msgspec.Meta(max_length=limits.MAX_HEADS)]
    at: wire.Unsigned
    text: str
    span: Span


class Proposal(wire.Wire, frozen=True):
    """From the answer to this on messages shall go after `span` seconds; 0: they shall stay.

    answers: the id of the other's proposal that this one replaces, empty when there was none.
    """

    id: wire.Bytes16
    span: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_SPAN)]
    answers: Annotated[bytes, msgspec.Meta(max_length=16)]


class Verdict(wire.Wire, frozen=True):
    """The answer to a proposal: it is in force, or it is not."""

    id: wire.Bytes16
    accepted: bool


class Redaction(wire.Wire, frozen=True):
    """The author of a message asks to have it removed. Whether that is done is not told."""

    id: wire.Bytes16


class ResetAnswer(wire.Wire, frozen=True):
    """A reset was taken.

    restore: its id. reset_dh, reset_kem: the sender's next reset keys. clock: the highest of the
    conversation, so that what is written after a restore stands after what was there. crossing: id
    of the sender's own reset out of the same generation, empty for none.
    """

    restore: wire.Bytes16
    reset_dh: wire.Bytes32
    reset_kem: wire.KemPublic
    clock: wire.Unsigned
    crossing: Annotated[bytes, msgspec.Meta(max_length=16)]


class Replaced(wire.Wire, frozen=True):
    """Said once in a session that a reset has replaced: whoever reads this is another copy."""

    restore: wire.Bytes16


class Unknown(msgspec.Struct, frozen=True):
    """A kind of content from a newer version."""

    kind: int


Content = Text | Receipts | Fading | Proposal | Verdict | Redaction | ResetAnswer | Replaced

_KINDS: dict[int, type[Content]] = {
    1: Text,
    2: Receipts,
    3: Fading,
    4: Proposal,
    5: Verdict,
    6: Redaction,
    10: ResetAnswer,
    11: Replaced,
}
_BYTES = {kind: bytes((number,)) for number, kind in _KINDS.items()}


def encode_content(content: Content) -> bytes:
    """Return the bytes to seal. Raises InvalidInput for a text that is too long or not Unicode."""
    if isinstance(content, Text | Fading):
        try:
            length = len(content.text.encode())
        except UnicodeEncodeError:
            raise InvalidInput("the text is not valid Unicode") from None
        if length > limits.MAX_TEXT:
            raise InvalidInput(
                "the message is too long",
                why=f"{length} bytes, at most {limits.MAX_TEXT} fit",
                hint="Send it in several messages",
            )
    return _BYTES[type(content)] + wire.encode(content)


def content_untrusted(raw: bytes) -> Content | Unknown:
    """Return what an opened envelope says. Raises RemoteError when it is malformed."""
    if not raw:
        raise RemoteError("empty-content")
    shape = _KINDS.get(raw[0])
    if shape is None:
        return Unknown(raw[0])
    content = wire.decode_untrusted(raw[1:], shape)
    if isinstance(content, Text | Fading) and len(content.text.encode()) > limits.MAX_TEXT:
        raise RemoteError("text-too-long")
    if isinstance(content, Proposal):
        if 0 < content.span < limits.MIN_SPAN:
            raise RemoteError("bad-span")
        if len(content.answers) not in (0, 16):
            raise RemoteError("bad-proposal")
    return content
