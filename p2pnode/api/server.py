"""The local API's server: a Unix socket for its owner (or one group), and bounds on its streams."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import trio

from p2pnode.api.application import Conversation, serve_stream
from p2pnode.api.http import CHUNK, HttpStream, Refusal
from p2pnode.errors import ConfigError, Denied
from p2pnode.schema import Service

MAX_CLIENTS = 128
"""Streams open at once; one more is told so and closed."""

GRACE = 0.5
"""Seconds calls may go on after the stop: long enough for a commit."""

CLOSING = 0.5
"""Seconds streams may take to end after the last call did."""

TURNING_AWAY = 1.0
"""Seconds to tell one client more that there are too many."""

_REFUSED = Refusal(503, "too many clients at once").body
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_REFUSED), _REFUSED)
)


class Server:
    """All streams of one socket."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._conversations: set[Conversation] = set()
        self._changed = trio.Event()

    async def talk(self, raw: trio.SocketStream) -> None:
        """Serve one client's stream."""
        async with raw:
            if len(self._conversations) >= MAX_CLIENTS:
                await _turn_away(raw)
                return
            one = Conversation(self._service, HttpStream(raw))
            self._conversations.add(one)
            try:
                await serve_stream(one)
            finally:
                self._conversations.discard(one)
                self._changed.set()

    async def stop(self) -> None:
        """End what waits or streams now, calls after a grace."""
        for one in list(self._conversations):
            if one.state != "calling":
                one.interrupt()
        await self._until_none(GRACE)
        for one in list(self._conversations):
            one.interrupt()
        await self._until_none(CLOSING)

    async def _until_none(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while self._conversations:
                self._changed = trio.Event()
                await self._changed.wait()


async def _turn_away(raw: trio.SocketStream) -> None:
    """Tell a client that there are too many. What it sends is read, or it would not see why."""
    with trio.move_on_after(TURNING_AWAY), suppress(trio.BrokenResourceError):
        await raw.send_all(TOO_MANY)
        await raw.send_eof()
        while await raw.receive_some(CHUNK):
            pass


async def serve(
    service: Service,
    socket_path: Path,
    *,
    stopping: trio.Event,
    shared: bool = False,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the API at `socket_path` until `stopping`; the caller holds the home's lock.

    shared: this process's group may use it too. Raises Denied or ConfigError when
    the socket cannot be made.
    """
    server = Server(service)
    bound = bind(socket_path, shared=shared)
    try:
        async with trio.open_nursery() as nursery:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
            nursery.start_soon(trio.serve_listeners, server.talk, [listener])
            task_status.started()
            await stopping.wait()
            _remove(socket_path)
            await server.stop()
            nursery.cancel_scope.cancel()
    finally:
        bound.close()
        _remove(socket_path)


def bind(path: Path, *, shared: bool = False) -> socket.socket:
    """Return a listening socket of mode 0600 in a directory of mode 0700, both our own.

    shared: 0660 and 0750, for this process's group. What a dead daemon left there is removed.
    Raises Denied or ConfigError.
    """
    _private_directory(path.parent, 0o750 if shared else 0o700)
    _remove(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(os.fspath(path))
        if shared:
            path.chmod(0o660)
        made.listen(MAX_CLIENTS)
    except OSError as error:
        made.close()
        raise ConfigError(
            f"no socket can be made at {path}",
            why=error.strerror or str(error),
            hint="Remove what is there, or use a shorter --home",
        ) from None
    finally:
        os.umask(before)
    return made


def _remove(path: Path) -> None:
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass


def _private_directory(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            path.chmod(mode)
            return
    except OSError as error:
        raise Denied(
            f"{path} cannot be made or closed to others", why=error.strerror or ""
        ) from None
    raise Denied(
        f"{path} is not a directory of this user",
        why="whoever owns it could pose as the daemon",
        hint="Remove it, or use another --home",
    )
