"""How often one neighbour may knock: opening channels again and again is free for him, and costs
this node a handshake each time."""

from collections import OrderedDict
from ipaddress import IPv6Address, IPv6Network

from p2pnode_lan.address import IP

AT_ONCE = 32
PER_SECOND = 4.0
"""Channels from one place at once, and a second in the long run."""

PLACES = 1_024
"""Places that are remembered, the latest first; IPv6 hosts choose their last 64 bits themselves."""


class Pace:
    """Counts channels by where they come from. Times are seconds of a clock that never goes back.

    Loopback is not counted: whoever is on this machine has better ways to take its time.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def allows(self, ip: IP, now: float) -> bool:
        """Tell whether one more channel from an address is taken; count it."""
        if ip.is_loopback:
            return True
        place: object = IPv6Network((ip, 64), strict=False) if isinstance(ip, IPv6Address) else ip
        left, before = self._left.pop(place, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - before) * PER_SECOND)
        allowed = left >= 1
        self._left[place] = (left - 1 if allowed else left, now)
        while len(self._left) > PLACES:
            self._left.popitem(last=False)
        return allowed
