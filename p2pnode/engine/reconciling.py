"""Reconciliation over one link: the machine inside, link messages and turns around it.

The side that dialled begins, soon after the link stands and then from time to time. What the other
side lacks goes to the link's pump.
"""

from random import Random

import trio

from p2pnode.engine.owner import Owner
from p2pnode.engine.pump import Outgoing, Pump
from p2pnode.errors import RemoteError
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link.messages import Reconcile
from p2pnode.protocol.reconcile.effects import (
    Effect,
    Finished,
    Found,
    ReadDigests,
    ReadIds,
    SendReconcile,
)
from p2pnode.protocol.reconcile.limits import SALT
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.protocol.reconcile.messages import turn_untrusted
from p2pnode.turns.asks import GetLeafIds, GetLeaves, Ordered

EVERY = 600.0
"""Seconds between two exchanges on a link, about: fresh envelopes are offered at once anyway."""

PATIENCE = 60.0
"""Seconds after which an exchange that has not ended is given up, and another one begun."""

GAP = 10.0
"""Seconds from the beginning of one exchange to that of the next, at least: work costs who asks."""


class Reconciling:
    """All exchanges of one link, one at a time."""

    def __init__(
        self, owner: Owner, entropy: Entropy, random: Random, outgoing: Outgoing, pump: Pump
    ) -> None:
        self._owner = owner
        self._entropy = entropy
        self._random = random
        self._outgoing = outgoing
        self._pump = pump
        self._machine: Reconciler | None = None
        self._initiator = False
        self._finished = trio.Event()
        self._began = -GAP

    async def run(self) -> None:
        """Begin exchanges until cancelled; for the side that dialled."""
        self._initiator = True
        while True:
            self._finished = trio.Event()
            self._machine = self._fresh()
            await self._perform(self._machine.start())
            with trio.move_on_after(PATIENCE) as waiting:
                await self._finished.wait()
            if not waiting.cancelled_caught:
                await trio.sleep(EVERY * self._random.uniform(0.75, 1.25))

    async def receive(self, raw: bytes) -> None:
        """Take a piece from the other side. Raises RemoteError when it is none, or out of place."""
        if not self._initiator and turn_untrusted(raw) == 0:
            # The other side begins: whatever was under way before, it has given that up.
            if trio.current_time() - self._began < GAP:
                raise RemoteError("reconcile-too-often")
            self._began = trio.current_time()
            self._machine = self._fresh()
        if self._machine is not None:  # otherwise a late piece of what is over
            await self._perform(self._machine.receive_untrusted(raw))

    def _fresh(self) -> Reconciler:
        return Reconciler(initiator=self._initiator, salt=self._entropy.take(SALT))

    async def _perform(self, found: list[Effect]) -> None:
        machine = self._machine
        assert machine is not None
        for effect in found:
            match effect:
                case SendReconcile(raw=raw):
                    await self._outgoing.send(Reconcile(raw))
                case ReadDigests():
                    await self._perform(machine.digests(await self._owner.ask(GetLeaves())))
                case ReadIds(buckets=buckets):
                    await self._perform(machine.ids(await self._owner.ask(GetLeafIds(buckets))))
                case Found(they_lack=ids):
                    self._pump.lacks(await self._owner.ask(Ordered(ids)))
                case Finished():
                    self._finished.set()
