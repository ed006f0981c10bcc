"""Tables of cells: each block takes in every short id once, and equal ones cancel between sides.

An invertible Bloom lookup table (Goodrich and Mitzenmacher, 2011) made of blocks, so that one that
will not decode is extended by blocks instead of sent anew. A cell is the exclusive or of 8-byte
values; it has no count, because a value carries its own check and whose it is shows afterwards.
"""

from collections.abc import Sequence
from struct import Struct, pack, unpack

from p2pnode.protocol.reconcile.limits import BLOCKS, CELL, SHORT
from p2pnode.protocol.reconcile.short_ids import CHECK_BITS, VALUE_BITS, ShortIds, words_of

_WORDS = Struct(f">HH{BLOCKS}I")


def cells_of(own: ShortIds, sizes: Sequence[int], first: int, shift: int) -> bytes:
    """Return blocks of these sizes; the first of them has the number `first` in the exchange."""
    cells = [0] * sum(sizes)
    start = 0
    for block, size in enumerate(sizes, first):
        own.fold(cells, start, size, block, shift)
        start += size
    return pack(f">{len(cells)}Q", *cells)


class Table:
    """The difference of two sides' blocks, while it is taken apart.

    first: the number of its first block in the exchange. broken: what came cannot be a difference
    of two sets, or by a rare chance a sum looked like one value; more blocks will not help.
    """

    def __init__(self, own: ShortIds, salt: bytes, *, first: int, shift: int) -> None:
        self.sizes: list[int] = []
        self.shift = shift
        self.broken = False
        self._own = own
        self._salt = salt
        self._first = first
        self._cells: list[int] = []
        self._starts: list[int] = []
        self._found: set[int] = set()

    def extend(self, sizes: Sequence[int], theirs: bytes) -> None:
        """Take in the other side's next blocks; `theirs` has CELL bytes for each of their cells."""
        number = self._first + len(self.sizes)
        mine = cells_of(self._own, sizes, number, self.shift)
        start = len(self._cells)
        count = len(theirs) // CELL
        pairs = zip(unpack(f">{count}Q", mine), unpack(f">{count}Q", theirs), strict=True)
        self._cells += [a ^ b for a, b in pairs]
        for size in sizes:
            self._starts.append(start)
            self.sizes.append(size)
            start += size
        new = range(len(self.sizes) - len(sizes), len(self.sizes))
        for value in self._found:
            words = self._words(value)
            for block in new:
                self._cells[self._place(words, block)] ^= value

    def decode(self) -> set[int] | None:
        """Return the short ids that only one side has; None when that takes more blocks.

        Every value is taken out at most once, and at most one for each cell: a table made up to
        give without end comes to an end.
        """
        if self.broken:
            return None
        cells, found = self._cells, self._found
        limit = 1 << VALUE_BITS - self.shift
        todo = [
            (block, at)
            for block, size in enumerate(self.sizes)
            for at in range(self._starts[block], self._starts[block] + size)
        ]
        while todo:
            block, at = todo.pop()
            value = cells[at]
            if not value:
                continue
            words = self._words(value)
            if words[0] != value & 0xFFFF or self._place(words, block) != at:
                continue
            if value in found or value >= limit or len(found) >= len(cells):
                self.broken = True
                return None
            found.add(value)
            for other in range(len(self.sizes)):
                place = self._place(words, other)
                cells[place] ^= value
                todo.append((other, place))
        return None if any(cells) else {one >> CHECK_BITS for one in found}

    def _words(self, value: int) -> tuple[int, ...]:
        short = (value >> CHECK_BITS).to_bytes(SHORT, "big")
        return _WORDS.unpack(words_of(self._salt, short))

    def _place(self, words: tuple[int, ...], block: int) -> int:
        place = words[2 + self._first + block]
        return self._starts[block] + (place * self.sizes[block] >> 32)
