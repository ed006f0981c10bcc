"""Writing less often: what friends bring to be carried waits for a moment, and shares a commit.

On a memory card each commit costs more than its bytes. A friend is told that its envelopes are held
once they are, as always; a crash before that costs nothing, since it keeps them until then.

What its author hands over for us is never kept waiting. What is ours and comes by others is,
like all that they bring: whose it is must not show in how soon it is accepted (decision 21).
"""

from collections.abc import Callable
from dataclasses import replace

import trio

from p2pnode.engine.owner import Owner
from p2pnode.errors import P2PNodeError
from p2pnode.turns.asks import Arrived, Ask
from p2pnode.turns.commit import BATCH

SPAN = 3.0
"""Seconds the first of a batch waits for others."""

FULL = BATCH
"""Envelopes that wait at most: what one transaction takes. 4 MiB of the largest."""


class Batching:
    """Holds what has arrived to be carried. failed: told of an error of one of them."""

    def __init__(
        self, owner: Owner, failed: Callable[[Ask, P2PNodeError], None], *, on: bool
    ) -> None:
        self.on = on
        self._owner = owner
        self._failed = failed
        self._held: list[Arrived] = []
        self._some = trio.Event()
        self._full = trio.Event()

    @property
    def room(self) -> bool:
        """Whether what arrives may wait."""
        return self.on and len(self._held) < FULL

    def hold(self, ask: Arrived) -> None:
        """Take an envelope that a turn has found may wait."""
        self._held.append(ask)
        self._some.set()
        if len(self._held) >= FULL:
            self._full.set()

    async def run(self) -> None:
        """Commit what is held, batch by batch, until cancelled."""
        while True:
            await self._some.wait()
            with trio.move_on_after(SPAN):
                await self._full.wait()
            await self.commit()

    async def commit(self) -> None:
        """Commit what is held now."""
        held, self._held = self._held, []
        self._some, self._full = trio.Event(), trio.Event()
        if not held:
            return
        outcomes = await self._owner.ask_all([replace(ask, later=False) for ask in held])
        for ask, outcome in zip(held, outcomes, strict=True):
            if outcome.error is not None:
                self._failed(ask, outcome.error)
