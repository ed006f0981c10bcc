"""Sends a device's envelopes over one link: new ones at once, waiting ones page by page.

What waits is offered by id first, because the other side may have it from an earlier link. At most
`MAX_IN_FLIGHT` envelopes are sent and not yet answered, so a slow peer costs no memory here.
"""

from collections.abc import Iterable

import trio

from p2pnode.engine.owner import Owner
from p2pnode.errors import ChannelClosed
from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.link.messages import EnvelopeOut, LinkMessage, Offer
from p2pnode.turns.asks import Backlog, Fetch
from p2pnode.turns.effects import Push

PAGE = 128
"""Envelopes offered at once."""

CHUNK = 32
"""Envelopes read from the vault at once: 2 MiB at most."""

STALLED_AFTER = 60
"""Seconds without any answer to what was sent or offered after which the link is given up."""


class Pump:
    """One link's outgoing envelopes. `send` waits while the link is busy; `try_send` does not."""

    def __init__(self, owner: Owner, device: DeviceId, outgoing: "Outgoing") -> None:
        self._owner = owner
        self._device = device
        self._outgoing = outgoing
        self._reached = 0
        self._caught_up = False
        self._more = trio.Event()
        self._in_flight: set[EnvelopeId] = set()
        self._offered: set[EnvelopeId] = set()
        self._wanted: list[EnvelopeId] | None = None
        self._answered = trio.Event()

    def push(self, new: Push) -> None:
        """Send a new envelope now if everything before it is sent; else leave it to the pages."""
        if (
            self._caught_up
            and len(self._in_flight) < limits.MAX_IN_FLIGHT
            and self._outgoing.try_send(EnvelopeOut(new.age, new.raw))
        ):
            self._reached = new.row
            self._in_flight.add(new.envelope)
        else:
            self._caught_up = False
            self._more.set()

    def answered(self, ids: Iterable[EnvelopeId]) -> None:
        """The other side accepted, opened or refused these."""
        self._in_flight.difference_update(ids)
        self._offered.difference_update(ids)
        self._answered.set()

    def wanted(self, ids: Iterable[EnvelopeId]) -> None:
        """The other side lacks these of the last offer. What was not offered is passed over."""
        self._wanted = [envelope for envelope in ids if envelope in self._offered]
        self._answered.set()

    async def run(self) -> None:
        """Send until cancelled. Raises ChannelClosed when the other side stops answering."""
        while True:
            page = await self._owner.ask(Backlog(self._device, self._reached, PAGE))
            if page:
                await self._offer([envelope for _, envelope in page])
                self._reached = max(self._reached, page[-1][0])
                continue
            # Between the empty page and here nothing can be pushed: no await lies in between.
            self._caught_up = True
            self._more = trio.Event()
            await self._more.wait()

    async def _offer(self, ids: list[EnvelopeId]) -> None:
        fresh = [envelope for envelope in ids if envelope not in self._in_flight]
        if not fresh:
            return
        self._offered = set(fresh)
        self._wanted = None
        await self._outgoing.send(Offer(tuple(fresh)))
        while self._wanted is None and self._offered:
            await self._next_answer()
        wanted: list[EnvelopeId] = self._wanted or []
        self._offered.clear()
        for at in range(0, len(wanted), CHUNK):
            for envelope, age, raw in await self._owner.ask(Fetch(tuple(wanted[at : at + CHUNK]))):
                while len(self._in_flight) >= limits.MAX_IN_FLIGHT:
                    await self._next_answer()
                self._in_flight.add(envelope)
                await self._outgoing.send(EnvelopeOut(age, raw))

    async def _next_answer(self) -> None:
        self._answered = trio.Event()
        with trio.move_on_after(STALLED_AFTER) as waiting:
            await self._answered.wait()
        if waiting.cancelled_caught:
            raise ChannelClosed("stalled")


class Outgoing:
    """The bounded queue in front of a link's channel."""

    def __init__(self, sending: "trio.MemorySendChannel[bytes | LinkMessage]") -> None:
        self._sending = sending

    async def send(self, item: bytes | LinkMessage) -> None:
        """Queue a message, or a frame that is sealed already; waits while the queue is full."""
        try:
            await self._sending.send(item)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ChannelClosed from None

    def try_send(self, item: bytes | LinkMessage) -> bool:
        """Queue a message if there is room; tell whether there was."""
        try:
            self._sending.send_nowait(item)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True
