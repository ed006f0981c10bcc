"""Short ids: what stands for an id within one exchange, under a salt both sides contributed to.

A short id is 6 bytes of a keyed hash of the id. A second keyed hash, of the short id alone, gives
its check, its place in a sketch and its place in each block; so whoever has decoded a foreign
short id knows these too. Everything is kept as joined bytes, 72 for an id.
"""

from collections import Counter
from collections.abc import Sequence
from struct import pack, unpack

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.primitives import prf
from p2pnode.protocol.reconcile.limits import BLOCKS, IDS_AT_ONCE, SHORT

CHECK_BITS = 16
VALUE_BITS = 64
ID = 32
WORDS = 1 + BLOCKS
"""32-bit words of the second hash: check and sketch in the first, then a place for each block."""


def words_of(salt: bytes, short: bytes) -> bytes:
    """Return the second hash of a short id: u16 check, u16 sketch, u32 place in each block."""
    return prf(salt, b"p2pnode rc place", short)


def shorts_in(raw: bytes) -> set[int]:
    """Return the short ids in joined bytes, as integers."""
    return {int.from_bytes(raw[at : at + SHORT], "big") for at in range(0, len(raw), SHORT)}


def joined(shorts: Sequence[int]) -> bytes:
    """Return short ids as joined bytes."""
    return b"".join([one.to_bytes(SHORT, "big") for one in shorts])


class ShortIds:
    """The short ids of those own ids that an exchange is about.

    A sample of shift n has the ids whose short id begins with n zero bits.
    """

    def __init__(self, salt: bytes) -> None:
        self.count = 0
        self._salt = salt
        self._chunks: list[tuple[bytes, bytes, bytes]] = []

    def add(self, ids: Sequence[EnvelopeId]) -> None:
        """Take in more ids; about 2 microseconds an id."""
        for at in range(0, len(ids), IDS_AT_ONCE):
            self._add(ids[at : at + IDS_AT_ONCE])

    def _add(self, ids: Sequence[EnvelopeId]) -> None:
        salt = self._salt
        shorts = [prf(salt, b"p2pnode rc short", one, size=SHORT) for one in ids]
        words = [words_of(salt, short) for short in shorts]
        values = b"".join([short + more[:2] for short, more in zip(shorts, words, strict=True)])
        self._chunks.append((b"".join(ids), values, b"".join(words)))
        self.count += len(ids)

    def sketch(self, counters: int) -> bytes:
        """Return `counters` (a power of two up to 512) sums of signs, each modulo 2**16.

        The u16 s of an id adds 1 to counter (s >> 1) mod counters, or takes 1 away when s is odd.
        """
        seen: Counter[int] = Counter()
        for _, values, words in self._chunks:
            count = len(values) // 8
            seen.update(unpack(f">{count * 2 * WORDS}H", words)[1 :: 2 * WORDS])
        sums = [0] * counters
        for one, times in seen.items():
            sums[(one >> 1) % counters] += -times if one & 1 else times
        return pack(f">{counters}H", *(one & 0xFFFF for one in sums))

    def fold(self, cells: list[int], start: int, size: int, block: int, shift: int) -> None:
        """Add (exclusive or) the sample's values into a block of `size` cells from `start` on."""
        limit = 1 << VALUE_BITS - shift
        for _, values, words in self._chunks:
            count = len(values) // 8
            places = unpack(f">{count * WORDS}I", words)[1 + block :: WORDS]
            for value, place in zip(unpack(f">{count}Q", values), places, strict=True):
                if value < limit:
                    cells[start + (place * size >> 32)] ^= value

    def listed(self, shift: int) -> bytes:
        """Return the sample's short ids, joined."""
        limit = 1 << VALUE_BITS - shift
        return b"".join(
            [
                values[at : at + SHORT]
                for _, values, _ in self._chunks
                for at, value in zip(
                    range(0, len(values), 8), unpack(f">{len(values) // 8}Q", values), strict=True
                )
                if value < limit
            ]
        )

    def among(self, shorts: set[int]) -> list[EnvelopeId]:
        """Return the ids whose short ids are given; these are taken out of `shorts`."""
        return self._part(shorts, 0, inside=True)

    def besides(self, shorts: set[int], shift: int) -> list[EnvelopeId]:
        """Return the sample's ids whose short ids are not given; all own ones are taken out."""
        return self._part(shorts, shift, inside=False)

    def _part(self, shorts: set[int], shift: int, *, inside: bool) -> list[EnvelopeId]:
        limit = 1 << VALUE_BITS - shift
        found = []
        for ids, values, _ in self._chunks:
            for at, value in enumerate(unpack(f">{len(values) // 8}Q", values)):
                if value >= limit:
                    continue
                short = value >> CHECK_BITS
                if short in shorts:
                    shorts.discard(short)
                    if not inside:
                        continue
                elif inside:
                    continue
                found.append(EnvelopeId(ids[at * ID : at * ID + ID]))
        return found
