"""What the local API answers over HTTP: `/v1/rpc`, `/v1/events`, `/v1/check`.

Calls go straight from ASGI to JSON-RPC, since one of them stands in the path of each message; the
two routes for people and streams are starlette's.
"""

import logging
from collections.abc import MutableMapping
from typing import Any, Protocol

import msgspec
import trio
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from p2pnode.api.rpc import answer
from p2pnode.api.stream import EventStream, asked
from p2pnode.errors import LocalError
from p2pnode.logs import traced
from p2pnode.schema import SCHEMA, GetReady, GetStatus, Ready, Service, Status

_log = logging.getLogger(__name__)

MAX_BODY = 1 << 20
"""Bytes in one request: a batch of short calls, or the longest text with everything escaped."""

BODY_TIMEOUT = 30.0
"""Seconds a client may take to send the body of its request."""

GRACE = 0.5
"""Seconds calls may go on after the stop: long enough for a commit."""

HOSTS = frozenset({b"localhost", b"p2pnode"})
"""What Host may say. A browser behind a forwarder names another host, or a port."""

BROWSER_HEADERS = frozenset({b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode"})
"""Headers that only browsers send. Nothing here is meant for a web page."""


class Client(Protocol):
    """The stream a request came on: `scope` is cancelled when it ends."""

    scope: trio.CancelScope | None
    gone: bool

    def cork(self) -> None:
        """Let the next write wait for the one after it."""


class Application:
    """The ASGI application; `stop` ends all that runs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._calls: set[trio.CancelScope] = set()
        self._streams: set[trio.CancelScope] = set()
        self._stopping = False
        self._idle = trio.Event()
        self._router = Router(
            [Route("/v1/events", self._events), Route("/v1/check", self._check)],
            redirect_slashes=False,
        )

    async def __call__(self, client: Client, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that came on `client`."""
        if scope["type"] != "http":
            return  # hypercorn closes what is not accepted
        streams = scope["path"] == "/v1/events"
        running = self._streams if streams else self._calls
        with trio.CancelScope() as cancel:
            client.scope = cancel
            running.add(cancel)
            try:
                refused = self._refuse(scope)
                if refused is not None:
                    await refused(scope, receive, send)
                elif scope["path"] == "/v1/rpc":
                    await self._rpc(client, scope, receive, send)
                else:
                    await self._router(scope, receive, send)
            except Exception as error:
                _log.error("api: a request failed: %s", traced(error))
                raise
            finally:
                running.discard(cancel)
                client.scope = None
                if self._stopping and not self._calls:
                    self._idle.set()
        if cancel.cancelled_caught and not client.gone:
            if streams:
                await send({"type": "http.response.body", "body": b""})
            else:
                await _refusal(503, "the daemon is stopping")(scope, receive, send)

    async def stop(self) -> None:
        """End streams now, calls after a grace; refuse what comes later."""
        self._stopping = True
        for scope in list(self._streams):
            scope.cancel()
        if self._calls:
            with trio.move_on_after(GRACE):
                await self._idle.wait()
        for scope in list(self._calls):
            scope.cancel()

    def _refuse(self, scope: MutableMapping[str, Any]) -> Response | None:
        if self._stopping:
            return _refusal(503, "the daemon is stopping")
        if scope["http_version"] not in {"1.1", "1.0"}:
            return _refusal(505, "only HTTP/1.1 is spoken here")
        host = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name in BROWSER_HEADERS:
                return _refusal(403, "browsers are not let in")
        if host.lower() not in HOSTS:
            return _refusal(421, "the Host must be localhost")
        return None

    async def _rpc(self, client: Client, scope: Scope, receive: Receive, send: Send) -> None:
        refused = _refuse_call(scope)
        body = b""
        if refused is None:
            with trio.move_on_after(BODY_TIMEOUT):
                body = await _body(receive)
                if len(body) > MAX_BODY:
                    refused = _refusal(413, "the request is larger than 1 MiB")
            if not body and refused is None:
                refused = _refusal(400, "the request has no body")
        if refused is not None:
            await refused(scope, receive, send)
            return
        told = await answer(self._service, body)
        if told is None:
            await Response(status_code=204)(scope, receive, send)
            return
        client.cork()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(told)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def _events(self, request: HttpRequest) -> Response:
        try:
            take = asked(request.query_params, request.headers.get("last-event-id"))
        except msgspec.ValidationError as error:
            return _refusal(400, "wrong parameters", str(error))
        return EventStream(self._service, take)

    async def _check(self, request: HttpRequest) -> Response:
        try:
            status = await self._service.call(GetStatus())
            ready = await self._service.call(GetReady())
        except LocalError as error:
            return _refusal(503, error.what, error.why)
        assert isinstance(status, Status)
        assert isinstance(ready, Ready)
        return _json(200, {"schema": SCHEMA, "version": status.version, "ready": ready.ready})


def _refuse_call(scope: MutableMapping[str, Any]) -> Response | None:
    if scope["method"] != "POST":
        return _refusal(405, "calls are POSTed")
    kind = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value
        elif name == b"content-length" and int(value) > MAX_BODY:
            return _refusal(413, "the request is larger than 1 MiB")
    # a page cannot send this type across origins without asking first, and nobody answers that
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        return _refusal(415, "the Content-Type must be application/json")
    return None


async def _body(receive: Receive) -> bytes:
    """Return the body, or the first part of it that is over the limit; b"" when it breaks off."""
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return b""
        part: bytes = event.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > MAX_BODY or not event.get("more_body", False):
            return b"".join(parts)


def _refusal(status: int, what: str, why: str = "") -> Response:
    return _json(status, {"schema": SCHEMA, "what": what, "why": why})


def _json(status: int, value: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
