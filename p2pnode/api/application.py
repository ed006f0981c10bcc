"""What the local API answers over HTTP: `/v1/rpc`, `/v1/events`, `/v1/check`, `/v1/metrics`, and
what it is: `/v1/openrpc.json`."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from urllib.parse import parse_qsl

import msgspec
import trio

from p2pnode.api import rpc, stream
from p2pnode.api.http import HttpStream, Refusal, Request
from p2pnode.errors import LocalError
from p2pnode.logs import EventLog, Private, traced
from p2pnode.openrpc import document
from p2pnode.schema import SCHEMA, GetMetrics, GetReady, GetStatus, Metrics, Ready, Service, Status

_log = EventLog("api")

HOSTS = frozenset({b"localhost", b"p2pnode"})
"""What Host may say. A browser behind a forwarder names another host, or a port."""

PATHS = {
    b"/v1/rpc": b"POST",
    b"/v1/events": b"GET",
    b"/v1/check": b"GET",
    b"/v1/openrpc.json": b"GET",
    b"/v1/metrics": b"GET",
}
"""Where something is, and the one method it takes."""


METRICS_KIND = b"text/plain; version=0.0.4; charset=utf-8"
"""The media type of Prometheus' text format."""


class Conversation:
    """One client's requests, one after the other.

    state: "idle" between requests, "calling" while one is carried out, "streaming" while events
    are written. `interrupt` ends what is under way: a call is then refused, a stream ends.
    """

    def __init__(self, service: Service, http: HttpStream) -> None:
        self._service = service
        self._http = http
        self._scope = trio.CancelScope()
        self._stopping = False
        self.state = "idle"

    async def run(self) -> None:
        """Serve until the client is through, or something it did ends the stream."""
        try:
            while not self._stopping:
                request = await self._next()
                if request is None:
                    return
                try:
                    await self._carry_out(request)
                except Refusal as refusal:
                    await self._http.answer(refusal.status, refusal.body)
                self.state = "idle"
        except Refusal as refusal:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._http.answer(refusal.status, refusal.body)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone

    def interrupt(self) -> None:
        """End what is under way, and the conversation with it."""
        self._stopping = True
        self._scope.cancel()

    async def _next(self) -> Request | None:
        with trio.CancelScope() as self._scope:
            return await self._http.request()
        return None

    async def _carry_out(self, request: Request) -> None:
        _check(request)
        if request.path == b"/v1/events":
            self.state = "streaming"
            await self._events(request)
            return
        self.state = "calling"
        if request.path == b"/v1/check":
            await self._http.answer(200, await self._checked())
            return
        if request.path == b"/v1/metrics":
            await self._http.answer(200, await self._metrics(), METRICS_KIND)
            return
        if request.path == b"/v1/openrpc.json":
            await self._http.answer(200, document())
            return
        work = rpc.read(request.body)
        if not work.waits:
            # Soon over, whether the client is still there or not: nobody need watch for that.
            with trio.CancelScope() as self._scope:
                await self._answer(await rpc.carry_out(self._service, work))
            if self._scope.cancelled_caught:
                raise Refusal(503, "the daemon is stopping")
            return
        told: bytes | None = None

        async def wait() -> None:
            nonlocal told
            told = await rpc.carry_out(self._service, work)

        if not await self._while_there(wait):
            raise Refusal(503, "the daemon is stopping")
        await self._answer(told)

    async def _answer(self, told: bytes | None) -> None:
        await self._http.answer(200 if told else 204, told or b"")

    async def _while_there(self, what: Callable[[], Awaitable[None]]) -> bool:
        """Do something that may take long; tell whether it came to its end.

        A client that goes ends it, because nobody is left to be told: BrokenResourceError.
        """
        there, done = True, False
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope

            async def watch() -> None:
                nonlocal there
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._http.gone()
                there = False
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await what()
                done = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                there = False
            nursery.cancel_scope.cancel()
        if not there:
            raise trio.BrokenResourceError
        return done

    async def _events(self, request: Request) -> None:
        query = dict(parse_qsl(request.query.decode("ascii", "replace")))
        try:
            take = stream.asked(query, request.last_event.decode("ascii", "replace") or None)
        except msgspec.ValidationError as error:
            raise Refusal(400, "wrong parameters", str(error)) from None
        await self._http.begin(stream.HEADERS)

        async def write() -> None:
            async with aclosing(stream.parts(self._service, take)) as parts:
                async for part in parts:
                    await self._http.part(part)

        await self._while_there(write)
        await self._http.end()

    async def _metrics(self) -> bytes:
        try:
            found = await self._service.call(GetMetrics())
        except LocalError as error:
            raise Refusal(404, error.what, error.hint) from None
        assert isinstance(found, Metrics)
        return found.text.encode()

    async def _checked(self) -> bytes:
        try:
            status = await self._service.call(GetStatus())
            ready = await self._service.call(GetReady())
        except LocalError as error:
            raise Refusal(503, error.what, error.why) from None
        assert isinstance(status, Status)
        assert isinstance(ready, Ready)
        return msgspec.json.encode(
            {"schema": SCHEMA, "version": status.version, "ready": ready.ready}
        )


def _check(request: Request) -> None:
    """Raise Refusal for a request that must not be carried out."""
    if request.browser:
        raise Refusal(403, "browsers are not let in")
    if request.host.lower() not in HOSTS:
        raise Refusal(421, "the Host must be localhost")
    method = PATHS.get(request.path)
    if method is None:
        raise Refusal(404, "there is nothing here", "see docs/api.md")
    if request.method != method:
        raise Refusal(405, "calls are POSTed" if method == b"POST" else "this is only read")
    if method == b"POST":
        # a page cannot send this type across origins without asking first, and nobody answers that
        if request.kind.partition(b";")[0].strip().lower() != b"application/json":
            raise Refusal(415, "the Content-Type must be application/json")
        if not request.body:
            raise Refusal(400, "the request has no body")


async def serve_stream(conversation: Conversation) -> None:
    """Run a conversation; a defect of ours ends it alone, and is logged without its contents."""
    try:
        await conversation.run()
    except Exception as error:
        _log.fault("stream.failed", at=traced(error), text=Private(error))
