"""Envelopes in pieces, for slow media: a break costs a piece, and the next link goes on from there.

A link carries the pieces of one envelope after the other, in their order. What has come of an
envelope is kept for the device it came from, and told it at the beginning of the next link (Held).
"""

from collections.abc import Iterator

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.envelope import envelope_id
from p2pnode.protocol.limits import PIECE
from p2pnode.protocol.link.messages import Held, Piece


class Partial(msgspec.Struct, frozen=True, gc=False):
    """The beginning of an envelope: so many pieces of `total`, joined."""

    envelope: EnvelopeId
    total: int
    raw: bytes

    @property
    def held(self) -> Held:
        """What the other side is told, so that it goes on from there."""
        return Held(self.envelope, len(self.raw) // PIECE)


def cut(envelope: EnvelopeId, age: int, raw: bytes, start: int = 0) -> Iterator[Piece]:
    """Yield the pieces of an envelope from number `start` on."""
    total = len(raw) // PIECE
    for number in range(start, total):
        yield Piece(envelope, age, total, number, raw[number * PIECE : (number + 1) * PIECE])


def joined_untrusted(before: Partial | None, piece: Piece) -> Partial:
    """Return what is held once a piece has come; number 0 begins anew, whatever was held.

    Raises RemoteError when it does not go on where `before` ends.
    """
    if piece.number == 0:
        return Partial(piece.envelope, piece.total, piece.raw)
    if before is None or piece.envelope != before.envelope or piece.total != before.total:
        raise RemoteError("piece-of-another")
    if piece.number * PIECE != len(before.raw):
        raise RemoteError("piece-out-of-order")
    return Partial(before.envelope, before.total, before.raw + piece.raw)


def whole_untrusted(partial: Partial) -> bool:
    """Tell whether an envelope is complete. Raises RemoteError when it is another than was said."""
    if len(partial.raw) < partial.total * PIECE:
        return False
    if envelope_id(partial.raw) != partial.envelope:
        raise RemoteError("bad-pieces")
    return True
