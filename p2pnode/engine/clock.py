"""Three clocks: monotonic for machines, node time for lifetimes, wall time for captions.

Node time is the number of seconds this node has lived through: it runs on the monotonic clock
while the node runs, and takes in time spent switched off as far as the wall clock can be believed
(a Pi wakes up without knowing the date). It never goes back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from p2pnode.logs import EventLog
from p2pnode.protocol.elapsed import EARLIEST, missed
from p2pnode.turns.moment import Moment

log = EventLog("clock")

KEPT = "clock"
"""Where a node keeps its clock: 8 bytes of node time, 8 of the wall time then, big-endian."""


def wall_time() -> int:
    """Return Unix seconds of the system's clock; 0 for one from before them."""
    return max(0, int(time.time()))


@dataclass
class Clock:
    """The node's clocks from a start on. `began` is the node time at that start."""

    began: int = 0
    wall: Callable[[], int] = wall_time
    _start: float = field(default_factory=trio.current_time)

    @classmethod
    def resumed(cls, kept: bytes | None, wall: Callable[[], int] = wall_time) -> "Clock":
        """Return the clock that goes on from what was kept (see KEPT), or a new one."""
        if kept is None or len(kept) != 16:
            return cls(began=0, wall=wall)
        return cls.after(int.from_bytes(kept[:8], "big"), int.from_bytes(kept[8:], "big"), wall)

    @classmethod
    def after(cls, node: int, then: int, wall: Callable[[], int] = wall_time) -> "Clock":
        """Return the clock that goes on from a node time; then: the wall time at that moment."""
        now = wall()
        counted = missed(then, now)
        log.info("resumed", set=now >= EARLIEST, off=now - then, counted=counted)
        return cls(began=node + counted, wall=wall)

    def now(self) -> Moment:
        """Return the moment for a turn."""
        return Moment(node=self.began + int(trio.current_time() - self._start), wall=self.wall())

    def uptime(self) -> float:
        """Return seconds since the start."""
        return trio.current_time() - self._start


def milliseconds() -> int:
    """Return the monotonic time machines are given."""
    return int(trio.current_time() * 1000)
