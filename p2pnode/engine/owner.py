"""The owner task: the only one that changes anything durable.

Asks wait in one bounded queue; whatever waits shares the next transaction. Effects leave after the
commit.

A commit runs in a worker thread, so that a slow disk never stops the links. The way there and back
takes as long as a small commit on a fast disk, though, and costs more than the commit itself. So
while the disk has lately been fast, a few asks are committed in the event loop, and one that comes
alone is not even queued; those that come close behind each other are, to share a commit.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import trio

from p2pnode.engine.clock import Clock
from p2pnode.errors import P2PNodeError, StoreError
from p2pnode.logs import EventLog, Private
from p2pnode.protocol.entropy import Entropy
from p2pnode.turns import keeping
from p2pnode.turns.asks import Ask, Collect
from p2pnode.turns.commit import BATCH, Outcome, commit
from p2pnode.turns.effects import Effect, Scrub
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

log = EventLog("store")

QUEUE = 256
"""Asks that may wait; whoever asks further waits for room, which is what slows a flooding peer."""

SMALL = 4
"""Asks that are committed in the event loop at most."""

FAST = 0.002
"""Seconds: a disk that has lately taken longer for a batch is not waited for in the event loop."""

FORGIVING = 0.9
"""How much of the longest recent time is still held against the disk after each batch."""

CLOSE = 0.001
"""Seconds after a commit in which the next ask is taken for one of many."""

SLOW = 2.0
"""Seconds one commit may take before the log says that the disk is slow."""

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
        self._recent = 0.0
        self.turns = 0
        self.commits = 0
        self.commit_seconds = 0.0
        self._under_way = 0
        self._last = -CLOSE
        self._sending, self._waiting = trio.open_memory_channel[Job](QUEUE)

    def change(self, stores: Stores) -> None:
        """Let later commits work by other settings; the stores themselves must be the same."""
        self._stores = stores

    async def ask(self, ask: Ask) -> Any:
        """Run a turn and return its answer once it is durable. Raises the turn's error."""
        outcome = (await self.ask_all([ask]))[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    async def ask_all(self, wanted: Sequence[Ask]) -> list[Outcome]:
        """Run turns in their order and return their outcomes once they are durable."""
        if self._alone() and self._at_once(wanted):
            await trio.lowlevel.checkpoint_if_cancelled()
            return self._commit_here(wanted)
        jobs = [Job(ask, wanted=True) for ask in wanted]
        for job in jobs:
            await self._queue(job)
        found = []
        for job in jobs:
            assert job.done is not None
            await job.done.wait()
            assert job.outcome is not None
            found.append(job.outcome)
        return found

    async def post(self, ask: Ask) -> None:
        """Have a turn run some time soon; waits only while the queue is full."""
        if self._alone() and self._at_once([ask]):
            await trio.lowlevel.checkpoint_if_cancelled()
            error = self._commit_here([ask])[0].error
            if error is not None:
                self._failed(ask, error)
        else:
            await self._queue(Job(ask, wanted=False))

    async def run(self) -> None:
        """Serve asks until cancelled; a transaction that has begun is finished first."""
        async for first in self._waiting:
            jobs = [first]
            while len(jobs) < BATCH:
                try:
                    jobs.append(self._waiting.receive_nowait())
                except trio.WouldBlock:
                    break
            try:
                outcomes = await self._write([job.ask for job in jobs])
            finally:
                self._under_way -= len(jobs)
            self._last = trio.current_time()
            self._perform([effect for outcome in outcomes for effect in outcome.effects])
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.outcome = outcome
                if job.done is not None:
                    job.done.set()
                elif outcome.error is not None:
                    self._failed(job.ask, outcome.error)

    async def _queue(self, job: Job) -> None:
        """Queue a job; without giving up the turn while there is room, so that those that come
        together are taken together."""
        self._under_way += 1
        try:
            self._sending.send_nowait(job)
        except trio.WouldBlock:
            try:
                await self._sending.send(job)
            except BaseException:
                self._under_way -= 1
                raise

    def _alone(self) -> bool:
        """Say whether an ask would overtake none. One that `run` has been handed is in no queue any
        more, long before it is committed."""
        return not self._under_way and trio.current_time() - self._last >= CLOSE

    def _commit_here(self, asks: Sequence[Ask]) -> list[Outcome]:
        outcomes = self._commit(asks, self._clock.now())
        self._last = trio.current_time()
        self._perform([effect for outcome in outcomes for effect in outcome.effects])
        return outcomes

    def _at_once(self, asks: Sequence[Ask]) -> bool:
        if self._inline:
            return True
        # What collects may write a file anew.
        small = len(asks) <= SMALL and not any(isinstance(ask, Collect) for ask in asks)
        return small and self._recent < FAST

    async def _write(self, batch: list[Ask]) -> list[Outcome]:
        now = self._clock.now()
        if self._at_once(batch):
            await trio.lowlevel.checkpoint_if_cancelled()
            return self._commit(batch, now)
        return await trio.to_thread.run_sync(self._commit, batch, now)

    def _commit(self, batch: Sequence[Ask], now: Moment) -> list[Outcome]:
        began = perf_counter()
        outcomes = commit(self._stores, batch, now, self._entropy)
        took = perf_counter() - began
        self._recent = max(took, self._recent * FORGIVING)
        self._count(outcomes, took)
        if any(isinstance(effect, Scrub) for outcome in outcomes for effect in outcome.effects):
            began = perf_counter()
            keeping.scrub(self._stores, now)
            if (took := perf_counter() - began) >= SLOW:
                log.info("scrubbed", seconds=took)
        return outcomes

    def _count(self, outcomes: Sequence[Outcome], took: float) -> None:
        error = outcomes[0].error if outcomes else None
        if isinstance(error, StoreError):
            log.fault("refused", reason=error.code, turns=len(outcomes), text=Private(error))
        elif took >= SLOW:
            log.warning("slow", seconds=took, turns=len(outcomes))
        self.turns += len(outcomes)
        self.commits += 1
        self.commit_seconds += took
