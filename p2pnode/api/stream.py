"""Server-sent events: the stored event stream, from a consumer's cursor on.

A page is taken from the store, written, and only then the next one is taken: a slow client waits
for itself and costs no memory. Events stay until their consumer acknowledges them by `events.ack`.
"""

from collections.abc import AsyncGenerator, Mapping

import msgspec

from p2pnode.errors import LocalError
from p2pnode.schema import SCHEMA, Events, Service, TakeEvents

PAGE = 32
"""Events taken at once: at most 2 MiB of text."""

KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is written, so that a dead client shows."""

HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"))


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


async def parts(service: Service, take: TakeEvents) -> AsyncGenerator[bytes, None]:
    """Yield the stream's text without end; after an error of the node, that and no more."""
    encode = msgspec.json.encode
    yield b": events follow\n\n"
    while True:
        try:
            page = await service.call(take)
        except LocalError as error:
            what = encode({"schema": SCHEMA, "code": error.code, "what": error.what})
            yield b"event: error\ndata: %s\n\n" % what
            return
        assert isinstance(page, Events)
        if not page.events:
            yield b": still here\n\n"
            continue
        yield b"".join(
            b"id: %d\nevent: %s\ndata: %s\n\n" % (e.cursor, e.kind.encode(), encode(e))
            for e in page.events
        )
        take = msgspec.structs.replace(take, after=page.events[-1].cursor)
