"""The engine: wires owner, links, dialer, pairings and transports into one nursery."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import trio

from p2pnode.engine.batching import Batching
from p2pnode.engine.clock import Clock
from p2pnode.engine.context import Context
from p2pnode.engine.couriers import Couriers
from p2pnode.engine.dialer import Dialer
from p2pnode.engine.link_task import LinkTask
from p2pnode.engine.listeners import Listeners
from p2pnode.engine.owner import Owner
from p2pnode.engine.pairings import BYE_PAIRED, Pairings
from p2pnode.engine.partials import Partials
from p2pnode.engine.peers import Peers
from p2pnode.engine.reach import Reach
from p2pnode.engine.reconciling import Checkpoints
from p2pnode.engine.rounds import Rounds
from p2pnode.engine.trade import Workshop
from p2pnode.engine.transports import Transports
from p2pnode.engine.vitals import Vitals
from p2pnode.errors import (
    LocalError,
    P2PNodeError,
    RemoteError,
    StoreError,
    StoreFull,
)
from p2pnode.ids import DeviceId, EnvelopeId, Lane
from p2pnode.logs import EventLog, Private, traced
from p2pnode.protocol.asked import REFUSED_ASKED, Asked
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import envelope_id
from p2pnode.protocol.identity import Own
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.messages import (
    Accepted,
    Bye,
    EnvelopeOut,
    Receipts,
    Refused,
    Want,
)
from p2pnode.spi.transport import Channel, Courier, Diagnosable, Transport
from p2pnode.turns import asks, carry, effects
from p2pnode.turns.receive import REFUSED_STORE
from p2pnode.turns.stores import Stores

log = EventLog("engine")

MAX_LINKS = 64
"""Links at once; further incoming channels are closed at once."""

MAX_HANDSHAKES = 16
"""Of them those that are not established yet: strangers cannot take all the places."""

AGAIN = 30.0
"""Seconds until something is tried again that a store could not do."""

BYE_ANEW = 2
"""Why a link ends: from now on its two ends recognise each other otherwise."""


class Engine:
    """One running node. `run` serves until cancelled.

    carry_pass: 32 bytes told to contacts, or b"". locked: contacts are known by that pass alone;
    the vault is an empty one, and only custody is real. batching: what is carried waits a moment,
    to be written together. files: where transports keep theirs.
    """

    def __init__(
        self,
        stores: Stores,
        own: Own,
        entropy: Entropy,
        clock: Clock,
        transports: Sequence[Transport | Courier],
        *,
        random: Random,
        inline: bool = False,
        carry_pass: bytes = b"",
        locked: bool = False,
        batching: bool = False,
        files: Path | None = None,
    ) -> None:
        self.clock = clock
        self.peers = Peers()
        if locked:
            self.peers.own_pass = keys.of_pass(carry_pass, holder=True)
        self.listeners = Listeners()
        self.owner = Owner(
            stores,
            clock,
            entropy,
            perform=self._perform,
            failed=self._failed,
            inline=inline,
        )
        self._batching = Batching(self.owner, self._failed, on=batching)
        self._random = random
        self._dialer = Dialer(self.peers, random, self._new_link, self._run_link)
        duplex = [one for one in transports if isinstance(one, Transport)]
        simplex = [one for one in transports if isinstance(one, Courier)]
        self.couriers = Couriers(simplex, self.owner)
        self.transports = Transports(
            duplex, self._dialer, self.owner, self._incoming, self._up_again, random, files
        )
        self._reach = Reach(self.owner, self.peers, self._dialer, self.transports)
        self.pairings = Pairings(own, self.owner, self.peers, entropy, clock, self._reach)
        self.rounds = Rounds(
            self.owner,
            self.peers,
            self.listeners,
            self.pairings,
            Vitals(clock),
            self._batching,
            random,
            examine_from=carry.examined(stores.vault),
        )
        self._context = Context(
            self.owner,
            self.peers,
            entropy,
            random,
            self.pairings,
            self._reach,
            self._friend_here,
            Workshop(entropy, inline=inline),
            Checkpoints(),
            Partials(),
            self._batching,
            strangers=carry.slot(stores.vault, carry.STRANGERS),
            everyone=stores.carry.who == "everyone",
            carry_pass=b"" if locked else carry_pass,
            inline=inline,
        )
        self._numbers = count(1)
        self._asked = Asked()
        self._nursery: trio.Nursery | None = None

    async def run(
        self,
        lanes: Mapping[Lane, bool],
        told: Sequence[tuple[DeviceId, Lane, str, bytes]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled.

        lanes: those of all contacts, and whether each is served; told: addresses to dial.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.owner.run)
            await self.owner.ask(asks.PrepareResets())
            await self._refresh()
            await nursery.start(self._dialer.run)
            await nursery.start(self._reach.run)
            for lane, served in lanes.items():
                await (self.transports.open if served else self.transports.close)(lane)
            nursery.start_soon(self.transports.run)
            for device, lane, name, address in told:
                self._reach.told(device, lane, name, address)
            nursery.start_soon(self.couriers.run)
            nursery.start_soon(self.rounds.run)
            nursery.start_soon(self._batching.run)
            task_status.started()

    def change(self, stores: Stores, *, batching: bool) -> None:
        """Work by other settings from now on: those that `stores` holds beside the stores. Links
        with strangers that stand already keep what they were begun with."""
        self.owner.change(stores)
        self._batching.on = batching
        self._context = replace(self._context, everyone=stores.carry.who == "everyone")

    async def switch(
        self,
        name: str,
        fresh: Transport | Courier | None,
        lanes: Mapping[Lane, bool],
        told: Sequence[tuple[DeviceId, Lane, str, bytes]],
    ) -> None:
        """Put a transport in the place of the one of its name, if there is one; None turns it off.

        lanes: those of all contacts, and whether each is served; told: addresses to dial.
        """
        await self.transports.turn_off(name)
        self.couriers.turn_off(name)
        for link in list(self.peers.links.values()):
            if link.transport == name:
                link.end()
        if isinstance(fresh, Courier):
            self.couriers.turn_on(fresh)
        elif fresh is not None:
            await self.transports.turn_on(fresh, lanes)
            for device, lane, transport, address in told:
                if transport == name:
                    self._reach.told(device, lane, transport, address)

    def diagnosable(self) -> list[tuple[str, Diagnosable]]:
        """Return everything that can tell how its medium is, by name."""
        duplex = [(one.transport.name, one.transport) for one in self.transports.running]
        return [*duplex, *self.couriers.all.items()]

    @asynccontextmanager
    async def running(
        self,
        lanes: Mapping[Lane, bool],
        told: Sequence[tuple[DeviceId, Lane, str, bytes]],
    ) -> AsyncIterator[None]:
        """Run until the context ends; the node's clock is kept at its end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run, lanes, told)
            try:
                yield
            finally:
                with trio.move_on_after(1) as last:
                    last.shield = True
                    with suppress(StoreFull):  # what was kept a minute ago has to do
                        await self._batching.commit()
                        await self.rounds.keep()
                nursery.cancel_scope.cancel()

    @property
    def batching(self) -> bool:
        """Whether what is carried waits a moment, to be written together."""
        return self._batching.on

    def nearby(self, transport: str) -> int:
        """Return how many nodes a transport sees."""
        return self._dialer.nearby(transport)

    async def peers_changed(self) -> None:
        """Try all places again, because others may be recognised now."""
        await self._refresh()
        self._dialer.changed()

    def _up_again(self, transport: Transport) -> None:
        """A transport has come up: others may be reached by it, and may reach this node."""
        self._dialer.retry(transport)
        self._reach.anew()

    # Links -------------------------------------------------------------------------------------

    async def _incoming(self, channel: Channel, transport: Transport) -> None:
        assert self._nursery is not None
        shaking = sum(not link.established for link in self.peers.links.values())
        if len(self.peers.links) >= MAX_LINKS or shaking >= MAX_HANDSHAKES:
            self.peers.refuse("too-many-links", transport.name)
            await channel.aclose()
            return
        link = self._new_link(channel, transport, initiator=False)
        self._nursery.start_soon(self._run_link, link)

    def _new_link(self, channel: Channel, transport: Transport, *, initiator: bool) -> LinkTask:
        link = LinkTask(
            next(self._numbers),
            channel,
            self._context,
            transport=transport.name,
            initiator=initiator,
        )
        self.peers.links[link.number] = link
        return link

    async def _run_link(self, link: LinkTask) -> None:
        try:
            await link.run()
        except* Exception as group:
            # No peer may end the node, whatever defect of ours it has found.
            self.peers.refuse("internal-error", link.transport)
            log.fault("link.failed", at=traced(group), text=Private(group))
        finally:
            self._asked.forget(link.number)

    def _friend_here(self, device: DeviceId | None) -> None:
        """Somebody is here who may carry: what waits for that goes."""
        self.rounds.wake()
        if device is not None:
            self._dialer.met(device)

    async def _learn_anew(self) -> None:
        while True:
            try:
                return await self.peers_changed()
            except StoreError as error:  # of a full disk, say; without this some are strangers
                self.listeners.warn(error)
            await trio.sleep(AGAIN)

    async def _refresh(self) -> None:
        self.peers.learn(await self.owner.ask(asks.GetPeers()))

    # Effects -----------------------------------------------------------------------------------

    def _perform(self, found: Sequence[effects.Effect]) -> None:
        """Perform a batch's effects; receipts and acceptances travel together."""
        receipts: dict[DeviceId, list[EnvelopeId]] = {}
        accepted: dict[int, list[EnvelopeId]] = {}
        paired: list[effects.Paired | effects.PairedMutually] = []
        refresh = False
        for effect in found:
            match effect:
                case effects.Push(device=device):
                    self.rounds.wake()
                    link = self.peers.by_device.get(device)
                    if link is not None and link.exchange is not None:
                        link.exchange.push(effect)
                case effects.Receipt(device=device, envelope=envelope):
                    receipts.setdefault(device, []).append(envelope)
                    self.rounds.wake()
                case effects.Give(link=number):
                    link = self.peers.links.get(number)
                    if link is not None and link.exchange is not None:
                        link.exchange.pump.give(effect.envelope, effect.age, effect.raw)
                case effects.Later(ask=ask):
                    self._batching.hold(ask)
                case effects.Carried():
                    if effect.late:
                        self._context.checkpoints.unseen(effect.envelope)
                    self._offer_to_others(effect)
                    self.rounds.wake()
                case effects.Tell(link=number, message=Accepted(ids=ids)):
                    accepted.setdefault(number, []).extend(ids)
                case effects.Tell(link=number, message=Want(ids=ids)):
                    self._want(number, ids)
                case effects.Tell(link=number, message=message):
                    if number in self.peers.links:
                        self.peers.links[number].tell(message)
                case effects.Happened(event=event):
                    self.listeners.tell(event)
                case effects.Charge(link=charged, reason=reason):
                    self._charge(charged, reason)
                case effects.KeyStepped(device=device, key=key):
                    if device in self.peers.keys:
                        self.peers.keys[device] = (self.peers.keys[device][0], key)
                case effects.PassKept(device=device, secret=secret):
                    self.peers.keep_pass(device, secret)
                case effects.PeersChanged():
                    refresh = True
                    self.rounds.wake()
                case effects.Paired() | effects.PairedMutually():
                    paired.append(effect)
                case _:
                    self._perform_rare(effect)
        for device, opened in receipts.items():
            if device in self.peers.by_device:
                self.peers.by_device[device].tell(Receipts(tuple(opened)))
        for number, held in accepted.items():
            link = self.peers.links.get(number)
            if link is not None:
                link.tell(Accepted(tuple(held)))
                if link.exchange is not None:
                    link.exchange.told(held)
        for one in paired:
            if isinstance(one, effects.Paired):
                self.pairings.paired(one.contact, one.account, one.name)
            else:
                self._paired_mutually(one)
        if refresh and self._nursery is not None:
            self._nursery.start_soon(self._learn_anew)

    def _want(self, number: int, ids: tuple[EnvelopeId, ...]) -> None:
        """Ask for envelopes, except those that another link is bringing."""
        if number not in self.peers.links:
            return
        fresh = self._asked.fresh(ids, number, trio.current_time())
        others = tuple(set(ids).difference(fresh))
        if fresh:
            self.peers.links[number].tell(Want(fresh))
        if others:
            self.peers.links[number].tell(Refused(REFUSED_ASKED, others))

    def _offer_to_others(self, new: effects.Carried) -> None:
        """Offer what has come into custody on the links it did not come by, in random order."""
        links = [link for link in self.peers.links.values() if link.number != new.link]
        self._random.shuffle(links)
        for link in links:
            if link.exchange is not None:
                link.exchange.carry(new.envelope, new.source)

    def _perform_rare(self, effect: effects.Effect) -> None:
        assert self._nursery is not None
        match effect:
            case effects.Cut(device=device, unsought=unsought):
                standing = self.peers.with_device(device)
                if standing is not None:
                    standing.end()
                if unsought:
                    self._dialer.forget_device(device)
                    self.pairings.forget_device(device)
            case effects.Parted(contact=contact):
                for link in self.peers.links.values():
                    if getattr(link.peer, "contact", None) == contact:
                        link.tell(Bye(BYE_ANEW))
            case effects.NoRoom():
                self.listeners.warn(
                    StoreFull("the disk is nearly full: what others write waits where it is")
                )
            case effects.TwinStepped(twin=number, key=key):
                if number in self.peers.twins:
                    self.peers.twins[number] = (self.peers.twins[number][0], key)
            case effects.LaneOpened() | effects.LaneClosed() | effects.LaneRevoked():
                self._reach.change(effect)
            case effects.Reachable(device=device, lane=lane, transport=name, address=address):
                self._reach.told(device, Lane(lane), name, address)
            case effects.PushPairing(pairing=pairing, envelopes=envelopes):
                self.rounds.wake()
                for link in self.peers.links.values():
                    if link.pairing is not None and link.pairing.id == pairing:
                        for age, raw in envelopes:
                            link.tell(EnvelopeOut(age, raw))

    def _paired_mutually(self, one: effects.PairedMutually) -> None:
        """Tell the person; end the scan's links, so that both sides meet as contacts."""
        self.pairings.paired_mutually(one.pairing, one.account, one.name)
        for link in self.peers.links.values():
            if link.pairing is not None and link.pairing.id == one.pairing:
                link.tell(Bye(BYE_PAIRED))

    def _charge(self, number: int | None, reason: str) -> None:
        link = self.peers.links.get(number) if number is not None else None
        if link is not None:
            link.charge(reason)
        else:
            self.peers.refuse(reason)

    def _failed(self, ask: asks.Ask, error: P2PNodeError) -> None:
        """An ask of a link could not be carried out."""
        number = getattr(ask, "link", None)
        if isinstance(error, RemoteError):
            self._charge(number, error.reason)
        elif isinstance(error, LocalError):
            self.listeners.warn(error)
        if isinstance(ask, asks.Arrived) and isinstance(error, StoreError):
            link = self.peers.links.get(ask.link)
            if link is not None:
                link.tell(Refused(REFUSED_STORE, (envelope_id(ask.raw),)))
