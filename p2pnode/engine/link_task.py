"""One link over one channel: the machine inside, the channel outside, turns in between."""

from dataclasses import replace
from typing import Protocol

import trio

from p2pnode.engine.clock import milliseconds
from p2pnode.engine.context import Context
from p2pnode.engine.exchange import Exchange
from p2pnode.engine.peers import (
    Carrier,
    Device,
    Friend,
    OpenPairing,
    Ref,
    Returning,
    Twin,
    kind_of,
    known_as,
)
from p2pnode.engine.pump import Outgoing
from p2pnode.engine.trade import Trade
from p2pnode.errors import ChannelClosed, LocalError, RemoteError
from p2pnode.ids import DeviceId
from p2pnode.logs import EventLog
from p2pnode.protocol import limits
from p2pnode.protocol.link import effects
from p2pnode.protocol.link.machine import Link
from p2pnode.protocol.link.messages import (
    FEATURE_CARRIES,
    Addresses,
    AddressesKept,
    Bye,
    CarryPass,
    EnvelopeOut,
    Hello,
    LinkMessage,
    PairingMessage,
    Receipts,
    addresses_digest,
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

TWIN_STAYS = 20.0
"""Seconds a link with a replaced device stays, for it to read what it is told."""

MAX_STRANGERS = 16
"""Links with strangers at once; one more ends the oldest, so that contacts always find room."""

LINK_VERSION = 1
"""What a Hello says of who speaks: the first version of what travels on a standing link."""

log = EventLog("links")


class LinkTask:
    """Runs one link. `peer` is set once who is there has been recognised and greeted; `exchange`
    with it, where envelopes are exchanged."""

    def __init__(
        self, number: int, channel: Channel, context: Context, *, transport: str, initiator: bool
    ) -> None:
        self.number = number
        self.transport = transport
        self.peer: Ref | None = None
        self.stranger = False
        self.exchange: Exchange | None = None
        self.established_at = 0.0
        self.ended = trio.Event()
        self._channel = channel
        self._context = context
        self._initiator = initiator
        small = channel.traits.mtu < SMALL_MTU
        self._slow = small and channel.traits.ordered
        self._machine = Link(
            initiator=initiator,
            marks=limits.SMALL_PAGE_MARKS if small else limits.PAGE_MARKS,
            entropy=context.entropy,
            now=milliseconds(),
        )
        sending, self._waiting = trio.open_memory_channel[bytes | LinkMessage](OUTGOING)
        self.outgoing = Outgoing(sending)
        self._trade: Trade | None = None
        self._lanes_told: dict[bytes, bytes] = {}
        self._charges = 0
        self._why = ""
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
    def device(self) -> Device | None:
        """The contact's device at the other end, with its vault open."""
        return self.peer if isinstance(self.peer, Device) else None

    @property
    def carrier(self) -> Carrier | None:
        """The contact's device at the other end, with its vault locked."""
        return self.peer if isinstance(self.peer, Carrier) else None

    @property
    def pairing(self) -> OpenPairing | None:
        """The open pairing whose other side is at the other end."""
        return self.peer if isinstance(self.peer, OpenPairing) else None

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
        self._context.peers.refuse(reason, self.transport)
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
            if self.established:
                stood = round(trio.current_time() - self.established_at)
                log.debug(
                    "down",
                    transport=self.transport,
                    why=self._why or "ended-here",
                    link=self.number,
                    seconds=stood,
                )
            if self.pairing is not None:
                self._context.pairings.link_down(self.pairing, self)
            with trio.CancelScope(shield=True):
                await self._channel.aclose()

    async def _guarded(self, nursery: trio.Nursery, part: "Part") -> None:
        """Run one part; when it ends, by the peer's fault or the medium's, so does the link."""
        try:
            await part()
        except ChannelClosed:
            self._ended_by("closed")
        except RemoteError as error:
            self._ended_by("refused")
            self._context.peers.refuse(error.reason, self.transport)
        except LocalError as error:
            # The stores refuse (a full disk): this link cannot go on, the next one may.
            self._ended_by(error.code)
            self._context.peers.refuse(error.code, self.transport)
        nursery.cancel_scope.cancel()

    def _ended_by(self, why: str) -> None:
        """Keep why the link ends: the first reason is the cause."""
        self._why = self._why or why

    async def _read(self, nursery: trio.Nursery) -> None:
        if self._initiator:
            await self._perform(self._machine.start(), nursery)
        while True:
            frame = await self._channel.receive()
            await self._perform(self._machine.receive_untrusted(frame, milliseconds()), nursery)

    async def _write(self) -> None:
        async for item in self._waiting:
            self.outgoing.taken()
            frame = item if isinstance(item, bytes) else self._machine.seal(item, milliseconds())
            await self._channel.send(frame)
            if isinstance(item, EnvelopeOut):
                self._context.peers.counts.sent[self.transport] += 1
            elif isinstance(item, Bye):
                raise ChannelClosed

    async def _keep_time(self) -> None:
        while True:
            await trio.sleep(max(0.0, (self._machine.deadline() - milliseconds()) / 1000))
            for effect in self._machine.tick(milliseconds()):
                if isinstance(effect, effects.SendFrame):
                    await self.outgoing.send(effect.frame)
                else:
                    self._ended_by("silence")
                    raise ChannelClosed

    async def _perform(self, found: list[effects.Effect], nursery: trio.Nursery) -> None:
        if self._baselines is None and self._machine.claimed is not None:
            # Asked for strangers too, so that the time it takes tells nothing.
            claimed = self._machine.claimed
            ids = tuple(ref.id for ref in claimed if isinstance(ref, Device | Returning))
            self._baselines = await self._context.owner.ask(asks.GetBaselines(ids))
        for effect in found:
            match effect:
                case effects.Received(message=message):
                    await self._received(message)
                case effects.SendFrame(frame=frame):
                    await self.outgoing.send(frame)
                case effects.AskCandidates():
                    known = self._context.peers.candidates(initiator=self._initiator)
                    await self._perform(self._machine.candidates(known), nursery)
                case effects.AskStep(ref=ref, proven=proven):
                    if isinstance(ref, Device):
                        await self._context.owner.ask(asks.Step(ref.id, proven))
                    elif isinstance(ref, Twin):
                        await self._context.owner.ask(asks.StepTwin(ref.number, proven))
                    await self._perform(self._machine.stepped(), nursery)
                case effects.Established(peer=peer):
                    await self._established(peer, nursery)
                case effects.Dead():
                    self._ended_by("silence")
                    raise ChannelClosed

    async def _established(self, peer: object, nursery: trio.Nursery) -> None:
        self.established_at = trio.current_time()
        self._context.peers.counts.links[self.transport, kind_of(peer)] += 1
        log.debug(
            "up",
            transport=self.transport,
            kind=kind_of(peer),
            peer=known_as(peer),
            dialled=self.dialled,
            link=self.number,
        )
        match peer:
            case Device():
                await self._greet(peer, nursery)
            case OpenPairing():
                self.peer = peer
                await self.outgoing.send(Hello(LINK_VERSION, 0, ()))
                await self._context.pairings.link_up(peer, self)
            case Returning():
                owner = self._context.owner
                told = await owner.ask(asks.ReturningUp(peer.id, peer.generation))
                await self.outgoing.send(Hello(LINK_VERSION, 0, told))
                # Whoever was set back is known again within milliseconds, maybe before the peers
                # were looked up anew. Nothing is stated exactly while a reset of ours waits.
                self._befriend(replace(peer, ours=not told), nursery)
            case Twin():
                await self._meet_twin(peer)
            case Carrier() | Friend():
                if isinstance(peer, Carrier):
                    await self._context.owner.ask(asks.Met(peer.id, self.transport))
                await self.outgoing.send(Hello(LINK_VERSION, 0, ()))
                self._befriend(peer, nursery)
            case _:
                await self._meet_stranger(nursery)

    async def _meet_stranger(self, nursery: trio.Nursery) -> None:
        """Stay for a while; trade where both sides carry for everyone."""
        context = self._context
        self.stranger = True
        self.longer(context.random.uniform(*STRANGER_STAYS))
        doomed = context.peers.too_many_strangers(MAX_STRANGERS)
        if doomed is not None:
            doomed.end()
        carries = context.everyone and not self.metered
        await self.outgoing.send(Hello(LINK_VERSION, FEATURE_CARRIES if carries else 0, ()))
        self._trade = Trade(
            self.number,
            context.owner,
            context.workshop,
            self.outgoing,
            context.random,
            handshake=self.handshake_hash,
            initiator=self._initiator,
            carries=carries,
            longer=self.longer,
        )
        if carries:
            nursery.start_soon(self._guarded_give, self._trade)

    async def _guarded_give(self, trade: Trade) -> None:
        """Give to a stranger; that it ends does not end the link, which may still be given to."""
        try:
            await trade.give()
        except (ChannelClosed, LocalError):
            self.end()

    async def _meet_twin(self, twin: Twin) -> None:
        """Tell a device that was replaced that it was; nothing else is taken or given."""
        self.peer = twin
        self.longer(TWIN_STAYS)
        await self.outgoing.send(Hello(LINK_VERSION, 0, ()))
        notice = await self._context.owner.ask(asks.TwinMet(twin.number))
        if notice is not None:
            await self.outgoing.send(EnvelopeOut(*notice))

    def longer(self, seconds: float) -> None:
        """Let a stranger's link stay for so many seconds from now on."""
        self._scope.deadline = trio.current_time() + seconds

    async def _greet(self, device: Device, nursery: trio.Nursery) -> None:
        """Say hello to a contact, tell what is owed, and start its envelopes flowing."""
        owner = self._context.owner
        greeting: Greeting = await owner.ask(asks.LinkUp(device.id, self.transport))
        await self.outgoing.send(Hello(LINK_VERSION, 0, greeting.statements))
        if greeting.receipts:
            await self.outgoing.send(Receipts(greeting.receipts))
        if greeting.confirmation:
            await self.outgoing.send(PairingMessage(greeting.confirmation))
        await self.tell_addresses(greeting.lane)
        if self._context.carry_pass:
            await self.outgoing.send(CarryPass(self._context.carry_pass))
        self._befriend(device, nursery)

    async def tell_addresses(self, lane: bytes) -> None:
        """Tell the contact where its lane reaches this node. Raises ChannelClosed."""
        told = await self._context.reach.told_to(lane)
        if told.entries:
            self._lanes_told[addresses_digest(told)] = lane
            await self.outgoing.send(told)

    def _befriend(
        self, friend: Device | Carrier | Friend | Returning, nursery: trio.Nursery
    ) -> None:
        """Exchange envelopes, unless another link with the same device does."""
        context = self._context
        self.peer = friend
        if isinstance(friend, Device | Carrier):
            doomed = context.peers.register(self, friend, trio.current_time())
            if doomed is not None:
                doomed.end()
            if doomed is self:
                return
        known = None if isinstance(friend, Friend) else friend.id
        exchange = self.exchange = Exchange(
            self.number,
            friend,
            context.owner,
            context.entropy,
            context.random,
            self.outgoing,
            context.checkpoints.of(known),
            transport=self.transport,
            partials=context.partials,
            batching=context.batching,
            metered=self.metered or isinstance(friend, Returning),
            slow=self._slow,
            strangers=context.strangers,
            inline=context.inline,
        )
        if exchange.partial is not None:
            self.tell(exchange.partial.held)
        context.friend_here(known)
        nursery.start_soon(self._guarded, nursery, exchange.pump.run)
        if self._initiator and not exchange.metered:
            nursery.start_soon(self._guarded, nursery, exchange.reconciling.run)

    async def _received(self, message: LinkMessage) -> None:
        if isinstance(message, Bye):
            raise ChannelClosed
        if isinstance(message, EnvelopeOut):
            self._context.peers.counts.received[self.transport] += 1
        if self._trade is not None:
            await self._trade.receive(message)
        elif self.exchange is None or not await self.exchange.receive(message):
            await self._received_else(message)

    async def _received_else(self, message: LinkMessage) -> None:
        owner, device = self._context.owner, self.device
        match message:
            case EnvelopeOut(age=age, raw=raw) if self.pairing is not None:
                await owner.post(asks.Arrived(self.number, None, None, age, raw))
            case PairingMessage(raw=raw) if self.pairing is not None:
                await self._context.pairings.message(self.pairing, self, raw)
            case PairingMessage(raw=raw) if device is not None:
                await owner.post(asks.Confirm(self.number, device.id, raw))
            case Hello(statements=statements) if device and statements and self._baselines:
                await owner.post(asks.Stated(device.id, statements, self._baselines[device.id]))
            case Hello(statements=statements) if isinstance(self.peer, Returning):
                if statements and self._baselines:
                    known = self._baselines[self.peer.id]
                    stated = asks.ReturningStated(
                        self.peer.id, self.peer.generation, statements, known
                    )
                    await owner.post(stated)
            case Addresses() if device is not None:
                await owner.post(asks.Told(self.number, device.id, message))
            case AddressesKept(digest=digest) if device is not None:
                lane = self._lanes_told.pop(digest, None)
                if lane is not None:
                    await owner.post(asks.LaneKept(device.id, lane))
            case CarryPass(secret=secret) if device is not None:
                await owner.post(asks.PassTold(device.id, secret))
            case _:
                pass  # kept for later versions


class Part(Protocol):
    """A piece of a link's work."""

    async def __call__(self) -> None:
        """Run it."""
        ...
