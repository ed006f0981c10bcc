"""Sends envelopes over one link: a device's own new ones at once, its waiting ones page by page,
and what is carried for others after those, in turn from all sources.

What waits is offered by id first, because the other side may have it from an earlier link. At most
`MAX_IN_FLIGHT` envelopes are sent and not yet answered, so a slow peer costs no memory here.

On slow media (Bluetooth LE) small envelopes go first, large ones in pieces, and no more is queued
than keeps the medium busy: whatever is new need not wait behind it.
"""

import math
from collections.abc import Iterable
from random import Random

import trio

from p2pnode.engine.owner import Owner
from p2pnode.errors import ChannelClosed
from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.asked import PATIENCE
from p2pnode.protocol.custody import Waiting
from p2pnode.protocol.limits import PIECE
from p2pnode.protocol.link.messages import EnvelopeOut, LinkMessage, Offer
from p2pnode.protocol.pieces import cut
from p2pnode.turns.asks import Backlog, Fetch, FetchCarried
from p2pnode.turns.effects import Push

PAGE = 128
"""Envelopes offered at once."""

CHUNK = 32
"""Envelopes read from the vault at once: 2 MiB at most. On slow media also offered at once."""

OWN = b"own"
"""Source of own envelopes among those carried: they take their turn with everybody's."""

FEW = 2
"""Messages of a page that may wait in front of a slow channel: new ones get behind no more."""

SOME = 8
"""Messages that may wait there when a new envelope is added: 32 KiB."""

STALLED_AFTER = 60
"""Seconds without any answer to what was sent or offered after which the link is given up."""


GATHER = (0.05, 0.5)
"""Seconds, from and to, in which fresh envelopes are gathered and mixed before they are offered."""

AGAIN_AFTER = 2.0 * PATIENCE
"""Seconds after which what another link was to bring is offered again."""

REFUSED_AGAIN = 60.0
LONGEST_REFUSED = 1_800.0
"""Seconds after which what a device had no room for is offered again: doubling to the longest."""

MANY = 16
"""Refusals that still lengthen that."""

MAX_CARRIED = 65_536
"""Ids kept of what the other side may lack; more are found by the next reconciliation."""


class Pump:
    """One link's outgoing envelopes.

    device: whose own mail goes first; None where there is none to send, only what is carried.
    strangers: the slot whose envelopes come last. slow: as on slow media, see above.
    """

    def __init__(
        self,
        owner: Owner,
        device: DeviceId | None,
        outgoing: "Outgoing",
        random: Random,
        strangers: bytes,
        *,
        slow: bool,
    ) -> None:
        self._owner = owner
        self._slow = slow
        self._page = CHUNK if slow else PAGE
        self._only_large = False
        self._begun: tuple[EnvelopeId, int] | None = None
        self._random = random
        self._fresh: Waiting[EnvelopeId] = Waiting(strangers, MAX_CARRIED)
        self._again = math.inf
        self._refusals = 0
        self._refused_until = -math.inf
        self._device = device
        self._outgoing = outgoing
        self._reached = 0
        self._caught_up = False
        self._missed = False
        self._more = trio.Event()
        self._in_flight: set[EnvelopeId] = set()
        self._offered: set[EnvelopeId] = set()
        self._wanted: list[EnvelopeId] | None = None
        self._answered = trio.Event()
        self.sent = 0

    @property
    def waiting(self) -> int:
        """How many envelopes are known to go this way still, or are on it."""
        return len(self._fresh) + len(self._in_flight)

    def push(self, new: Push) -> None:
        """Send a new envelope now if everything before it is sent; else leave it to the pages. On
        slow media large ones, which may take minutes, need not be sent before it."""
        now = self._caught_up or self._only_large
        if now and self._pushed(new.envelope, EnvelopeOut(new.age, new.raw)):
            if self._caught_up:
                self._reached = new.row
        else:
            self._caught_up = self._only_large = False
            self._missed = True
            self._more.set()

    def give(self, envelope: EnvelopeId, age: int, raw: bytes) -> None:
        """Send a fresh own envelope to somebody who is to carry it, if the link is not busy."""
        if self._slow and len(raw) > PIECE:
            self.carry(envelope, OWN)  # it takes long enough to be asked for first
        else:
            self._pushed(envelope, EnvelopeOut(age, raw))

    def _pushed(self, envelope: EnvelopeId, message: EnvelopeOut) -> bool:
        """Send an envelope without an offer, if the link is not busy; tell whether it was sent."""
        if len(self._in_flight) >= limits.MAX_IN_FLIGHT:
            return False
        if self._slow and (len(message.raw) > PIECE or self._outgoing.waiting > SOME):
            return False
        if not self._outgoing.try_send(message):
            return False
        self._in_flight.add(envelope)
        self.sent += 1
        return True

    def answered(self, ids: Iterable[EnvelopeId]) -> None:
        """The other side accepted, opened or refused these."""
        self._in_flight.difference_update(ids)
        self._offered.difference_update(ids)
        self._answered.set()

    def wanted(self, ids: Iterable[EnvelopeId]) -> None:
        """The other side lacks these of the last offer. What was not offered is passed over."""
        self._wanted = [envelope for envelope in ids if envelope in self._offered]
        self._answered.set()

    def carry(self, envelope: EnvelopeId, source: bytes) -> None:
        """Offer an envelope that has just come into custody, or that the other side was found to
        lack: since then it may have got it from somebody else."""
        self._fresh.add(envelope, source)
        self._more.set()

    def again_later(self) -> None:
        """Another link was to bring something: offer what still waits again, should it not have."""
        self._again = min(self._again, trio.current_time() + AGAIN_AFTER)
        self._more.set()

    def refused(self) -> None:
        """The device had no room for something: offer what waits again, after ever longer."""
        now = trio.current_time()
        if self._device is None or now < self._refused_until:
            return
        pause = min(REFUSED_AGAIN * 2.0**self._refusals, LONGEST_REFUSED)
        self._refusals = min(self._refusals + 1, MANY)
        self._refused_until = now + pause
        self._again = min(self._again, self._refused_until)
        self._more.set()

    def welcome(self) -> None:
        """The device took something of ours."""
        self._refusals = 0

    async def run(self) -> None:
        """Send until cancelled. Raises ChannelClosed when the other side stops answering."""
        while True:
            await self._own_mail()
            if self._fresh:
                if len(self._fresh) < self._page:  # a full page is mixed enough
                    await trio.sleep(self._random.uniform(*GATHER))
                found = self._fresh.take(self._page)
                self._random.shuffle(found)  # the newest shall not stand out
                await self._offer(found, FetchCarried)
            else:
                with trio.move_on_at(self._again):
                    await self._more.wait()
                if trio.current_time() >= self._again:
                    self._again = math.inf
                    self._reached = 0

    async def _own_mail(self) -> None:
        """Send what waits for the device."""
        while True:
            self._missed = False
            page = await self._own_page()
            if page:
                last = len(page) < self._page
                await self._offer([envelope for _, envelope in page], Fetch, last=last)
                self._reached = max(self._reached, page[-1][0])
            elif not self._missed:
                break  # else something was written after this page, before it was handed over
        self._caught_up = True
        self._more = trio.Event()

    async def _own_page(self) -> list[tuple[int, EnvelopeId]]:
        """Return the next own envelopes for the device; where there is none, none."""
        if self._device is None:
            await trio.lowlevel.checkpoint()
            return []
        page: list[tuple[int, EnvelopeId]] = await self._owner.ask(
            Backlog(self._device, self._reached, self._page)
        )
        return page

    async def _offer(
        self, ids: list[EnvelopeId], fetch: "type[Fetch | FetchCarried]", *, last: bool = False
    ) -> None:
        """Offer envelopes and send those that are wanted. last: none of the device's come after."""
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
        await self._send(wanted, fetch, last)
        self._only_large = False

    async def _send(
        self, ids: list[EnvelopeId], fetch: "type[Fetch | FetchCarried]", last: bool
    ) -> None:
        for at in range(0, len(ids), CHUNK):
            found = await self._owner.ask(fetch(tuple(ids[at : at + CHUNK])))
            for envelope, age, raw in sorted(found, key=self._rank) if self._slow else found:
                while len(self._in_flight) >= limits.MAX_IN_FLIGHT:
                    await self._next_answer()
                if self._slow and len(raw) > PIECE:
                    if fetch is FetchCarried and not self._caught_up:
                        await self._own_mail()
                    self._only_large = last
                self._in_flight.add(envelope)
                self.sent += 1
                await self._transmit(envelope, age, raw)

    def _rank(self, one: tuple[EnvelopeId, int, bytes]) -> tuple[int, int]:
        """Return which goes first on slow media: the small, then what was begun, then by size."""
        envelope, _, raw = one
        begun = self._begun is not None and self._begun[0] == envelope
        return (len(raw) > PIECE) - begun, len(raw)

    async def _transmit(self, envelope: EnvelopeId, age: int, raw: bytes) -> None:
        """Send one, however the medium wants it."""
        if not self._slow:
            await self._outgoing.send(EnvelopeOut(age, raw))
        elif len(raw) == PIECE:
            await self._outgoing.send_quietly(EnvelopeOut(age, raw))
        else:
            begun, self._begun = self._begun, None
            start = begun[1] if begun is not None and begun[0] == envelope else 0
            if start * PIECE >= len(raw):
                start = 0  # it cannot be
            for piece in cut(envelope, age, raw, start):
                await self._outgoing.send_quietly(piece)

    def go_on(self, envelope: EnvelopeId, pieces: int) -> None:
        """The other side has so many pieces of an envelope from an earlier link; until the first
        piece of another one."""
        self._begun = envelope, pieces

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
        self._taken = trio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait for the channel."""
        return self._sending.statistics().current_buffer_used

    def taken(self) -> None:
        """The channel has taken something."""
        self._taken.set()

    async def send_quietly(self, item: LinkMessage) -> None:
        """Queue a message once hardly anything waits."""
        while self.waiting > FEW:
            self._taken = trio.Event()
            await self._taken.wait()
        await self.send(item)

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
