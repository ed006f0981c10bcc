"""Order in a conversation comes from causal links, never from clocks.

Each message names the heads (the newest messages its author had seen) and carries a Lamport clock
(Lamport 1978), one more than the highest its author had seen. Sorting by (clock, id) is a linear
extension of "was seen before writing" on which both sides agree.
"""

from collections.abc import Sequence

from p2pnode.errors import RemoteError
from p2pnode.protocol import limits

MAX_CLOCK = 2**53 - 1
"""The highest clock value the wire carries."""

MAX_LEAD = 2**32
"""How far ahead of what was seen here a message may claim to be: a lifetime of missing messages."""


def next_clock(top: int) -> int:
    """Return the clock of a message written after seeing clocks up to `top`."""
    return min(top + 1, MAX_CLOCK)


def check_place_untrusted(clock: int, heads: Sequence[bytes], top: int) -> None:
    """Accept a foreign message's place in the conversation. Raises RemoteError.

    A clock far beyond anything seen would let one message end the conversation's order for ever.
    """
    if clock < 1 or clock > top + MAX_LEAD:
        raise RemoteError("bad-clock")
    if len(heads) > limits.MAX_HEADS or len(set(heads)) != len(heads):
        raise RemoteError("bad-heads")
