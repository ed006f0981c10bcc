"""Reconciliation over one link: the machine inside, link messages and turns around it.

The side that dialled begins, soon after the link stands and then from time to time. What the other
side lacks goes to the link's pump. Two nodes that have compared everything before compare only what
is new since, as long as both run on (see Checkpoint).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import trio

from p2pnode.engine.owner import Owner
from p2pnode.engine.pump import Outgoing, Pump
from p2pnode.errors import RemoteError
from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link.messages import Reconcile
from p2pnode.protocol.reconcile.buckets import Leaf, leaf, leaf_of
from p2pnode.protocol.reconcile.effects import (
    Effect,
    Finished,
    Found,
    ReadDigests,
    ReadIds,
    SendReconcile,
)
from p2pnode.protocol.reconcile.limits import LEAVES, SALT
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.protocol.reconcile.messages import turn_untrusted
from p2pnode.turns.asks import GetLeafIds, GetLeaves, GetRecent, Ordered

EVERY = 600.0
"""Seconds between two exchanges on a link, about: fresh envelopes are offered at once anyway."""

PATIENCE = 60.0
"""Seconds after which an exchange that has not ended is given up, and another one begun."""

GAP = 10.0
"""Seconds from the beginning of one exchange to that of the next, at least: work costs who asks."""

FULL_EVERY = 8
"""Each so many-th exchange with a device is about everything: it finds what recent ones cannot."""

MAX_SETTLED = 65_536
"""Ids of one checkpoint that both sides are known to have; beyond, the checkpoint is given up."""

MAX_CHECKPOINTS = 256
"""Devices whose checkpoints are kept, the latest met."""

MANY = 2_000
"""Ids from which on comparing leaves the event loop: they take some milliseconds."""

T = TypeVar("T")


@dataclass
class Checkpoint:
    """What is known of the sets of this node and one device after a complete exchange.

    position: custody's newest row when everything was compared. settled: what has crossed the link
    or was told to be there since: it is new here, but no difference. unseen: what was here before,
    but was held back.
    """

    token: bytes | None = None
    position: int = 0
    settled: set[EnvelopeId] = field(default_factory=set)
    unseen: set[EnvelopeId] = field(default_factory=set)
    exchanges: int = 0

    def settle(self, ids: Iterable[EnvelopeId]) -> None:
        """Both sides have these."""
        if self.token is None:
            return
        self.settled.update(ids)
        if len(self.settled) > MAX_SETTLED:
            self.forget()

    def forget(self) -> None:
        """Nothing is known: the next exchange is about everything."""
        self.token, self.settled, self.unseen = None, set(), set()

    def proposed(self) -> bytes | None:
        """Return the token to go by in the next exchange."""
        self.exchanges += 1
        return self.token if self.exchanges % FULL_EVERY else None


class Checkpoints:
    """Those of all devices, in memory: after a start everything is compared once."""

    def __init__(self) -> None:
        self._known: OrderedDict[DeviceId, Checkpoint] = OrderedDict()

    def of(self, device: DeviceId | None) -> Checkpoint:
        """Return a device's checkpoint; a passing one where none has proved itself."""
        if device is None:
            return Checkpoint()
        found = self._known.setdefault(device, Checkpoint())
        self._known.move_to_end(device)
        while len(self._known) > MAX_CHECKPOINTS:
            self._known.popitem(last=False)
        return found

    def unseen(self, envelope: EnvelopeId) -> None:
        """An envelope that was held back is no more: it may be new to everybody."""
        for one in self._known.values():
            one.unseen.add(envelope)
            if len(one.unseen) > MAX_SETTLED:
                one.forget()


class Reconciling:
    """All exchanges of one link, one at a time.

    inline: compare in the event loop, whatever the size (for virtual time).
    """

    def __init__(
        self,
        owner: Owner,
        entropy: Entropy,
        random: Random,
        outgoing: Outgoing,
        pump: Pump,
        checkpoint: Checkpoint,
        *,
        peer: DeviceId | None,
        inline: bool,
    ) -> None:
        self._peer = peer
        self._owner = owner
        self._entropy = entropy
        self._random = random
        self._outgoing = outgoing
        self._pump = pump
        self._known = checkpoint
        self._inline = inline
        self._machine: Reconciler | None = None
        self._initiator = False
        self._finished = trio.Event()
        self._began = -GAP
        self._over = False
        self._size = 0
        self._recent: dict[int, list[EnvelopeId]] = {}
        self._next: Checkpoint | None = None
        self._missing: set[EnvelopeId] = set()
        self._seen: set[EnvelopeId] = set()

    async def run(self) -> None:
        """Begin exchanges until cancelled; for the side that dialled."""
        self._initiator = True
        while True:
            self._finished = trio.Event()
            self._begin()
            assert self._machine is not None
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
            self._begin()
        if self._machine is not None:  # otherwise a late piece of what is over
            machine = self._machine
            await self._perform(await self._apart(lambda: machine.receive_untrusted(raw)))

    def settle(self, ids: Iterable[EnvelopeId], *, arrived: bool = False) -> None:
        """Both sides have these. arrived: the other side has answered what was found for it."""
        ids = list(ids)
        self._known.settle(ids)
        if self._next is None:
            return
        self._next.settle(ids)
        if arrived:
            self._missing.difference_update(ids)
            self._adopt()

    def _adopt(self) -> None:
        """Go by the new checkpoint, once everything found has arrived."""
        fresh = self._next
        if fresh is None or fresh.token is None or self._missing or not self._over:
            return
        self._known.token, self._known.position = fresh.token, fresh.position
        self._known.settled, self._known.unseen = fresh.settled, self._known.unseen - self._seen
        self._next = None

    def _begin(self) -> None:
        self._next, self._missing, self._size, self._over = None, set(), 0, False
        self._machine = Reconciler(
            initiator=self._initiator,
            salt=self._entropy.take(SALT),
            checkpoint=self._known.proposed(),
        )

    async def _apart(self, work: Callable[[], T]) -> T:
        """Do work of the machine, in a worker thread when it is much."""
        if self._inline or self._size < MANY:
            await trio.lowlevel.checkpoint()
            return work()
        return await trio.to_thread.run_sync(work)

    async def _perform(self, found: list[Effect]) -> None:
        machine = self._machine
        assert machine is not None
        for effect in found:
            match effect:
                case SendReconcile(raw=raw):
                    await self._outgoing.send(Reconcile(raw))
                case ReadDigests(recent=recent):
                    leaves = await self._leaves(recent)
                    await self._perform(await self._apart(lambda: machine.digests(leaves)))  # noqa: B023
                case ReadIds(recent=recent, buckets=buckets):
                    ids = await self._ids(recent, buckets)
                    self._size += sum(map(len, ids))
                    await self._perform(await self._apart(lambda: machine.ids(ids)))  # noqa: B023
                case Found(they_lack=lacking):
                    await self._found(lacking)
                case Finished(token=token):
                    self._over = True
                    self._finished.set()
                    if self._next is not None:
                        self._next.token = token
                        self._adopt()

    async def _found(self, ids: Sequence[EnvelopeId]) -> None:
        self._missing = set()
        for envelope, source in await self._owner.ask(Ordered(tuple(ids))):
            self._missing.add(envelope)
            self._pump.carry(envelope, source)

    async def _leaves(self, recent: bool) -> Sequence[Leaf]:
        if not recent:
            leaves, newest = await self._owner.ask(GetLeaves(self._peer))
            self._next = Checkpoint(token=b"", position=newest)
            self._seen = set(self._known.unseen)
            return list(leaves)
        ids, newest = await self._owner.ask(
            GetRecent(self._known.position, MAX_SETTLED, self._peer)
        )
        self._next = Checkpoint(token=b"", position=newest)
        self._recent = {}
        self._seen = set(self._known.unseen)
        for one in sorted((set(ids) | self._seen) - self._known.settled):
            self._recent.setdefault(leaf_of(one), []).append(one)
        return [leaf(self._recent.get(number, ())) for number in range(LEAVES)]

    async def _ids(self, recent: bool, buckets: tuple[int, ...]) -> list[list[EnvelopeId]]:
        if recent:
            return [self._recent.get(number, []) for number in buckets]
        found: list[list[EnvelopeId]] = await self._owner.ask(GetLeafIds(buckets, self._peer))
        return found
