"""The local API's server: hypercorn's trio worker on a Unix socket, with bounds around each stream.

We accept ourselves and hand each stream to hypercorn: that bounds how many there are and how long
a client may leave an answer unread, and lets the stop close what hypercorn would wait for.
"""

import logging
import os
import socket
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from p2pnode.api.application import Application
from p2pnode.errors import ConfigError, Denied
from p2pnode.logs import traced
from p2pnode.schema import Service

if TYPE_CHECKING:
    from hypercorn.events import Event
    from hypercorn.typing import ASGIFramework

MAX_CLIENTS = 128
"""Streams open at once; one more is told so and closed."""

UNREAD_TIMEOUT = 30.0
"""Seconds a client may leave what we write unread."""

CLOSING = 0.5
"""Seconds streams may take to end after the last call did."""

_BODY = b'{"schema":1,"what":"too many clients at once","why":""}'
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)

_log = logging.getLogger(__name__)


class ClientStream:
    """One client's stream, as hypercorn wants it. The request it carries runs in `scope`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self.scope: trio.CancelScope | None = None
        self.gone = False
        self._stream = stream
        self._corked = False
        self._held = b""

    def cork(self) -> None:
        """Let the next write wait for the one after it: head and body of an answer in one."""
        self._corked = True

    async def receive_some(self, limit: int) -> bytes:
        """Read. At the end the request under way is cancelled: nobody waits for its answer."""
        try:
            found = bytes(await self._stream.receive_some(limit))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()
            raise
        if not found:
            self._end()
        return found

    def _end(self) -> None:
        self.gone = True
        if self.scope is not None:
            self.scope.cancel()

    async def send_all(self, part: bytes) -> None:
        """Write; a client that does not read for too long is closed."""
        if self._corked:
            self._corked, self._held = False, part
            return
        part, self._held = self._held + part, b""
        if not part:
            return
        with trio.move_on_after(UNREAD_TIMEOUT) as patience:
            await self._stream.send_all(part)
        if patience.cancelled_caught:
            self._end()
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError

    async def send_eof(self) -> None:
        """End our direction."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close both."""
        await self._stream.aclose()


class Conversation(TCPServer):
    """Hypercorn's server of one stream, without its timer that restarts around each request."""

    async def protocol_send(self, event: "Event") -> None:
        """Carry out what the protocol wants."""
        if not isinstance(event, Updated):
            await super().protocol_send(event)


class Server:
    """All streams of one socket."""

    def __init__(self, service: Service) -> None:
        self._application = Application(service)
        self._context = WorkerContext(None)
        self._streams: set[ClientStream] = set()
        self._ended = trio.Event()
        self._config = HypercornConfig()
        self._config.accesslog = None
        self._config.errorlog = None  # its texts are not ours; `_talk` logs what went wrong
        self._config.include_date_header = False
        self._config.include_server_header = False
        self._config.keep_alive_timeout = float("inf")
        self._config.keep_alive_max_requests = 1 << 62

    async def accept(self, listener: trio.SocketListener) -> None:
        """Serve what connects, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(trio.serve_listeners, self._talk, [listener], handler_nursery=nursery)
            )

    async def _talk(self, raw: trio.SocketStream) -> None:
        if len(self._streams) >= MAX_CLIENTS:
            async with raw:
                with trio.move_on_after(1):
                    await raw.send_all(TOO_MANY)
            return
        stream = ClientStream(raw)
        application = partial(self._application, stream)
        self._streams.add(stream)
        try:
            await Conversation(
                ASGIWrapper(cast("ASGIFramework", application)),
                self._config,
                self._context,
                ConnectionState({}),
                cast("Any", stream),
            ).run()
        except Exception as error:
            _log.error("api: a stream failed: %s", traced(error))
        finally:
            self._streams.discard(stream)
            if self._context.terminated.is_set() and not self._streams:
                self._ended.set()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(raw)

    async def stop(self) -> None:
        """End the calls, then the streams; close by force what does not end."""
        await self._application.stop()
        await self._context.terminated.set()
        if self._streams:
            with trio.move_on_after(CLOSING):
                await self._ended.wait()
        for stream in list(self._streams):
            await trio.aclose_forcefully(cast("Any", stream))


async def serve(
    service: Service,
    socket_path: Path,
    *,
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the API at `socket_path` until `stopping`; the caller holds the home's lock.

    Raises Denied or ConfigError when the socket cannot be made.
    """
    server = Server(service)
    bound = bind(socket_path)
    try:
        async with trio.open_nursery() as nursery:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
            nursery.start_soon(server.accept, listener)
            task_status.started()
            await stopping.wait()
            _remove(socket_path)
            await server.stop()
            nursery.cancel_scope.cancel()
    finally:
        bound.close()
        _remove(socket_path)


def bind(path: Path) -> socket.socket:
    """Return a listening socket of mode 0600 in a directory of mode 0700, both our own.

    What a dead daemon left there is removed. Raises Denied or ConfigError.
    """
    _private_directory(path.parent)
    _remove(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(os.fspath(path))
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


def _private_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            path.chmod(0o700)
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
