"""What the two sides say, and how it is cut into pieces for the link.

A message is one byte, its kind, and a MessagePack record. The sides take turns, the initiator with
turn 0; a message travels in up to MAX_PIECES pieces, which may come in any order.
"""

from struct import Struct
from typing import Annotated

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.protocol.reconcile.buckets import GROUP_DIGEST
from p2pnode.protocol.reconcile.limits import (
    BLOCKS,
    CELL,
    COARSE,
    FINE,
    LEAVES,
    MAX_CELLS,
    MAX_FOUND,
    MAX_PIECES,
    MAX_RECONCILE,
    MAX_SHIFT,
    MAX_SHORTS,
    SHORT,
)
from p2pnode.protocol.wire import Bytes8, Bytes16, Unsigned, Wire, decode_untrusted, encode

VERSION = 1

Shift = Annotated[int, msgspec.Meta(ge=0, le=MAX_SHIFT)]
Listing = Annotated[bytes, msgspec.Meta(max_length=SHORT * MAX_SHORTS)]
CellBytes = Annotated[bytes, msgspec.Meta(max_length=CELL * MAX_CELLS)]
Sizes = Annotated[
    tuple[Annotated[int, msgspec.Meta(ge=1, le=MAX_CELLS)], ...],
    msgspec.Meta(max_length=BLOCKS),
]
Groups = Annotated[bytes, msgspec.Meta(min_length=1, max_length=LEAVES // 8)]


class Open(Wire, frozen=True):
    """Turn 0: the initiator's salt, which set it proposes, its count and salted root.

    checkpoint: the token of the last complete exchange when `recent`, else zeros.
    """

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    salt: Bytes16
    recent: bool
    checkpoint: Bytes8
    count: Unsigned
    root: Bytes16


class Same(Wire, frozen=True):
    """The roots are equal; the responder's salt."""

    salt: Bytes16


class Digests(Wire, frozen=True):
    """The roots differ: the responder's salt, the set it goes by, its count, its groups."""

    salt: Bytes16
    recent: bool
    count: Unsigned
    digests: Annotated[
        bytes, msgspec.Meta(min_length=GROUP_DIGEST, max_length=GROUP_DIGEST * LEAVES)
    ]


class Whole(Wire, frozen=True):
    """The roots differ, and the responder lists its whole set, or a sample of it."""

    salt: Bytes16
    recent: bool
    shift: Shift
    shorts: Listing


class Cells(Wire, frozen=True):
    """The groups that differ and a table of the ids in them, which may still be empty.

    rest stands for all other groups; count is the initiator's ids in these.
    """

    groups: Groups
    rest: Bytes8
    count: Unsigned
    sketch: Annotated[bytes, msgspec.Meta(min_length=2 * COARSE, max_length=2 * FINE)]
    sizes: Sizes
    cells: CellBytes


class Listed(Wire, frozen=True):
    """The groups that differ and the initiator's short ids in them, or a sample of these."""

    groups: Groups
    rest: Bytes8
    shift: Shift
    shorts: Listing


class AskCells(Wire, frozen=True):
    """Asks for further blocks of these sizes; another shift begins a new table."""

    shift: Shift
    sizes: Sizes


class AskList(Wire, frozen=True):
    """Asks for the short ids instead."""


class MoreCells(Wire, frozen=True):
    """The blocks that were asked for."""

    cells: CellBytes


class MoreShorts(Wire, frozen=True):
    """The short ids that were asked for, or a sample of them."""

    shift: Shift
    shorts: Listing


class Want(Wire, frozen=True):
    """Ends the exchange: short ids the sender lacks, and how many ids it has found to send.

    complete: nothing more can differ, as far as the sender knows.
    """

    complete: bool
    offered: Unsigned
    shorts: Annotated[bytes, msgspec.Meta(max_length=SHORT * MAX_FOUND)]


Message = (
    Open
    | Same
    | Digests
    | Whole
    | Cells
    | Listed
    | AskCells
    | AskList
    | MoreCells
    | MoreShorts
    | Want
)

KINDS: tuple[type[Message], ...] = (
    Open,
    Same,
    Digests,
    Whole,
    Cells,
    Listed,
    AskCells,
    AskList,
    MoreCells,
    MoreShorts,
    Want,
)
"""Kinds of message, counted from 1."""

EXCHANGE = 4
HEAD = Struct(f">{EXCHANGE}sBBB")
ROOM = MAX_RECONCILE - HEAD.size
"""Bytes of a message in one piece, after exchange, turn, piece number and number of pieces."""


def encode_message(message: Message) -> bytes:
    """Return the bytes of a message."""
    return bytes((1 + KINDS.index(type(message)),)) + encode(message)


def decode_message_untrusted(raw: bytes) -> Message:
    """Return the message in foreign bytes. Raises RemoteError when it is not as laid out."""
    if not raw or not 1 <= raw[0] <= len(KINDS):
        raise RemoteError("unknown-reconcile-kind")
    message = decode_untrusted(raw[1:], KINDS[raw[0] - 1], limit=MAX_PIECES * ROOM)
    match message:
        case Digests(digests=digests):
            groups, odd = divmod(len(digests), GROUP_DIGEST)
            if odd or groups & groups - 1:
                raise RemoteError("bad-group-digests")
        case Whole(shorts=shorts) | Listed(shorts=shorts) | MoreShorts(shorts=shorts):
            _check_shorts_untrusted(shorts)
        case Want(shorts=shorts):
            _check_shorts_untrusted(shorts)
        case Cells(sketch=sketch, sizes=sizes, cells=cells):
            if len(sketch) not in (2 * COARSE, 2 * FINE):
                raise RemoteError("bad-sketch")
            check_cells_untrusted(sizes, cells)
        case AskCells(sizes=sizes):
            if not sizes:
                raise RemoteError("bad-cells")
        case _:
            pass
    return message


def check_cells_untrusted(sizes: tuple[int, ...], cells: bytes) -> None:
    """Return when the cells are as many as the sizes say. Raises RemoteError otherwise."""
    if len(cells) != CELL * sum(sizes):
        raise RemoteError("bad-cells")


def turn_untrusted(raw: bytes) -> int:
    """Return the turn a piece belongs to: even ones are the initiator's, and 0 is Open.

    So an owner knows which of its machines a piece is for, and when to make a new one: an exchange
    given up by the initiator alone ends with its next Open, which the old machine would ignore.
    Raises RemoteError when the piece is too short.
    """
    if len(raw) < HEAD.size:
        raise RemoteError("reconcile-too-short")
    return raw[EXCHANGE]


def pieces(exchange: bytes, turn: int, message: Message) -> list[bytes]:
    """Return the pieces of a message, each at most MAX_RECONCILE bytes."""
    raw = encode_message(message)
    count = -(-len(raw) // ROOM)
    return [
        HEAD.pack(exchange, turn, number, count) + raw[number * ROOM : (number + 1) * ROOM]
        for number in range(count)
    ]


class Assembly:
    """Puts the pieces of one message at a time together.

    exchange: the 4 bytes that name the exchange; None until the first piece names it.
    """

    def __init__(self, exchange: bytes | None) -> None:
        self.exchange = exchange
        self._count = 0
        self._pieces: dict[int, bytes] = {}

    def add_untrusted(self, raw: bytes, turn: int) -> bytes | None:
        """Return the message of this turn once its last missing piece has come, else None.

        A piece of another exchange is late and ignored. Raises RemoteError for any other.
        """
        if len(raw) > MAX_RECONCILE:
            raise RemoteError("reconcile-too-long")
        if len(raw) <= HEAD.size:
            raise RemoteError("reconcile-too-short")
        exchange, of_turn, number, count = HEAD.unpack_from(raw)
        if self.exchange is None:
            self.exchange = exchange
        if exchange != self.exchange:
            return None
        if of_turn != turn:
            raise RemoteError("unexpected-turn")
        if not number < count <= MAX_PIECES or self._count not in (0, count):
            raise RemoteError("bad-piece")
        if number in self._pieces:
            raise RemoteError("piece-twice")
        self._count = count
        self._pieces[number] = raw[HEAD.size :]
        if len(self._pieces) < count:
            return None
        whole = b"".join(self._pieces[at] for at in range(count))
        self._count = 0
        self._pieces = {}
        return whole


def _check_shorts_untrusted(shorts: bytes) -> None:
    if len(shorts) % SHORT:
        raise RemoteError("bad-short-ids")
