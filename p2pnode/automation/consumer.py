"""A part of the daemon as a consumer of stored events, with a cursor of its own."""

from typing import cast

import trio

from p2pnode.errors import LocalError
from p2pnode.logs import EventLog
from p2pnode.schema import A, AckEvents, Asks, BeginEvents, Event, Service, TakeEvents

log = EventLog("automation")

WAIT = 3_600.0
"""Seconds of one wait for events."""

AGAIN = 10.0
"""Seconds after which a request is made again that the node could not carry out (a full disk)."""


class Consumer:
    """A consumer's place in the stream; it survives restarts, and so does what it has not taken.

    One that was never seen begins with the next event: what is old must not set off anything.
    """

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name

    async def begin(self) -> None:
        """Find the consumer's place, or make it."""
        await self._call(BeginEvents(self._name))

    async def next(self, limit: int) -> list[Event]:
        """Wait for events that were not acknowledged; return the oldest of them."""
        while True:
            page = await self._call(TakeEvents(self._name, limit=limit, timeout=WAIT))
            if page.events:
                return page.events

    async def done(self, event: Event) -> None:
        """Acknowledge an event and all before it."""
        await self._call(AckEvents(self._name, event.cursor))

    async def _call(self, request: Asks[A]) -> A:
        """Make a request until the node can carry it out."""
        while True:
            try:
                return cast("A", await self._service.call(request))
            except LocalError as error:
                log.warning("waits", consumer=self._name, reason=error.code)
            await trio.sleep(AGAIN)
