"""The owner task: the only one that changes anything durable.

Asks wait in one bounded queue; whatever waits shares the next transaction. The transaction runs in
a worker thread, so that a slow disk never stops the links. Effects leave after the commit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import trio

from p2pnode.engine.clock import Clock
from p2pnode.errors import P2PNodeError
from p2pnode.protocol.entropy import Entropy
from p2pnode.turns.asks import Ask
from p2pnode.turns.commit import BATCH, Outcome, commit
from p2pnode.turns.effects import Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

QUEUE = 256
"""Asks that may wait; whoever asks further waits for room, which is what slows a flooding peer."""

Perform = Callable[[Sequence[Effect]], None]
Failed = Callable[[Ask, P2PNodeError], None]


class Job:
    """One ask, and the place where its outcome is put."""

    __slots__ = ("ask", "done", "outcome")

    def __init__(self, ask: Ask, *, wanted: bool) -> None:
        self.ask = ask
        self.done = trio.Event() if wanted else None
        self.outcome: Outcome | None = None


class Owner:
    """Takes asks, commits them in batches, and hands effects to `perform`.

    perform: must not wait; called once a batch with all its effects in order.
    failed: told of an error of an ask nobody waits for.
    inline: commit in the event loop (for virtual time, which does not see threads).
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        entropy: Entropy,
        *,
        perform: Perform,
        failed: Failed,
        inline: bool = False,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._entropy = entropy
        self._perform = perform
        self._failed = failed
        self._inline = inline
        self._sending, self._waiting = trio.open_memory_channel[Job](QUEUE)

    async def ask(self, ask: Ask) -> Any:
        """Run a turn and return its answer once it is durable. Raises the turn's error."""
        job = Job(ask, wanted=True)
        await self._sending.send(job)
        assert job.done is not None
        await job.done.wait()
        assert job.outcome is not None
        if job.outcome.error is not None:
            raise job.outcome.error
        return job.outcome.answer

    async def post(self, ask: Ask) -> None:
        """Have a turn run some time soon; waits only while the queue is full."""
        await self._sending.send(Job(ask, wanted=False))

    async def run(self) -> None:
        """Serve asks until cancelled; a transaction that has begun is finished first."""
        async for first in self._waiting:
            jobs = [first]
            while len(jobs) < BATCH:
                try:
                    jobs.append(self._waiting.receive_nowait())
                except trio.WouldBlock:
                    break
            outcomes = await self._write([job.ask for job in jobs], self._clock.now())
            self._perform([effect for outcome in outcomes for effect in outcome.effects])
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.outcome = outcome
                if job.done is not None:
                    job.done.set()
                elif outcome.error is not None:
                    self._failed(job.ask, outcome.error)

    async def _write(self, batch: list[Ask], now: Moment) -> list[Outcome]:
        if self._inline:
            await trio.lowlevel.checkpoint()
            return commit(self._stores, batch, now, self._entropy)
        return await trio.to_thread.run_sync(commit, self._stores, batch, now, self._entropy)
