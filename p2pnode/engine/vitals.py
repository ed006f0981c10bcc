"""What the log says of the machine: custody and disk that run full, a clock that jumps."""

import trio

from p2pnode.engine.clock import Clock
from p2pnode.logs import EventLog
from p2pnode.turns.upkeep import Kept

log = EventLog("vitals")

FULL, ROOM_AGAIN = 0.95, 0.9
"""Shares of `[carry] max_mb` at which custody counts as full, and as not full any more."""

JUMP = 5.0
"""Seconds by which the wall clock may stray from the monotonic one between two looks."""


class Vitals:
    """Compares each look with the last one, and says only what has changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full = False
        self._tight = False
        self._wall = clock.wall()
        self._looked = trio.current_time()

    def look(self, kept: Kept) -> None:
        """Say what has changed since the last look."""
        if not self._full and kept.carried >= FULL * kept.limit > 0:
            self._full = True
            log.info("custody.full", bytes=kept.carried, limit=kept.limit)
        elif self._full and kept.carried < ROOM_AGAIN * kept.limit:
            self._full = False
            log.info("custody.room", bytes=kept.carried, limit=kept.limit)
        tight = kept.room is not None and kept.room <= 0
        if tight != self._tight:
            self._tight = tight
            if tight:
                log.warning("disk.full")
            else:
                log.info("disk.room")
        self._look_at_clock()

    def _look_at_clock(self) -> None:
        wall, now = self._clock.wall(), trio.current_time()
        strayed = (wall - self._wall) - (now - self._looked)
        self._wall, self._looked = wall, now
        if abs(strayed) > JUMP:
            log.info("clock.jumped", seconds=round(strayed))
