"""The composition root: opens a node, and answers the local API's requests.

Changes go through the engine's owner as turns; questions are read on a connection of their own, so
that a long history never holds up a message.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import Any, TypeVar

import trio

from p2pnode import backup, card, diagnosis, metrics, overview, plugins, questions, rights, schema
from p2pnode.config import Config, Home
from p2pnode.engine.clock import KEPT, Clock
from p2pnode.engine.engine import Engine
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import InvalidInput, LocalError, NotDelivered, StoreCorrupt, StoreFull
from p2pnode.home import MEGABYTE, carry_pass, disk_room, shown_identity
from p2pnode.ids import Cursor, id_text
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.delivery import final, reached
from p2pnode.protocol.names import petname
from p2pnode.rights import DAY, Rights
from p2pnode.spi.transport import Courier, Transport
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from p2pnode.turns import asks
from p2pnode.turns.start import catch_up
from p2pnode.turns.stores import Stores

Found = TypeVar("Found")


@asynccontextmanager
async def open_node(
    home: Home,
    config: Config,
    *,
    key: bytes,
    renewed: bool = False,
) -> AsyncIterator["Node"]:
    """Open a home and run its node until the context ends.

    key: the vault's. renewed: it ran locked before, and gets a new carry pass. Raises StoreError
    and its kinds, ConfigError.
    """
    transports = plugins.load(home.config, config.enabled())
    async with AsyncExitStack() as stack:
        vault = Vault.open(home.vault, key)
        stack.callback(vault.close)
        custody = Custody.open(home.custody)
        stack.callback(custody.close)
        readers = []
        for _ in ("questions", "an export"):
            reader = Vault.open(home.vault, key, read_only=True)
            stack.callback(reader.close)
            reading = Custody.open(home.custody, read_only=True)
            stack.callback(reading.close)
            readers.append(settled(Stores(reader, reading, policy(config)), config))
        del key  # this frame stays for as long as the node runs
        node = Node(
            settled(
                Stores(vault, custody, policy(config), room=partial(disk_room, home.root)), config
            ),
            transports,
            reader=readers[0],
            carry_pass=carry_pass(home, renewed=renewed),
            batching=card.batches(config.store.batch_writes, home.root),
            home=home,
            exported=readers[1],
        )
        if config.log.identifiers:
            overview.tell_tags(vault)
        yield await stack.enter_async_context(node.running())


def settled(stores: Stores, config: Config) -> Stores:
    """Return the stores with what a node works on them by."""
    privacy = config.privacy
    return replace(
        stores,
        carry=policy(config),
        origin=privacy.origin,
        tokens=privacy.tokens,
        redactions=privacy.redactions,
        retention=config.retention.days * DAY,
    )


def policy(config: Config) -> CarryPolicy:
    """Return for whom a node carries, and how much."""
    return CarryPolicy(limit=config.carry.max_mb * MEGABYTE, who=config.carry.for_)


class Node(schema.Service):
    """A running node behind the local API.

    reader: stores on connections of their own, read in worker threads; None reads from `stores`
    in the event loop (for virtual time, with stores in memory). exported: the same once more, for
    an export, which may read for long.
    """

    def __init__(
        self,
        stores: Stores,
        transports: Sequence[Transport | Courier],
        *,
        reader: Stores | None,
        clock: Clock | None = None,
        entropy: "OsEntropy | Any" = None,
        random: Any = None,
        carry_pass: bytes = b"",
        batching: bool = False,
        home: Home | None = None,
        exported: Stores | None = None,
    ) -> None:
        own = stores.vault.identity.load()
        if own is None:
            raise StoreCorrupt("the vault holds no identity")
        self._own = own
        self._home = home
        self._stores = stores
        self._reader = reader
        self._reading = trio.CapacityLimiter(1)
        self._clock = clock or Clock.resumed(stores.vault.meta.get(KEPT))
        self._entropy = entropy or OsEntropy()
        self.engine = Engine(
            stores,
            own,
            self._entropy,
            self._clock,
            transports,
            random=random or SystemRandom(),
            inline=reader is None,
            carry_pass=carry_pass,
            batching=batching,
            files=home.transports if home is not None else None,
        )
        self._ask = self.engine.owner.ask
        settings = home.config if home is not None else None
        self.rights = Rights(self.engine, self._read, exported, settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        """Run until the context ends; the node's clock is kept at its end.

        What fell due while the node was off goes before anything is shown.
        """
        past = (self._stores, self._clock.now(), self._entropy)
        try:
            if self._reader is None:
                catch_up(*past)
            else:
                await trio.to_thread.run_sync(catch_up, *past)
        except StoreFull as error:  # it still reads, and may carry; what is over goes later
            self.engine.listeners.warn(error)
        vault = self._stores.vault
        async with self.engine.running(questions.lanes(vault), questions.told(vault)):
            yield self

    async def change(self, config: Config, transports: Collection[str]) -> None:
        """Work by other settings from now on; transports: names of those whose own changed."""
        self._stores = settled(self._stores, config)
        batching = self._home and card.batches(config.store.batch_writes, self._home.root)
        self.engine.change(self._stores, batching=bool(batching))
        if self._reader is not None:
            self._reader = settled(self._reader, config)
            if config.log.identifiers:
                await trio.to_thread.run_sync(
                    overview.tell_tags, self._reader.vault, limiter=self._reading
                )
        for name in transports:
            lanes, told = await self._read(questions.reachable)
            await self.engine.switch(name, self._loaded(config, name), lanes, told)

    def _loaded(self, config: Config, name: str) -> Transport | Courier | None:
        """Return a transport as the settings want it; None when they have it off."""
        enabled = config.enabled()
        if self._home is None or name not in enabled:
            return None
        return plugins.load(self._home.config, {name: enabled[name]})[0]

    async def call(self, request: schema.Request) -> schema.Answer:
        """Carry out a request. Raises LocalError for what a person can understand."""
        match request:
            case schema.Send():
                [answer] = await self.send_all([request])
                if isinstance(answer, LocalError):
                    raise answer
                return answer
            case schema.TakeEvents():
                return await self._take_events(request)
            case schema.AckEvents(consumer=consumer, cursor=cursor):
                await self._ask(asks.Acknowledge(consumer, Cursor(cursor)))
                return schema.Done()
            case schema.BeginEvents(consumer=consumer):
                cursor, fresh = await self._ask(asks.Begin(consumer))
                return schema.Begun(cursor=cursor, fresh=fresh)
            case schema.WaitState():
                return await self._wait_state(request)
            case schema.GetHistory(contact=contact, limit=limit, before=before):
                return await self._read(questions.history, contact, limit, before)
            case schema.Why(id=prefix):
                ways = overview.ways(self.engine)
                now = self._clock.wall()
                return await self._read(questions.why, prefix, self._online(), now, ways)
            case schema.GetStatus():
                return await self._status()
            case schema.GetPeers():
                return await self._peers()
            case schema.GetMap():
                links, now = overview.standing(self.engine), self._clock.now().node
                return await self._read(overview.surroundings, links, self._own.name, now)
            case schema.GetMetrics():
                found = await self._read(overview.counted, self._clock.now().node)
                return schema.Metrics(text=metrics.text(self.engine, found))
            case schema.Unlock():
                return schema.Done()  # it is open
            case schema.ChangeSecret():
                raise InvalidInput("this node lives in memory")  # the gate does it elsewhere
            case schema.Diagnose():
                return await self._diagnose()
            case schema.CreateBackup():
                if self._home is None:
                    raise InvalidInput("this node lives in memory")
                return await backup.serve(self._home, request, self._ask)
            case schema.GetIdentity():
                return shown_identity(self._own)
            case schema.GetReady(timeout=timeout):
                with trio.move_on_after(timeout):
                    await self.engine.transports.settled()
                return schema.Ready(ready=self.engine.transports.all_settled)
            case _:
                return await self._about_people(request)

    async def send_all(self, requests: Sequence[schema.Send]) -> list[schema.Answer | LocalError]:
        """Send messages in their order, in as few commits as they fit into."""
        outcomes = await self.engine.owner.ask_all(
            [asks.Send(request.to, request.text, request.lifetime) for request in requests]
        )
        answers: list[schema.Answer | LocalError] = []
        for outcome in outcomes:
            if outcome.error is None:
                message, state = outcome.answer
                answers.append(schema.Sent(id=id_text(message), state=state))
            else:
                assert isinstance(outcome.error, LocalError)  # nothing foreign is in a Send
                answers.append(outcome.error)
        return answers

    async def _about_people(self, request: schema.Request) -> schema.Answer:
        pairings = self.engine.pairings
        match request:
            case schema.ShowCode(mutual=mutual, remote=remote, timeout=timeout):
                shown = await pairings.show(mutual=mutual, remote=remote, patience=timeout)
                await self.engine.peers_changed()
                return shown
            case schema.JoinCode(uri=uri, petname=name, pairing=pairing):
                chosen = await self._free_petname(name)
                if pairing:
                    return await pairings.join_mutual(uri, pairing, chosen)
                joined = await pairings.join(uri, chosen)
                await self.engine.peers_changed()
                return joined
            case schema.NextStep(pairing=pairing, seen=seen, timeout=timeout):
                return await pairings.next_step(pairing, seen, timeout)
            case schema.AnswerPairing(pairing=pairing, yes=yes, petname=name):
                return await pairings.answer(pairing, yes, await self._free_petname(name))
            case schema.CancelPairing(pairing=pairing):
                await pairings.cancel(pairing)
                return schema.Done()
            case schema.WriteCourier(place=place, contact=of, max_size=most):
                known = (await self._read(questions.contact_row, of)).id if of else None
                done = await self.engine.couriers.write(place, contact=known, max_size=most)
                return schema.CourierWritten(envelopes=done.envelopes, bytes=done.size)
            case schema.ReadCourier(place=place):
                taken = await self.engine.couriers.read(place)
                return schema.CourierRead(**taken._asdict())
            case schema.ListContacts():
                return await self._read(questions.contacts, self._online())
            case schema.ContactRef(contact=name):
                return await self._contact(name)
            case schema.RenameContact(contact=name, name=new):
                found = await self._read(questions.contact_row, name)
                await self._ask(asks.Rename(found.id, new))
                return await self._contact(id_text(found.account))
            case schema.RemoveContact(contact=name):
                found = await self._read(questions.contact_row, name)
                await self._ask(asks.Remove(found.id))
                return schema.Done()
            case schema.BlockContact(contact=name, blocked=blocked):
                found = await self._read(questions.contact_row, name)
                await self._ask(asks.Block(found.id, blocked))
                return await self._contact(name)
            case schema.RotateAddress(contact=name):
                found = await self._read(questions.contact_row, name)
                await self._ask(asks.Rotate(found.id))
                return schema.Done()
            case schema.VerifyContact(contact=name, matches=matches):
                found = await self._read(questions.contact_row, name)
                await self._ask(asks.Verify(found.id, matches))
                return await self._contact(name)
            case _ if isinstance(request, Rights.REQUESTS):
                return await self.rights.call(request)
            case _:
                return await super().call(request)

    # Reading -----------------------------------------------------------------------------------

    async def _read(self, question: "Callable[..., Found]", *args: Any) -> Found:
        if self._reader is None:
            await trio.lowlevel.checkpoint()
            return question(self._stores, *args)
        return await trio.to_thread.run_sync(question, self._reader, *args, limiter=self._reading)

    def _online(self) -> frozenset[bytes]:
        """Return the ids of the contacts a link stands with."""
        links = self.engine.peers.by_device.values()
        return frozenset(link.device.contact for link in links if link.device is not None)

    async def _contact(self, name: str) -> schema.Contact:
        return await self._read(questions.contact, name, self._online())

    async def _free_petname(self, name: str) -> str:
        """Return a petname in its proper form. Raises InvalidInput when a contact has it."""
        if not name:
            return ""
        chosen = petname(name)
        if await self._read(questions.taken, chosen):
            raise InvalidInput(
                f'"{chosen}" is already the name of a contact', hint="Choose another petname."
            )
        return chosen

    async def _take_events(self, request: schema.TakeEvents) -> schema.Events:
        listeners = self.engine.listeners
        with listeners.listening() as stored:
            up_to_date = 0 <= listeners.newest <= request.after
            found = [] if up_to_date else await self._read(questions.events, request)
            if not found and request.timeout:
                with trio.move_on_after(request.timeout):
                    async for first in stored:
                        found.append(first)
                        break
                # What came together is handed over together.
                while found and len(found) < request.limit:
                    try:
                        found.append(stored.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
        return schema.Events(events=found)

    async def _wait_state(self, request: schema.WaitState) -> schema.Message:
        with self.engine.listeners.listening() as stored:
            message = await self._read(questions.message, request.id)
            with trio.move_on_after(request.timeout):
                while not (reached(message.state, request.state) or final(message.state)):
                    try:
                        event = await stored.receive()
                    except trio.EndOfChannel:  # too many events at once
                        return await self._wait_state(request)
                    if event.message is not None and event.message.id == message.id:
                        message = event.message
        if not reached(message.state, request.state):
            raise NotDelivered(
                "not delivered in time" if request.state == "delivered" else "not yet",
                why=f"it is {message.state}",
                hint=f"It stays as it is. Details: p2pnode why {message.id[:8]}",
            )
        return message

    async def _status(self) -> schema.Status:
        now = self._clock.now().node
        found = await self._read(overview.counted, now)
        erasing = await self._read(rights.erasing, now)
        return overview.status(self.engine, found, erasing=erasing, work=self.rights.work)

    async def _diagnose(self) -> schema.Diagnosis:
        found = diagnosis.clock(self._clock.wall())
        if self._home is not None:
            found += await trio.to_thread.run_sync(
                partial(diagnosis.home, self._home, batching=self.engine.batching)
            )
        found += await self._read(diagnosis.stores, self._home.root if self._home else None)
        on = self.engine.diagnosable()
        found += diagnosis.switched_off([name for name, _ in on])
        found += await diagnosis.transports(on)
        return schema.Diagnosis(findings=found)

    async def _peers(self) -> schema.Peers:
        links = overview.standing(self.engine)
        return await self._read(overview.peers, links, self._clock.now().node)
