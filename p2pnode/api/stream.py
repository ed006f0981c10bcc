"""Server-sent events: the stored event stream, from a consumer's cursor on.

A page is taken from the store, written, and only then the next one is taken: a slow client waits
for itself and costs no memory. Events stay until their consumer acknowledges them by `events.ack`.
"""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2pnode.errors import LocalError
from p2pnode.schema import Events, Service, TakeEvents

PAGE = 32
"""Events taken at once: at most 2 MiB of text."""

KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is written, so that a dead client shows."""


def asked(query: Mapping[str, str], last: str | None) -> TakeEvents:
    """Return what a client asks for: `consumer`, and `after` or the header Last-Event-ID.

    Raises msgspec.ValidationError.
    """
    after = query.get("after", last or "-1")
    return msgspec.convert(
        {"consumer": query.get("consumer"), "after": after, "limit": PAGE, "timeout": KEEP_ALIVE},
        TakeEvents,
        strict=False,
    )


class EventStream(Response):
    """An endless answer; ends when its task is cancelled (client gone, or the daemon stops)."""

    def __init__(self, service: Service, take: TakeEvents) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._service = service
        self._take = take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write events until cancelled."""
        take = self._take
        encode = msgspec.json.encode
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        text = b": events follow\n\n"
        while True:
            await send({"type": "http.response.body", "body": text, "more_body": True})
            try:
                page = await self._service.call(take)
            except LocalError as error:
                what = encode({"schema": 1, "code": error.code, "what": error.what})
                await send(
                    {"type": "http.response.body", "body": b"event: error\ndata: %s\n\n" % what}
                )
                return
            assert isinstance(page, Events)
            text = b"".join(
                b"id: %d\nevent: %s\ndata: %s\n\n" % (e.cursor, e.kind.encode(), encode(e))
                for e in page.events
            )
            if page.events:
                take = msgspec.structs.replace(take, after=page.events[-1].cursor)
            else:
                text = b": still here\n\n"
