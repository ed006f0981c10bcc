"""How much time a node that was switched off has missed, as far as its wall clock can be trusted.

Lifetimes count in node time: seconds the node has lived through. Time switched off counts too, but
only the wall clock knows it, and a small board has none until somebody tells it the time.
"""

from p2pnode.protocol.limits import LIFETIMES

LONGEST = LIFETIMES[-1]
"""Seconds switched off that count at most: after that everything carried has expired anyway."""

EARLIEST = 1_767_225_600
"""Unix seconds, 2026-01-01: a clock that is before this has not been set."""

LONGEST_BELIEVED = 366 * 86_400
"""Seconds: a clock that went further forward was wrong before, or is wrong now."""


def missed(then: int, now: int) -> int:
    """Return how many of the seconds between two readings of the wall clock count.

    then: its last reading before the node went off; now: its first after. Both are Unix seconds.
    Where one of them cannot be right none count: living longer does less harm than dying early.
    """
    if min(then, now) < EARLIEST or not 0 < now - then <= LONGEST_BELIEVED:
        return 0
    return min(now - then, LONGEST)
