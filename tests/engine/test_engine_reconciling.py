"""Reconciliation of nodes that meet again and again: little for what is old, nothing is missed."""

import random
import threading

import pytest
import trio
import trio.testing

from p2pnode.engine import reconciling
from p2pnode.engine.pump import Outgoing
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.envelope import envelope_id
from p2pnode.protocol.link.messages import Reconcile
from p2pnode.protocol.reconcile.buckets import leaf_of, leaves
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.spi.memory import MemoryNet
from p2pnode.turns import asks
from tests.entropy import SeededEntropy
from tests.patience import PATIENCE
from tests.people import Person, pair, send

OLD = 3_000


@pytest.fixture
def sent(monkeypatch):
    """Count what reconciliations cost."""
    counted = []
    honest = Outgoing.send

    async def send(self, item):
        if isinstance(item, Reconcile):
            counted.append(len(item.raw))
        await honest(self, item)

    monkeypatch.setattr(Outgoing, "send", send)
    return counted


@pytest.fixture
def two():
    net = MemoryNet()
    people = Person(net, "ana"), Person(net, "bo")
    for person in people:
        person.carry_for("contacts", 100_000_000)
    yield net, *people
    for person in people:
        assert not person.stores.custody.database.check()
        person.close()


def sealed(chance: random.Random) -> bytes:
    """Return what looks like somebody's envelope."""
    return b"\x01" + chance.randbytes(16) + b"\x03" + chance.randbytes(4_078)


def put(person: Person, raws: list[bytes]) -> None:
    custody = person.stores.custody
    with custody.transaction():
        for raw in raws:
            custody.put(envelope_id(raw), raw[1:17], raw, 3, 0, b"somebody", 1_000)


def held(person: Person) -> set[EnvelopeId]:
    return {id_ for _, id_ in person.stores.custody.ids(0, 100_000)}


async def again(net) -> None:
    """Let the two part and meet."""
    net.cut("ana", "bo")
    await trio.sleep(30)
    net.connect("ana", "bo")
    await trio.sleep(60)


async def test_recently_met_peers_pay_for_what_is_new(two, sent, autojump_clock):
    net, ana, bo = two
    chance = random.Random(7)
    both = [sealed(chance) for _ in range(OLD)]
    put(ana, [*both, *(sealed(chance) for _ in range(100))])
    put(bo, [*both, *(sealed(chance) for _ in range(50))])
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await trio.sleep(60)
        assert held(ana) == held(bo)
        assert len(held(ana)) == OLD + 150
        full = sum(sent)
        await again(net)
        sent.clear()
        put(ana, [sealed(chance) for _ in range(5)])
        await again(net)
        assert held(ana) == held(bo)
        assert 0 < sum(sent) < 500 < full


async def test_whatever_comes_wherever_both_have_it_in_the_end(two, sent, chance, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        for _ in range(30):
            for person in (ana, bo):
                put(person, [sealed(chance) for _ in range(chance.randrange(4))])
            if chance.random() < 0.3:
                both = [sealed(chance) for _ in range(chance.randrange(4))]
                put(ana, both)
                put(bo, both)
            if chance.random() < 0.2:
                await trio.sleep(chance.uniform(0, 1_500))
            await again(net)
            assert held(ana) == held(bo)
        assert sum(node.engine.peers.rejected.total() for node in (a, b)) == 0


async def test_what_is_held_back_is_not_missed_later(two, sent, autojump_clock):
    """A third who was met while somebody else carried first gets it at the next encounter."""
    net, ana, bo = two
    cy, dee = Person(net, "cy"), Person(net, "dee")
    async with ana.on() as a, bo.on() as b:
        async with cy.on() as c, dee.on() as d:
            for one, other in ((a, b), (a, c), (a, d)):
                assert await pair(one, other) == ["paired", "paired"]
        net.cut("bo", "cy")
        net.cut("bo", "dee")
        net.cut("cy", "dee")
        async with cy.on():
            await trio.sleep(120)
            net.cut("ana", "bo")
            net.cut("ana", "cy")
            await trio.sleep(60)
            await send(a, "dee", "for later")
            await trio.sleep(60)
            net.connect("ana", "bo")
            await trio.sleep(30)
            assert len(held(bo)) == 1  # it carries first
            net.connect("ana", "cy")
            await trio.sleep(30)
            assert held(cy) == set()
            hidden = await a.engine.owner.ask(asks.GetLeaves(None))
            assert sum(leaf.count for leaf in hidden[0]) == 0
            net.cut("ana", "cy")
            await trio.sleep(1_000)
            net.connect("ana", "cy")
            await trio.sleep(60)
            assert held(cy) == held(bo)
    cy.close()
    dee.close()


class Side:
    """Stands in for a link and its owner: sets in memory."""

    def __init__(self, ids, seed):
        self.ids = ids
        self.found = set()
        self.sending, self.receiving = trio.open_memory_channel(100)
        self.part = reconciling.Reconciling(
            self,
            SeededEntropy(seed),
            random.Random(seed),
            self,
            self,
            reconciling.Checkpoint(),
            peer=None,
            inline=False,
        )

    async def ask(self, ask):
        match ask:
            case asks.GetLeaves():
                return leaves(self.ids), 0
            case asks.GetLeafIds(leaves=wanted):
                return [sorted(one for one in self.ids if leaf_of(one) == leaf) for leaf in wanted]
            case asks.Ordered(ids=ids):
                return [(one, b"source") for one in ids]

    async def send(self, message):
        await self.sending.send(message.raw)

    def carry(self, envelope, source):
        self.found.add(envelope)


async def test_large_sets_are_compared_outside_of_the_event_loop(monkeypatch):
    monkeypatch.setattr(reconciling, "MANY", 10)
    loop = threading.get_ident()
    threads = set()
    honest = Reconciler.ids

    def noted(self, found):
        threads.add(threading.get_ident())
        return honest(self, found)

    monkeypatch.setattr(Reconciler, "ids", noted)
    chance = random.Random(7)
    common = {EnvelopeId(chance.randbytes(32)) for _ in range(500)}
    mine, theirs = ({EnvelopeId(chance.randbytes(32)) for _ in range(50)} for _ in range(2))
    one, other = Side(common | mine, 1), Side(common | theirs, 2)

    async def hand_over(source, target):
        async for raw in source.receiving:
            await target.part.receive(raw)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.part.run)
        nursery.start_soon(hand_over, one, other)
        nursery.start_soon(hand_over, other, one)
        with trio.fail_after(PATIENCE):
            while (one.found, other.found) != (mine, theirs):
                await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert threads - {loop}
