"""How many differences to expect, and how many cells they need.

Only the one who asks for cells, or sends them first, estimates; the other side obeys. A wrong
estimate costs bytes or another round, never a wrong result.
"""

from collections.abc import Sequence
from math import ceil, exp, log, sqrt
from struct import unpack

from p2pnode.protocol.reconcile.limits import BLOCKS, FIRST_BLOCKS

SATURATED = 0.98
"""Share of differing groups above which their number says nothing any more."""


def from_groups(differing: int, groups: int) -> int | None:
    """Return how many differences, thrown at random, make this many of the groups differ.

    One standard deviation is added. None when nearly all differ.
    Source: linear counting (Whang, Vander-Zanden and Taylor, 1990).
    """
    if differing > SATURATED * groups:
        return None
    load = -log(1 - differing / groups)
    return ceil(groups * load + sqrt(groups * (exp(load) - load - 1)))


def from_sketches(mine: bytes, theirs: bytes) -> int:
    """Return the number of differences two sketches of equal length tell, rather too many.

    Each counter sums the signs of its ids modulo 2**16, so the square of what two counters differ
    by is, on average, the number of differing ids behind them. Two standard deviations are added.
    Source: Alon, Matias and Szegedy, The space complexity of approximating the frequency moments,
    1996.
    """
    counters = len(mine) // 2
    pairs = zip(unpack(f">{counters}H", mine), unpack(f">{counters}H", theirs), strict=True)
    steps: list[int] = [(a - b + 0x8000 & 0xFFFF) - 0x8000 for a, b in pairs]
    total = sum(step * step for step in steps)
    return ceil(total * (1 + 2 * sqrt(2 / counters)))


def cells_for(differences: int) -> int:
    """Return the cells in FIRST_BLOCKS equal blocks that decode in about 98 of 100 cases."""
    return FIRST_BLOCKS * _block_for(differences)


def first_sizes(differences: int) -> tuple[int, ...]:
    """Return the sizes, in cells, of the blocks a table begins with."""
    return (_block_for(differences),) * FIRST_BLOCKS


def more_sizes(sizes: Sequence[int], used: int, differences: int) -> tuple[int, ...]:
    """Return the sizes of the next blocks, or none when no block is left.

    sizes: the blocks of the table that would not decode. used: blocks of the whole exchange.
    """
    left = BLOCKS - used
    have, need = sum(sizes), cells_for(differences)
    if not left:
        return ()
    if 4 * have >= 3 * need:
        return (max(need - have, have // 2, 8),)
    if not have and left >= FIRST_BLOCKS:
        return first_sizes(differences)
    count = min(left, 3)
    return (-(-need // count),) * count


def _block_for(differences: int) -> int:
    """Return (1.4 times the differences and 12) / FIRST_BLOCKS: measured for 1 to 3,000."""
    return (14 * differences + 120 + 39) // 40
