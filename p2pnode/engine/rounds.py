"""What comes round: upkeep, copies of own envelopes for carriers, and, once, what came while nobody
could open it."""

import math
from random import Random

import trio

from p2pnode.engine.batching import Batching
from p2pnode.engine.listeners import Listeners
from p2pnode.engine.owner import Owner
from p2pnode.engine.pairings import Pairings
from p2pnode.engine.peers import Peers
from p2pnode.engine.vitals import Vitals
from p2pnode.errors import LocalError, StoreFull
from p2pnode.ids import DeviceId
from p2pnode.turns import asks
from p2pnode.turns.upkeep import Kept

UPKEEP_EVERY = 60.0
"""Seconds between upkeep turns, about."""

SPARING_EVERY = 300.0
"""The same where writes are spared: each turn keeps the clock, in both stores."""

SPREAD_EVERY = 3.0
"""Seconds, about, between looks for own envelopes that carriers are to get now."""

SPREAD_ON = 0.05
"""Seconds until the next look when there is more to do already."""


class Rounds:
    """The turns that nobody outside asks for. examine_from: row of custody after which nothing was
    looked at with the vault open."""

    def __init__(
        self,
        owner: Owner,
        peers: Peers,
        listeners: Listeners,
        pairings: Pairings,
        vitals: Vitals,
        batching: Batching,
        random: Random,
        *,
        examine_from: int | None,
    ) -> None:
        self._owner = owner
        self._peers = peers
        self._listeners = listeners
        self._pairings = pairings
        self._vitals = vitals
        self._batching = batching
        self._random = random
        self._examine_from = examine_from
        self._examined = False
        self._unspread = trio.Event()

    async def run(self) -> None:
        """Go round until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_up)
            nursery.start_soon(self._spread)
            nursery.start_soon(self._examine)

    def wake(self) -> None:
        """There may be something to spread."""
        self._unspread.set()

    async def keep(self) -> None:
        """Run an upkeep turn."""
        kept: Kept = await self._owner.ask(asks.Upkeep(self._examined))
        self._vitals.look(kept)
        if kept.room is not None and kept.room > 0:
            self._listeners.calm(StoreFull)

    async def collect(self) -> None:
        """Let everything go that is over."""
        while await self._owner.ask(asks.Collect()):
            pass

    async def _examine(self) -> None:
        """Open what came into custody while the vault was locked."""
        reached: int | None = self._examine_from
        try:
            while reached is not None:
                reached = await self._owner.ask(asks.Examine(reached))
            self._examined = True
        except LocalError as error:
            self._listeners.warn(error)

    def _givable(self) -> tuple[tuple[int, DeviceId | None], ...]:
        """Return the links on which fresh envelopes may be given to somebody."""
        found = []
        for number, link in self._peers.links.items():
            if link.exchange is not None and not link.exchange.metered:
                found.append((number, link.device.id if link.device is not None else None))
        return tuple(found)

    async def _spread(self) -> None:
        while True:
            self._unspread = trio.Event()
            due: int | None = int(UPKEEP_EVERY)
            try:
                due = await self._owner.ask(asks.Spread(self._givable()))
            except LocalError as error:
                self._listeners.warn(error)
            if due == 0:  # one turn does only so much
                await trio.sleep(SPREAD_ON)
                continue
            with trio.move_on_after(math.inf if due is None else due):
                await self._unspread.wait()
            await trio.sleep(SPREAD_EVERY * self._random.uniform(0.5, 1.5))

    async def _keep_up(self) -> None:
        kept = trio.current_time()
        while True:
            await trio.sleep(UPKEEP_EVERY * self._random.uniform(0.8, 1.2))
            parts = [self.collect, self._pairings.expire]
            if not self._batching.on or trio.current_time() - kept >= SPARING_EVERY:
                kept = trio.current_time()
                parts.insert(0, self.keep)
            for part in parts:
                try:
                    await part()
                except LocalError as error:
                    self._listeners.warn(error)
