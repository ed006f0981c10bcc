"""Tor's control connection: commands and their answers, and events. All of stem is behind this.

Only stem's socket and its authentication are used. Its Controller polls twenty times a second,
which costs battery, and claims tor for itself where we have not asked for that.
"""

import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import stem
import stem.connection
import stem.socket
import stem.util.log
import trio

from p2pnode_tor.settings import Door

# stem logs commands, and with them private keys and names of services.
stem.util.log.get_logger().disabled = True

CONNECT_TIMEOUT = 5.0
"""Seconds until a control connection must stand; it is on this machine."""

ANSWER_TIMEOUT = 30.0
"""Seconds until a command must be answered, on a busy small machine too."""


class ControlLost(Exception):
    """Tor is gone, or does not answer any more."""


class ControlRefused(ControlLost):
    """Tor is there, but does not let us in."""


class CommandFailed(Exception):
    """Tor has refused a command; `code` is its number (control-spec, section 4)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Wire(stem.socket.ControlSocket):  # type: ignore[misc]  # stem has no types
    """A control socket to a door."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door
        self.connect()

    def _make_socket(self) -> socket.socket:
        door = self._door
        family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
        made = socket.socket(socket.AF_UNIX if door.path else family, socket.SOCK_STREAM)
        try:
            made.settimeout(CONNECT_TIMEOUT)
            made.connect(door.path or (door.host, door.port))
            made.settimeout(None)
        except OSError as failure:
            made.close()
            raise stem.SocketError(failure.strerror) from None
        return made


@dataclass(eq=False, slots=True)
class _Waiting:
    """A command on its way."""

    answered: trio.Event = field(default_factory=trio.Event)
    code: str = ""
    lines: list[str] = field(default_factory=list)


class Control:
    """A control connection that is let in. Made by `open_control`."""

    def __init__(self, wire: _Wire, hear: Callable[[str], None]) -> None:
        self._wire = wire
        self._hear = hear
        self._sending = trio.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._thread = trio.CapacityLimiter(1)
        self._closing = False

    async def ask(self, command: str) -> list[str]:
        """Send one line and return the lines of its answer, without their numbers; what tor tells
        in several lines is one, with its breaks.

        Raises CommandFailed, ControlLost, and ValueError for more than one line.
        """
        if not command.isprintable():
            raise ValueError("a command is one line")
        waiting = _Waiting()
        with trio.move_on_after(ANSWER_TIMEOUT):
            async with self._sending:
                # Tor answers in order: what waits for an answer here must have been sent.
                with trio.CancelScope(shield=True):
                    self._waiting.append(waiting)
                    try:
                        await trio.to_thread.run_sync(self._wire.send, command)
                    except stem.ControllerError:
                        raise ControlLost from None
            await waiting.answered.wait()
        if not waiting.code:
            raise ControlLost
        if not waiting.code.startswith("2"):
            raise CommandFailed(waiting.code)
        return waiting.lines

    async def listen(self) -> None:
        """Take what tor says until `close`. Raises ControlLost when the connection ends before.

        Not cancellable: only closing the socket wakes the thread that reads it.
        """
        try:
            with trio.CancelScope(shield=True):
                while True:
                    message = await trio.to_thread.run_sync(self._wire.recv, limiter=self._thread)
                    self._take(message.content())
        except stem.ControllerError:
            if not self._closing:
                raise ControlLost from None
        finally:
            for waiting in self._waiting:
                waiting.answered.set()

    def _take(self, content: list[tuple[str, str, str]]) -> None:
        code, lines = content[-1][0], [line for _, _, line in content]
        if code == "650":
            self._hear("\n".join(lines))
        elif self._waiting:
            waiting = self._waiting.popleft()
            waiting.code, waiting.lines = code, lines
            waiting.answered.set()

    async def close(self) -> None:
        """End the connection; what waits for an answer learns nothing more."""
        self._closing = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._wire.close)


@asynccontextmanager
async def open_control(door: Door, hear: Callable[[str], None]) -> AsyncIterator[Control]:
    """Connect and authenticate (none, or by cookie); `hear` gets each event, without its 650.

    Raises ControlLost, also later into the body when the connection ends, and ControlRefused.
    """
    control = Control(await trio.to_thread.run_sync(_enter, door), hear)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.listen)
        try:
            yield control
        finally:
            await control.close()


def _enter(door: Door) -> _Wire:
    try:
        wire = _Wire(door)
    except stem.SocketError:
        raise ControlLost from None
    try:
        stem.connection.authenticate(wire)
    except (stem.connection.AuthenticationFailure, stem.ControllerError):
        wire.close()
        raise ControlRefused from None
    return wire
