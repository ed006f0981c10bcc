"""HTTP/1.1 on one stream: h11 says what the bytes mean, this bounds how much and how long."""

from collections.abc import Sequence
from typing import NamedTuple

import h11
import msgspec
import trio

from p2pnode.schema import SCHEMA

MAX_HEAD = 16_384
"""Bytes in the head of a request."""

MAX_BODY = 1 << 20
"""Bytes in one request: a batch of short calls, or the longest text with everything escaped."""

REQUEST_TIMEOUT = 30.0
"""Seconds from the first byte of a request to its last."""

UNREAD_TIMEOUT = 30.0
"""Seconds a client may leave what we write unread."""

CHUNK = 65_536
"""Bytes read at once, and kept at most of what a client sends before it has its answer."""

JSON = b"application/json"


class Request(NamedTuple):
    """A whole request. host and kind (Content-Type) are empty when they are not given."""

    method: bytes
    path: bytes
    query: bytes
    host: bytes
    kind: bytes
    last_event: bytes
    browser: bool
    body: bytes


class Refusal(Exception):
    """A request that is answered with a status and a reason instead of a result."""

    def __init__(self, status: int, what: str, why: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.body = msgspec.json.encode({"schema": SCHEMA, "what": what, "why": why})


BROWSER_HEADERS = frozenset({b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode"})
"""Headers that only browsers send. Nothing here is meant for a web page."""


class HttpStream:
    """One client's stream: requests in, answers out, one at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._kept = 0
        self._method = b""

    async def request(self) -> Request | None:
        """Wait for the next whole request; None when the client is through.

        Raises Refusal when it cannot be one; after the answer the stream must be closed.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._http.our_state is not h11.IDLE:
            return None
        self._kept = 0
        # Nothing may have come yet, and may not for hours; the clock runs from the first byte on.
        event = self._next()
        if event is h11.NEED_DATA:
            await self._read()
            event = self._next()
        with trio.move_on_after(REQUEST_TIMEOUT):
            while event is h11.NEED_DATA:
                await self._read()
                event = self._next()
            if isinstance(event, h11.Request):
                return await self._whole(event)
            return None
        raise Refusal(408, "the request did not come to its end")

    async def _whole(self, head: h11.Request) -> Request:
        self._method = head.method
        host = kind = last = b""
        browser = False
        for name, value in head.headers:
            if name == b"host":
                host = value
            elif name == b"content-type":
                kind = value
            elif name == b"last-event-id":
                last = value
            elif name == b"content-length" and int(value) > MAX_BODY:
                raise Refusal(413, "the request is larger than 1 MiB")
            elif name in BROWSER_HEADERS:
                browser = True
        if self._http.they_are_waiting_for_100_continue:
            await self._write(
                self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            )
        parts: list[bytes] = []
        size = 0
        while not isinstance(event := self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > MAX_BODY:
                    raise Refusal(413, "the request is larger than 1 MiB")
            elif event is h11.NEED_DATA:
                await self._read()
        path, _, query = head.target.partition(b"?")
        return Request(head.method, path, query, host, kind, last, browser, b"".join(parts))

    def _next(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Refusal(error.error_status_hint, "this is not HTTP/1.1 as we speak it") from None

    async def _read(self) -> None:
        """Take in what has come; the end of the stream in the middle of a request raises."""
        self._http.receive_data(bytes(await self._stream.receive_some(CHUNK)))

    async def gone(self) -> None:
        """Return when the client has closed its end; what it sends meanwhile is kept, up to a bound
        after which nothing more is read until it has its answer."""
        while self._kept < CHUNK:
            found = bytes(await self._stream.receive_some(CHUNK))
            self._http.receive_data(found)
            if not found:
                return
            self._kept += len(found)
        await trio.sleep_forever()

    async def answer(self, status: int, body: bytes, kind: bytes = JSON) -> None:
        """Write a whole answer; b"" says 204."""
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", kind)]
        if status == 204:
            headers = []
        if self._http.their_state is not h11.DONE:
            headers.append((b"connection", b"close"))
        head = h11.Response(status_code=status, headers=headers)
        shown = b"" if self._method == b"HEAD" else body
        await self._write(self._sent(head, h11.Data(shown), h11.EndOfMessage()))

    async def begin(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Begin an answer that comes in parts."""
        await self._write(self._sent(h11.Response(status_code=200, headers=list(headers))))

    async def part(self, body: bytes) -> None:
        """Write a part."""
        await self._write(self._sent(h11.Data(body)))

    async def end(self) -> None:
        """End the answer that came in parts."""
        await self._write(self._sent(h11.EndOfMessage()))

    def _sent(self, *events: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
        return b"".join(self._http.send(event) or b"" for event in events)

    async def _write(self, raw: bytes | None) -> None:
        """Write; raises trio.BrokenResourceError when the client has gone or does not read."""
        if not raw:
            return
        with trio.move_on_after(UNREAD_TIMEOUT) as patience:
            await self._stream.send_all(raw)
        if patience.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError
