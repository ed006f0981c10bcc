"""One link over one channel: the machine inside, the channel outside, turns in between."""

from dataclasses import dataclass
from random import Random
from typing import Protocol

import trio

from p2pnode.engine.clock import milliseconds
from p2pnode.engine.owner import Owner
from p2pnode.engine.peers import Device, OpenPairing, Peers
from p2pnode.engine.pump import Outgoing, Pump
from p2pnode.engine.reconciling import Reconciling
from p2pnode.errors import ChannelClosed, LocalError, RemoteError
from p2pnode.ids import DeviceId
from p2pnode.protocol import limits
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link import effects
from p2pnode.protocol.link.machine import Link
from p2pnode.protocol.link.messages import (
    Accepted,
    Addresses,
    Bye,
    EnvelopeOut,
    Hello,
    LinkMessage,
    Offer,
    PairingMessage,
    Receipts,
    Reconcile,
    Refused,
    Want,
)
from p2pnode.spi.transport import Channel
from p2pnode.turns import asks
from p2pnode.turns.asks import Baseline
from p2pnode.turns.links import Greeting

OUTGOING = 1_024
"""Messages queued in front of a channel: a full window, its answers, and some. More ends it."""

SMALL_MTU = 2_048
"""Under this many bytes a frame the recognition pages are the small ones."""

MAX_CHARGES = 64
"""Pieces of foreign input refused on one link before it is ended."""

STRANGER_STAYS = (20.0, 40.0)
"""Seconds a link with a stranger stays, at random, so that its end tells nothing."""

LINK_VERSION = 1

REFUSED_ASKED = 3
"""Refusal code: another link is bringing the envelope just now."""


class PairingDesk(Protocol):
    """Where links of open pairings bring their messages."""

    async def link_up(self, pairing: OpenPairing, link: "LinkTask") -> None:
        """A link with the other side of an open pairing stands."""
        ...

    async def message(self, pairing: OpenPairing, link: "LinkTask", raw: bytes) -> None:
        """It said something. Raises RemoteError."""
        ...

    def link_down(self, pairing: OpenPairing, link: "LinkTask") -> None:
        """The link is gone."""
        ...


class Reach(Protocol):
    """Who knows where this node may be reached."""

    async def told_to(self, lane: bytes) -> Addresses:
        """Return what a contact is told, by its lane."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What every link needs."""

    owner: Owner
    peers: Peers
    entropy: Entropy
    random: Random
    pairings: PairingDesk
    reach: Reach


class LinkTask:
    """Runs one link. `device` is set once a contact's device is recognised."""

    def __init__(
        self, number: int, channel: Channel, context: Context, *, transport: str, initiator: bool
    ) -> None:
        self.number = number
        self.transport = transport
        self.device: Device | None = None
        self.pairing: OpenPairing | None = None
        self.established_at = 0.0
        self.ended = trio.Event()
        self._channel = channel
        self._context = context
        self._initiator = initiator
        small = channel.traits.mtu < SMALL_MTU
        self._machine = Link(
            initiator=initiator,
            marks=limits.SMALL_PAGE_MARKS if small else limits.PAGE_MARKS,
            entropy=context.entropy,
            now=milliseconds(),
        )
        sending, self._waiting = trio.open_memory_channel[bytes | LinkMessage](OUTGOING)
        self.outgoing = Outgoing(sending)
        self.pump: Pump | None = None
        self._reconciling: Reconciling | None = None
        self._charges = 0
        self._baselines: dict[DeviceId, Baseline] | None = None
        self._scope = trio.CancelScope()

    @property
    def handshake_hash(self) -> bytes:
        """The handshake's hash, which both ends know."""
        return self._machine.handshake_hash

    @property
    def metered(self) -> bool:
        """Whether bytes on this medium cost money or battery: nothing unasked for is sent then."""
        return self._channel.traits.metered

    @property
    def dialled(self) -> bool:
        """Whether this side opened the channel."""
        return self._initiator

    @property
    def stranger(self) -> bool:
        """Whether the link stands, with nobody known."""
        return self.established and self.device is None and self.pairing is None

    @property
    def established(self) -> bool:
        """Whether the link stands, with whomever."""
        return self._machine.established

    def end(self) -> None:
        """End the link."""
        self._scope.cancel()

    def tell(self, message: LinkMessage) -> None:
        """Send a message without waiting; a peer that lets the queue run full loses its link."""
        if not self.outgoing.try_send(message):
            self.end()

    def charge(self, reason: str) -> None:
        """Count refused input against this link; too much of it ends the link."""
        self._context.peers.rejected[reason] += 1
        self._charges += 1
        if self._charges >= MAX_CHARGES:
            self.end()

    async def run(self) -> None:
        """Run until the link ends for whatever reason; the channel is closed then."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, nursery, self._write)
                    nursery.start_soon(self._guarded, nursery, self._keep_time)
                    await self._guarded(nursery, lambda: self._read(nursery))
        finally:
            self._context.peers.forget(self)
            self.ended.set()
            if self.pairing is not None:
                self._context.pairings.link_down(self.pairing, self)
            with trio.CancelScope(shield=True):
                await self._channel.aclose()

    async def _guarded(self, nursery: trio.Nursery, part: "Part") -> None:
        """Run one part; when it ends, by the peer's fault or the medium's, so does the link."""
        try:
            await part()
        except ChannelClosed:
            pass
        except RemoteError as error:
            self._context.peers.rejected[error.reason] += 1
        except LocalError as error:
            # The stores refuse (a full disk): this link cannot go on, the next one may.
            self._context.peers.rejected[error.code] += 1
        nursery.cancel_scope.cancel()

    async def _read(self, nursery: trio.Nursery) -> None:
        if self._initiator:
            await self._perform(self._machine.start(), nursery)
        while True:
            frame = await self._channel.receive()
            await self._perform(self._machine.receive_untrusted(frame, milliseconds()), nursery)

    async def _write(self) -> None:
        async for item in self._waiting:
            frame = item if isinstance(item, bytes) else self._machine.seal(item, milliseconds())
            await self._channel.send(frame)
            if isinstance(item, Bye):
                raise ChannelClosed

    async def _keep_time(self) -> None:
        while True:
            await trio.sleep(max(0.0, (self._machine.deadline() - milliseconds()) / 1000))
            for effect in self._machine.tick(milliseconds()):
                if isinstance(effect, effects.SendFrame):
                    await self.outgoing.send(effect.frame)
                else:
                    raise ChannelClosed

    async def _perform(self, found: list[effects.Effect], nursery: trio.Nursery) -> None:
        if self._baselines is None and self._machine.claimed is not None:
            # Asked for strangers too, so that the time it takes tells nothing.
            ids = tuple(ref.id for ref in self._machine.claimed if isinstance(ref, Device))
            self._baselines = await self._context.owner.ask(asks.GetBaselines(ids))
        for effect in found:
            match effect:
                case effects.Received(message=message):
                    await self._received(message)
                case effects.SendFrame(frame=frame):
                    await self.outgoing.send(frame)
                case effects.AskCandidates():
                    known = self._context.peers.candidates()
                    await self._perform(self._machine.candidates(known), nursery)
                case effects.AskStep(ref=ref, proven=proven):
                    if isinstance(ref, Device):
                        await self._context.owner.ask(asks.Step(ref.id, proven))
                    await self._perform(self._machine.stepped(), nursery)
                case effects.Established(peer=peer):
                    await self._established(peer, nursery)
                case effects.Dead():
                    raise ChannelClosed

    async def _established(self, peer: object, nursery: trio.Nursery) -> None:
        self.established_at = trio.current_time()
        match peer:
            case Device():
                await self._greet(peer, nursery)
            case OpenPairing():
                self.pairing = peer
                await self.outgoing.send(Hello(LINK_VERSION, 0, ()))
                await self._context.pairings.link_up(peer, self)
            case _:
                await self.outgoing.send(Hello(LINK_VERSION, 0, ()))
                self._scope.deadline = trio.current_time() + self._context.random.uniform(
                    *STRANGER_STAYS
                )

    async def _greet(self, device: Device, nursery: trio.Nursery) -> None:
        """Say hello to a contact, tell what is owed, and start its envelopes flowing."""
        owner = self._context.owner
        greeting: Greeting = await owner.ask(asks.LinkUp(device.id, self.transport))
        await self.outgoing.send(Hello(LINK_VERSION, 0, greeting.statements))
        if greeting.receipts:
            await self.outgoing.send(Receipts(greeting.receipts))
        if greeting.confirmation:
            await self.outgoing.send(PairingMessage(greeting.confirmation))
        told = await self._context.reach.told_to(greeting.lane)
        if told.entries:
            await self.outgoing.send(told)
        self.device = device
        doomed = self._context.peers.register(self, device, trio.current_time())
        if doomed is not None:
            doomed.end()
        if doomed is not self:
            random = self._context.random
            pump = self.pump = Pump(owner, device.id, self.outgoing, random)
            nursery.start_soon(self._guarded, nursery, pump.run)
            self._reconciling = Reconciling(
                owner, self._context.entropy, random, self.outgoing, pump
            )
            if self._initiator and not self.metered:
                nursery.start_soon(self._guarded, nursery, self._reconciling.run)

    async def _received(self, message: LinkMessage) -> None:
        owner, device = self._context.owner, self.device
        match message:
            case EnvelopeOut(age=age, raw=raw):
                await owner.post(
                    asks.Arrived(
                        self.number,
                        device.id if device else None,
                        device.contact if device else None,
                        age,
                        raw,
                    )
                )
            case Bye():
                raise ChannelClosed
            case PairingMessage(raw=raw):
                if self.pairing is not None:
                    await self._context.pairings.message(self.pairing, self, raw)
                elif device is not None:
                    await owner.post(asks.Confirm(self.number, device.id, raw))
            case Offer(ids=ids) if device is not None:
                await owner.post(asks.Offered(self.number, device.id, ids))
            case _ if device is not None:
                await self._from_contact(device, message)
            case _:
                pass  # a stranger has nothing to say here

    async def _from_contact(self, device: Device, message: LinkMessage) -> None:
        owner, pump = self._context.owner, self.pump
        match message:
            case Receipts(ids=ids):
                await owner.post(asks.Acknowledged(device.id, ids, True, self.transport))
                if pump is not None:
                    pump.answered(ids)
            case Accepted(ids=ids):
                await owner.post(asks.Acknowledged(device.id, ids, False, self.transport))
                if pump is not None:
                    pump.answered(ids)
            case Refused(code=code, ids=ids) if pump is not None:
                pump.answered(ids)
                if code == REFUSED_ASKED:
                    pump.again_later()
            case Want(ids=ids) if pump is not None:
                pump.wanted(ids)
            case Hello(statements=statements) if statements and self._baselines:
                await owner.post(asks.Stated(device.id, statements, self._baselines[device.id]))
            case Reconcile(raw=raw) if self._reconciling is not None and not self.metered:
                await self._reconciling.receive(raw)
            case Addresses():
                await owner.post(asks.Told(device.id, message))
            case _:
                pass  # kept for later versions


class Part(Protocol):
    """A piece of a link's work."""

    async def __call__(self) -> None:
        """Run it."""
        ...
