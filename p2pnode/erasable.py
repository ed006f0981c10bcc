"""The home behind the gate, which may be erased as a whole: that needs no vault, and ends whoever
stands there."""

from collections.abc import Sequence

import msgspec
import trio

from p2pnode import erasure
from p2pnode.config import Home
from p2pnode.engine.clock import Clock
from p2pnode.errors import LocalError, StoreError
from p2pnode.logs import EventLog
from p2pnode.schema import (
    Answer,
    CancelErasures,
    Erase,
    Erasing,
    Erasures,
    Request,
    Send,
    Service,
    Status,
)

log = EventLog("daemon")

LOOK_EVERY = 30.0
"""Seconds between two looks whether the home is to be erased."""


class Erasable(Service):
    """What the API talks to: the gate, and the plan to erase the home.

    clock: of the node that stands, or stood last. over: the plan by which the home is to be erased
    now.
    """

    def __init__(self, service: Service, home: Home) -> None:
        self.clock: Clock | None = None
        self.over: erasure.Intent | None = None
        self._service = service
        self._home = home
        self._asked = trio.Event()
        self._at_once: erasure.Intent | None = None

    async def call(self, request: Request) -> Answer:
        """Carry out a request. Raises LocalError."""
        if isinstance(request, Erase) and request.what == "all" and self.clock is not None:
            return self._plan(request, self.clock)
        answer = await self._service.call(request)
        if isinstance(request, CancelErasures) and not request.contact:
            assert isinstance(answer, Erasures)
            more = erasure.cancel(self._home)
            return msgspec.structs.replace(answer, cancelled=answer.cancelled + more)
        if isinstance(answer, Erasures | Status):
            return msgspec.structs.replace(answer, erasing=[*answer.erasing, *self._planned()])
        return answer

    async def send_all(self, requests: Sequence[Send]) -> list[Answer | LocalError]:
        """Send messages in their order."""
        return await self._service.send_all(requests)

    async def until_erased(self, stopping: trio.Event) -> None:
        """End the daemon when its home is to be erased, which is done when all of it is closed."""
        while True:
            self._asked = trio.Event()
            self.over = self._due()
            if self.over is not None:
                stopping.set()
                return
            with trio.move_on_after(LOOK_EVERY):
                await self._asked.wait()

    def _due(self) -> erasure.Intent | None:
        if self._at_once is not None or self.clock is None:
            return self._at_once
        try:
            due = erasure.is_due(self._home, self.clock.now().node)
            return erasure.intent(self._home) if due else None
        except StoreError as error:  # too many open files, say: no reason to end; it looks again
            log.warning("erasure.unread", reason=error.code)
            return None

    def _plan(self, request: Erase, clock: Clock) -> Erasures:
        after = 0 if request.now else erasure.GRACE
        now = clock.now().node
        planned = erasure.plan(self._home, now, after=after, settings=request.settings)
        self._at_once = planned if request.now else None
        self._asked.set()
        return Erasures(erasing=self._planned())

    def _planned(self) -> list[Erasing]:
        planned = erasure.intent(self._home)
        if planned is None or self.clock is None:
            return []
        left = max(0, planned.due - self.clock.now().node)
        return [Erasing(what="all", contact="", left=left)]
