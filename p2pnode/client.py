"""Clients of the local API: `Client` for trio, `BlockingClient` for scripts and the command line.

Both raise the same `LocalError` the node raised. What travels is in `p2pnode.calls`. trio is
imported by `Client` alone, since it takes longer to load than a call takes.
"""

import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

import msgspec

from p2pnode.calls import Exchange, decode_answer, decode_answers, encode_call, gone
from p2pnode.config import SYSTEM
from p2pnode.errors import Denied, LocalError, NoDaemon, find
from p2pnode.schema import A, AckEvents, Answer, Asks, Event, Request

if TYPE_CHECKING:
    import trio

CHUNK = 65_536
"""Bytes read from the socket at once."""

MAX_IDLE = 8
"""Streams kept open between calls."""

PATIENCE = 30.0
"""Seconds a blocking call waits for an answer, on top of what the request itself waits for."""


def check_socket(path: Path) -> None:
    """Raise NoDaemon when there is no socket, Denied when somebody else could have put it there."""
    try:
        owner = path.parent.stat().st_uid
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise absent(path)
    except (FileNotFoundError, NotADirectoryError):
        raise absent(path) from None
    except PermissionError:
        raise forbidden(path) from None
    # Only root can have put the machine's socket directory where it is.
    if os.getuid() not in {owner, 0} and owner != 0 and path != SYSTEM.socket:
        raise Denied(
            f"{path.parent} belongs to another user",
            why="who owns it could pose as the daemon",
            hint="Use the home of your own node",
        )


def absent(path: Path) -> NoDaemon:
    """Return the error for a socket where nobody answers."""
    start = "sudo systemctl start p2pnode" if path == SYSTEM.socket else "p2pnode run"
    return NoDaemon(f"no daemon at {path}", hint=f"Start it: {start}")


def forbidden(path: Path) -> Denied:
    """Return the error for a socket that is not ours to use."""
    if path == SYSTEM.socket:
        return Denied(
            f"{path} may not be opened",
            why="only the group p2pnode may use this machine's node",
            hint="Join it: sudo usermod -aG p2pnode $USER, then log in again",
        )
    return Denied(
        f"{path} may not be opened",
        why="the node belongs to another user",
        hint="Run this as the user the daemon runs as",
    )


class BlockingClient:
    """A client that blocks: one call at a time, one stream kept open. Not for several threads.

    path: the home's socket. patience: seconds a call waits for its answer, on top of what the
    request itself waits for.

    with BlockingClient(find_home().socket) as client:
        sent = client.call(schema.Send(to="bo", text="hello"))
    """

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._socket: socket.socket | None = None
        self._exchange = Exchange()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, request: Asks[A]) -> A:
        """Return the answer to a request, of the type that belongs to it.

        Raises the LocalError the node raised; NoDaemon when none answers in time, or it went away
        (the request may then have been carried out, or not); Denied.
        """
        waits = float(getattr(request, "timeout", 0.0))
        raw = self._ask(encode_call(request, 0), waits + self._patience)
        return decode_answer(request, raw)

    def _ask(self, body: bytes, patience: float) -> bytes:
        if self._socket is not None and not _alive(self._socket):
            self.close()
        stream = self._socket or self._connected()
        try:
            stream.settimeout(patience)
            stream.sendall(self._exchange.post(body))
            while True:
                found = stream.recv(CHUNK)
                answer = self._exchange.receive(found)
                if answer is not None:
                    break
        except TimeoutError:
            self.close()
            raise NoDaemon(
                "the daemon does not answer",
                why=f"waited {patience:.0f} s",
                hint="Look at its log, or restart it",
            ) from None
        except OSError:
            self.close()
            raise gone() from None
        except BaseException:
            self.close()
            raise
        if not self._exchange.reusable:
            self.close()
        return answer

    def _connected(self) -> socket.socket:
        check_socket(self._path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(os.fspath(self._path))
        except PermissionError:
            made.close()
            raise forbidden(self._path) from None
        except OSError:
            made.close()
            raise absent(self._path) from None
        self._socket, self._exchange = made, Exchange()
        return made


def _alive(stream: socket.socket) -> bool:
    """Return whether an idle stream is still open (nothing at all can be read from it)."""
    stream.settimeout(0)
    try:
        stream.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Client:
    """A client for trio. Calls may run concurrently; each takes a stream of its own.

    path: the home's socket. Up to eight streams are kept open between calls.

    async with Client(find_home().socket) as client:
        sent = await client.call(schema.Send(to="bo", text="hello"))
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[tuple[trio.SocketStream, Exchange]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import trio

        for stream, _ in self._idle:
            await trio.aclose_forcefully(stream)
        self._idle.clear()

    async def call(self, request: Asks[A]) -> A:
        """Return the answer to a request, of the type that belongs to it.

        Raises the LocalError the node raised; NoDaemon when none runs, or it went away (the request
        may then have been carried out, or not); Denied. Waits without end: bound it with
        `trio.fail_after`; a call that is cancelled may have been carried out as well.
        """
        return decode_answer(request, await self._ask(encode_call(request, 0)))

    async def batch(self, requests: Sequence[Request]) -> list[Answer | LocalError]:
        """Carry out up to 256 requests at once: the node may put them into one commit.

        Answers come in the same order; a LocalError stands where a request failed. Raises NoDaemon,
        Denied, InvalidInput (more than 256, or over 1 MiB).
        """
        if not requests:
            return []
        calls = b",".join(encode_call(request, at) for at, request in enumerate(requests))
        return decode_answers(requests, await self._ask(b"[" + calls + b"]"))

    async def post(self, body: bytes) -> bytes:
        """Carry out JSON-RPC as it stands: a call, or a batch of up to 256, at most 1 MiB.

        Returns the answer as the daemon wrote it, an error too; b"" when there is none (of
        notifications). Raises NoDaemon or Denied when none came, InvalidInput for no request.
        """
        return await self._ask(body)

    async def ack(self, consumer: str, event: Event) -> None:
        """Acknowledge an event and all before it: the consumer will not get them again."""
        await self.call(AckEvents(consumer, event.cursor))

    @asynccontextmanager
    async def events(self, consumer: str, after: int = -1) -> AsyncIterator["EventStream"]:
        """Open the stream of events after the consumer's acknowledged cursor (or `after`).

        Gives an EventStream. What was not acknowledged comes again in the next stream; a consumer
        that was never seen starts with the oldest event kept (see BeginEvents). Raises NoDaemon,
        Denied, InvalidInput (no name for a consumer).
        """
        import trio

        query = urlencode({"consumer": consumer, "after": after})
        stream = await self._connected()
        exchange = Exchange()
        try:
            await stream.send_all(exchange.get(f"/v1/events?{query}"))
            yield EventStream(stream, exchange)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise gone() from None
        finally:
            await trio.aclose_forcefully(stream)

    async def _ask(self, body: bytes) -> bytes:
        import trio

        stream, exchange = await self._stream()
        answered = False
        try:
            await stream.send_all(exchange.post(body))
            answer = None
            while answer is None:
                answer = exchange.receive(bytes(await stream.receive_some(CHUNK)))
            answered = exchange.reusable and len(self._idle) < MAX_IDLE
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise gone() from None
        finally:
            if answered:
                self._idle.append((stream, exchange))
            else:
                await trio.aclose_forcefully(stream)
        return answer

    async def _stream(self) -> tuple["trio.SocketStream", Exchange]:
        while self._idle:
            stream, exchange = self._idle.pop()
            if stream.socket.is_readable():
                await stream.aclose()
            else:
                return stream, exchange
        return await self._connected(), Exchange()

    async def _connected(self) -> "trio.SocketStream":
        import trio

        check_socket(self._path)
        try:
            return await trio.open_unix_socket(os.fspath(self._path))
        except PermissionError:
            raise forbidden(self._path) from None
        except OSError:
            raise absent(self._path) from None


class EventStream:
    """Events as they come, for `async for`; ends when the daemon stops.

    Acknowledge what you have dealt with. Raises NoDaemon when the daemon went without a word, and
    the node's own error: VaultLocked where its vault is.
    """

    def __init__(self, stream: "trio.SocketStream", exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange
        self._rest = b""
        self._found: list[Event] = []

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> Event:
        while not self._found:
            if self._exchange.ended:
                raise StopAsyncIteration
            pieces = list(self._exchange.pieces(bytes(await self._stream.receive_some(CHUNK))))
            self._exchange.forget()
            *blocks, self._rest = (self._rest + b"".join(pieces)).split(b"\n\n")
            self._found = [event for block in blocks for event in _events(block)]
        return self._found.pop(0)


def _events(block: bytes) -> Iterator[Event]:
    fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
    if fields.get(b"event") == b"error":
        told = msgspec.json.decode(fields[b"data"])
        raise find(told["code"])(told["what"])
    if b"data" in fields:
        yield msgspec.json.decode(fields[b"data"], type=Event)
