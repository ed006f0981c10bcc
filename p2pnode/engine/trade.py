"""What strangers do for each other: work for credit, credit for envelopes.

Only a node that carries for everyone takes part, on either side. A stranger learns nothing of what
is held here: nothing is offered, and whatever it brings is answered alike.
"""

from collections.abc import Callable
from random import Random
from time import perf_counter

import trio

from p2pnode.engine.owner import Owner
from p2pnode.engine.pump import Outgoing
from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link import work
from p2pnode.protocol.link.messages import (
    FEATURE_CARRIES,
    Accepted,
    Credit,
    EnvelopeOut,
    Hello,
    LinkMessage,
    Refused,
    Work,
)
from p2pnode.turns import asks

LONGER = 60.0
"""Seconds a link with a stranger stays after each proof, instead of its usual time."""

PATIENCE = 30.0
"""Seconds the other side may take to answer."""

CHECKING = 0.1
"""Share of time one processor spends on strangers' proofs at most."""

PROVING = 0.5
"""Share of time one processor spends on proofs of our own at most."""

CHUNK = 32
"""Envelopes read at once."""


class Workshop:
    """Where proofs are checked and found: one of each at a time in the whole node.

    inline: in the event loop (for virtual time).
    """

    def __init__(self, entropy: Entropy, *, inline: bool) -> None:
        self._entropy = entropy
        self._inline = inline
        self._checks = trio.Lock()
        self._finds = trio.Lock()

    async def proves(self, nonce: bytes, handshake: bytes, *, initiator: bool) -> bool:
        """Tell whether a nonce is a proof."""
        async with self._checks:
            return await self._tried(nonce, handshake, initiator, CHECKING)

    async def find(self, handshake: bytes, *, initiator: bool) -> bytes:
        """Return a proof, however long it takes."""
        async with self._finds:
            while True:
                nonce = self._entropy.take(work.NONCE)
                if await self._tried(nonce, handshake, initiator, PROVING):
                    return nonce

    async def _tried(self, nonce: bytes, handshake: bytes, initiator: bool, share: float) -> bool:
        began = perf_counter()
        if self._inline:
            proven = work.proves(nonce, handshake=handshake, initiator=initiator)
        else:
            proven = await trio.to_thread.run_sync(
                lambda: work.proves(nonce, handshake=handshake, initiator=initiator)
            )
        await trio.sleep((perf_counter() - began) * (1 / share - 1))
        return proven


class Trade:
    """One link with a stranger. longer: lets the link stay for so many seconds more."""

    def __init__(
        self,
        number: int,
        owner: Owner,
        workshop: Workshop,
        outgoing: Outgoing,
        random: Random,
        *,
        handshake: bytes,
        initiator: bool,
        carries: bool,
        longer: Callable[[float], None],
    ) -> None:
        self._number = number
        self._owner = owner
        self._workshop = workshop
        self._outgoing = outgoing
        self._random = random
        self._handshake = handshake
        self._initiator = initiator
        self._carries = carries
        self._longer = longer
        self._proofs = 0
        self._credit = 0
        self._granted = 0
        self._in_flight: set[EnvelopeId] = set()
        self._wanted = trio.Event()
        self._answered = trio.Event()

    async def receive(self, message: LinkMessage) -> None:
        """Take a message of the stranger. Raises RemoteError when it has not earned to send it."""
        match message:
            case EnvelopeOut(age=age, raw=raw):
                if not self._credit:
                    raise RemoteError("no-credit")
                self._credit -= 1
                await self._owner.post(asks.Arrived(self._number, None, None, age, raw))
            case Work(nonce=nonce):
                await self._check_untrusted(nonce)
            case Hello(features=features):
                if self._carries and features & FEATURE_CARRIES:
                    self._wanted.set()
            case Credit(count=count):
                self._granted = min(count, work.BOUGHT)
                self._answered.set()
            case Accepted(ids=ids) | Refused(ids=ids):
                self._in_flight.difference_update(ids)
                self._answered.set()
            case _:
                pass  # a stranger has nothing else to say

    async def _check_untrusted(self, nonce: bytes) -> None:
        if not self._carries or self._proofs >= work.MAX_PROOFS:
            raise RemoteError("unwanted-work")
        self._proofs += 1
        if not await self._workshop.proves(nonce, self._handshake, initiator=not self._initiator):
            raise RemoteError("bad-work")
        self._credit += work.BOUGHT
        self._longer(LONGER)
        await self._outgoing.send(Credit(work.BOUGHT))

    async def give(self) -> None:
        """Give the stranger what strangers may get, should it carry for everyone too."""
        await self._wanted.wait()
        ids = list(await self._owner.ask(asks.ForStrangers()))
        self._random.shuffle(ids)
        for _ in range(work.MAX_PROOFS):
            if not ids:
                break
            nonce = await self._workshop.find(self._handshake, initiator=self._initiator)
            self._granted = 0
            self._longer(LONGER)
            await self._outgoing.send(Work(nonce))
            if not await self._until(lambda: self._granted > 0):
                return
            paid, ids = ids[: self._granted], ids[self._granted :]
            for at in range(0, len(paid), CHUNK):
                chunk = tuple(paid[at : at + CHUNK])
                for envelope, age, raw in await self._owner.ask(asks.FetchCarried(chunk)):
                    self._in_flight.add(envelope)
                    await self._outgoing.send(EnvelopeOut(age, raw))
            if not await self._until(lambda: not self._in_flight):
                return

    async def _until(self, so: Callable[[], bool]) -> bool:
        with trio.move_on_after(PATIENCE):
            while not so():
                self._answered = trio.Event()
                await self._answered.wait()
        return so()
