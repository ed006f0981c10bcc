"""A scripted node behind the real API server on a real socket."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from p2pnode.api.server import serve
from tests.scripted_node import ScriptedNode

HEAD = b"POST /v1/rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Served:
    """The node, where its API is, and the way to stop it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.node = ScriptedNode()
        self.stopping = trio.Event()
        self.stopped = trio.Event()

    async def stream(self) -> trio.SocketStream:
        """Open a stream to the API."""
        return await trio.open_unix_socket(str(self.path))

    async def say(self, raw: bytes) -> tuple[int, bytes]:
        """Send bytes on a stream of their own; return status and body of the first answer."""
        async with await self.stream() as stream:
            await stream.send_all(raw)
            return await answer(stream)

    async def rpc(self, body: object) -> Any:
        """Post a JSON value; return the JSON answer, None for 204."""
        raw = json.dumps(body).encode()
        status, told = await self.say(posted(raw))
        assert status in (200, 204)
        return json.loads(told) if told else None

    async def call(self, method: str, **params: object) -> Any:
        """Make one call; return its result or error."""
        told = await self.rpc({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return told.get("result") or told["error"]


def posted(body: bytes, head: bytes = HEAD) -> bytes:
    """Return the request that posts a body."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def answer(stream: trio.SocketStream) -> tuple[int, bytes]:
    """Read one answer that has a length (or none at all)."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        found = await stream.receive_some()
        if not found:
            return 0, raw
        raw += found
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    size = int(fields.get(b"content-length", b"0"))
    while len(body) < size:
        found = await stream.receive_some()
        if not found:
            break
        body += found
    return int(head.split()[1]), body


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """Serve a scripted node in a folder until the context ends."""
    one = Served(folder / "run" / "api.sock")

    async def run(*, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        await serve(one.node, one.path, stopping=one.stopping, task_status=task_status)
        one.stopped.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield one
        one.stopping.set()
        await one.stopped.wait()


def dead_socket(path: Path) -> None:
    """Leave a socket behind as a killed daemon does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.close()
