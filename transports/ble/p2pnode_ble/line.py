"""All channels over one Bluetooth connection, as a machine without IO.

Either side opens channels; each is a `Pipe`. Those with something to say take turns, one fragment
each, so that no backlog starves another channel.
"""

from collections import deque

from p2pnode.errors import RemoteError
from p2pnode_ble.pipe import Pipe, Times
from p2pnode_ble.wire import LINE, Fragment, Kind, encode

MAX_CHANNELS = 8
"""Channels over one connection: the engine wants one, and sees doubles for a moment."""

MAX_REFUSALS = 16
"""Refusals that wait to be sent; more are not said."""

CHANNELS = 1 << 16
"""Channel numbers there are: half of them for each side, used in turn."""


class Line:
    """The channels of one connection.

    A central chooses the tag; a peripheral (tag None) takes the one of the first channel opened,
    and a new one means that the other side has started over.
    """

    def __init__(self, tag: bytes | None, *, times: Times) -> None:
        if tag is not None and len(tag) != LINE:
            raise ValueError("a line's tag has 4 bytes")
        self.pipes: dict[int, Pipe] = {}
        self._tag = tag
        self._central = tag is not None
        self._times = times
        self._last = -2 if self._central else -1
        self._turns: deque[int] = deque()
        self._refusals: deque[bytes] = deque(maxlen=MAX_REFUSALS)

    @property
    def idle(self) -> bool:
        """Whether there is no channel, and nothing to be said about one."""
        return not self.pipes and not self._refusals

    def open(self, now: float) -> tuple[int, Pipe] | None:
        """Open a channel; None when there are too many, or when the tag is not known yet."""
        if self._tag is None or len(self.pipes) >= MAX_CHANNELS:
            return None
        number = (self._last + 2) % CHANNELS
        while number in self.pipes:
            number = (number + 2) % CHANNELS
        self._last = number
        return number, self._add(number, now, opener=True)

    def receive_untrusted(self, fragment: Fragment, now: float) -> Pipe | None:
        """Take a foreign fragment; return the pipe it opened, if it did.

        Raises RemoteError when it breaks the rules; its channel is reset then.
        """
        if fragment.line != self._tag and not self._adopted(fragment):
            return None
        pipe = self.pipes.get(fragment.channel)
        if pipe is not None:
            pipe.receive_untrusted(fragment, now)
            return None
        if fragment.kind is Kind.RESET:
            return None
        if not self._opens(fragment) or len(self.pipes) >= MAX_CHANNELS:
            self._refuse(fragment)
            return None
        pipe = self._add(fragment.channel, now, opener=False)
        pipe.receive_untrusted(fragment, now)
        return pipe

    def outgoing(self, now: float, size: int) -> bytes | None:
        """Return the next fragment of the channel whose turn it is, at most size bytes."""
        if self._refusals:
            return self._refusals.popleft()
        for _ in range(len(self._turns)):
            number = self._turns.popleft()
            pipe = self.pipes[number]
            said = pipe.outgoing(now, size)
            if pipe.over:
                del self.pipes[number]
            else:
                self._turns.append(number)
            if said is not None:
                return said
        return None

    def due(self, now: float) -> float:
        """Return when `outgoing` will have something to do, if nothing else happens before."""
        if self._refusals:
            return now
        return min((pipe.due(now) for pipe in self.pipes.values()), default=float("inf"))

    def farewell(self, now: float) -> list[bytes]:
        """End all channels; return what tells the other side."""
        said = []
        for pipe in self.pipes.values():
            pipe.reset()
            last = pipe.outgoing(now, 0)
            if last is not None:
                said.append(last)
        self.vanish()
        return said

    def vanish(self) -> None:
        """End all channels; nobody can be told."""
        for pipe in self.pipes.values():
            pipe.vanish()
        self.pipes.clear()
        self._turns.clear()
        self._refusals.clear()

    def _adopted(self, fragment: Fragment) -> bool:
        """Tell whether a fragment with a foreign tag is for us, and take its tag if it opens."""
        if self._central:
            return False  # a notification for another central
        if self._opens(fragment):
            self.vanish()
            self._tag = fragment.line
            return True
        if fragment.kind is not Kind.RESET:
            self._refuse(fragment)
        return False

    def _opens(self, fragment: Fragment) -> bool:
        """Tell whether a fragment opens a channel of the other side's."""
        theirs = bool(fragment.channel & 1) == self._central
        return fragment.kind is Kind.OPEN and not fragment.number and theirs

    def _refuse(self, fragment: Fragment) -> None:
        self._refusals.append(
            encode(Fragment(fragment.line, fragment.channel, Kind.RESET, 0, 0, 0))
        )

    def _add(self, number: int, now: float, *, opener: bool) -> Pipe:
        if self._tag is None:
            raise RemoteError("ble-no-line")
        pipe = Pipe(self._tag, number, opener=opener, times=self._times, now=now)
        self.pipes[number] = pipe
        self._turns.append(number)
        return pipe
