"""Two ends of a Bluetooth connection in virtual time, with a medium that does what it likes."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from p2pnode_ble.line import Line
from p2pnode_ble.pipe import Pipe, Times
from p2pnode_ble.wire import decode_untrusted

TIMES = Times()


@dataclass
class Medium:
    """Carries fragments between a central (0) and a peripheral (1).

    Shares of fragments that are lost and doubled; a fragment takes up to `spread` seconds, so they
    overtake each other. `now` is virtual.
    """

    seed: int = 0
    loss: float = 0.0
    doubles: float = 0.0
    spread: float = 0.0
    size: int = 500
    silent: bool = False
    now: float = 0.0
    times: Times = TIMES
    carried: int = 0

    ends: tuple[Line, Line] = field(init=False)
    accepted: list[Pipe] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._order = count()
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self.ends = Line(b"line", times=self.times), Line(None, times=self.times)

    def open(self, side: int = 0) -> tuple[Pipe, Pipe]:
        """Return both ends of a channel that a side has opened."""
        opened = self.ends[side].open(self.now)
        assert opened is not None
        before = len(self.accepted)
        self.run(lambda: opened[1].established or opened[1].ended)
        assert opened[1].established
        return opened[1], self.accepted[before]

    def run(self, until: Callable[[], bool], *, end: float = 10_000.0) -> bool:
        """Let time pass until something is so, or nothing can happen any more."""
        while not until():
            self._say()
            when = self._under_way[0][0] if self._under_way else float("inf")
            when = min(when, *(end.due(self.now) for end in self.ends))
            if when > end:
                return until()
            self.now = max(self.now, when)
            self._arrive()
        return True

    def _say(self) -> None:
        for side, end in enumerate(self.ends):
            while (raw := end.outgoing(self.now, self.size)) is not None:
                assert len(raw) <= self.size
                copies = 0 if self._random.random() < self.loss or self.silent else 1
                copies += copies and self._random.random() < self.doubles
                for _ in range(copies):
                    when = self.now + self._random.random() * self.spread
                    heapq.heappush(self._under_way, (when, next(self._order), 1 - side, raw))

    def _arrive(self) -> None:
        while self._under_way and self._under_way[0][0] <= self.now:
            _, _, side, raw = heapq.heappop(self._under_way)
            self.carried += 1
            fresh = self.ends[side].receive_untrusted(decode_untrusted(raw), self.now)
            if fresh is not None:
                self.accepted.append(fresh)


def taken(pipe: Pipe, now: float) -> list[bytes]:
    """Return all frames a pipe has for us."""
    frames = []
    while (frame := pipe.take(now)) is not None:
        frames.append(frame)
    return frames
