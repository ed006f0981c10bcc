"""A node on a memory card writes what it carries batch by batch, and nobody can tell by that."""

from typing import Any

import pytest
import trio

from p2pnode.engine.batching import FULL, SPAN, Batching
from p2pnode.errors import StoreFull
from p2pnode.node import Node
from p2pnode.protocol.link.messages import Accepted
from p2pnode.spi.memory import MemoryNet
from p2pnode.turns.asks import Arrived
from p2pnode.turns.commit import Outcome
from tests.people import Person, history, pair, reached, send

QUICK = 0.5
"""Seconds of virtual time: a message that waits for nothing takes less."""


@pytest.fixture
def four():
    net = MemoryNet()
    people = [Person(net, name) for name in ("ana", "bo", "cy", "dora")]
    yield net, *people
    for person in people:
        assert not person.stores.vault.database.check()
        assert not person.stores.custody.database.check()
        person.close()


def held(person: Person) -> int:
    """Return how many envelopes a node carries."""
    return person.stores.custody.count_bytes()[0]


async def acquainted(a: Node, b: Node, c: Node) -> None:
    """Make all three contacts."""
    for one, other in ((a, b), (b, c), (a, c)):
        assert await pair(one, other) == ["paired", "paired"]


async def trickle(net: MemoryNet, ana: Person, bo: Person, cy: Person, *, batching: bool) -> int:
    """Let ana write to cy, who is away, once a second; return in how many commits bo took it."""
    bo.batching = batching
    async with ana.on() as a:
        async with bo.on() as b, cy.on() as c:
            await acquainted(a, b, c)
        async with bo.on() as b:
            await trio.sleep(30)
            commits, before = 0, held(bo)
            original = b.engine.owner._commit

            def counted(batch: Any, now: Any) -> list[Outcome]:
                nonlocal commits
                was = held(bo)
                outcomes = original(batch, now)
                commits += held(bo) > was
                return outcomes

            b.engine.owner._commit = counted  # type: ignore[method-assign]
            for number in range(60):
                await send(a, "cy", f"text {number}")
                await trio.sleep(1)
            await trio.sleep(600)
            assert held(bo) == before + 60
            return commits


async def test_what_trickles_in_to_be_carried_is_written_in_few_commits(four, autojump_clock):
    net, ana, bo, cy, _ = four
    assert await trickle(net, ana, bo, cy, batching=True) <= 60 / SPAN + 1


async def test_without_batching_each_is_written_when_it_comes(four, autojump_clock):
    net, ana, bo, cy, _ = four
    assert await trickle(net, ana, bo, cy, batching=False) > 2 * 60 / SPAN


async def test_what_its_author_hands_over_waits_for_nothing(four, autojump_clock):
    _, ana, bo, _, _ = four
    ana.batching = bo.batching = True
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        for number in range(5):
            began = trio.current_time()
            await reached(a, await send(a, "bo", f"text {number}"))
            assert trio.current_time() - began < QUICK
            await trio.sleep(10)


async def test_a_carrier_cannot_tell_by_the_time_whose_an_envelope_was(four, autojump_clock):
    """bo, on a card, gets from cy what ana wrote to bo and to dora: it accepts both at once."""
    net, ana, bo, cy, dora = four
    bo.batching = True
    accepted: dict[float, int] = {}
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b, dora.on() as d:
            for one, other in ((a, b), (a, c), (a, d), (b, c), (b, d), (c, d)):
                assert await pair(one, other) == ["paired", "paired"]
        for number in range(3):
            await send(a, "bo", f"bo's {number}")
            await send(a, "dora", f"dora's {number}")
        await trio.sleep(600)
        net.cut("ana", "bo")
        assert held(cy) == 6
        async with bo.on() as b:
            told = b.engine.peers.links

            async def watch() -> None:
                while True:
                    await trio.sleep(0.01)
                    for link in told.values():
                        if link.device is not None and not hasattr(link, "watched"):
                            spy(link)

            def spy(link: Any) -> None:
                tell = link.tell
                link.watched = True

                def noted(message: Any) -> None:
                    if isinstance(message, Accepted):
                        moment = round(trio.current_time(), 3)
                        accepted[moment] = accepted.get(moment, 0) + len(message.ids)
                    tell(message)

                link.tell = noted

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await trio.sleep(60)
                nursery.cancel_scope.cancel()
            texts = [message.text for message in await history(b, "ana")]
            assert texts == [f"bo's {number}" for number in range(3)]
        assert held(bo) == 6
    assert list(accepted.values()) == [6]


async def test_an_orderly_end_writes_what_waits(four, autojump_clock):
    _, ana, bo, cy, _ = four
    bo.batching = True
    async with ana.on() as a:
        async with bo.on() as b, cy.on() as c:
            await acquainted(a, b, c)
        async with bo.on() as b:
            await trio.sleep(30)
            before = held(bo)
            await send(a, "cy", "just before the end")
            await b.engine._batching._some.wait()
            assert held(bo) == before
        assert held(bo) == before + 1


async def test_what_is_lost_in_a_crash_its_bringer_keeps(four, autojump_clock):
    net, ana, bo, cy, _ = four
    bo.batching = True
    async with ana.on() as a:
        async with bo.on() as b, cy.on() as c:
            await acquainted(a, b, c)
        async with bo.on() as b:
            await trio.sleep(30)
            sent = await send(a, "cy", "of which bo knows nothing more")
            batching = b.engine._batching
            await batching._some.wait()
            batching._held.clear()  # as a crash would
            net.cut("ana", "bo")
        net.connect("ana", "bo")
        async with bo.on():
            await trio.sleep(1_800)  # its bringer does not hurry to show it again
            net.cut("ana", "bo")
            net.cut("ana", "cy")
            async with cy.on() as c:
                await trio.sleep(60)
                texts = [message.text for message in await history(c, "ana")]
                assert texts == ["of which bo knows nothing more"]
                net.connect("ana", "cy")
                await reached(a, sent)


async def test_a_locked_node_batches_too(four, autojump_clock):
    net, ana, bo, cy, _ = four
    bo.batching = True
    bo.carry_pass = bytes(range(32))
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b:
            await acquainted(a, b, c)
            await trio.sleep(30)
        net.cut("ana", "cy")
        net.cut("bo", "cy")
        async with bo.on_locked() as b:
            await trio.sleep(60)
            before = held(bo)
            await send(a, "cy", "by a locked friend")
            await b.engine._batching._some.wait()
            assert held(bo) == before
            await trio.sleep(2 * SPAN)
            assert held(bo) == before + 1
            net.connect("bo", "cy")
            await trio.sleep(120)
            assert [message.text for message in await history(c, "ana")] == ["by a locked friend"]


@pytest.mark.parametrize(("batching", "most"), [(True, 15), (False, 80)])
async def test_an_idle_node_on_a_card_keeps_its_clock_less_often(
    four, autojump_clock, batching, most
):
    """Each change of SQLite's change counter is a commit that wrote."""
    _, ana, *_ = four
    ana.batching = batching
    wrote = 0
    async with ana.on() as a:
        vault = ana.stores.vault.database
        original = a.engine.owner._commit

        def counted(batch: Any, now: Any) -> list[Outcome]:
            nonlocal wrote
            was = vault.value("SELECT total_changes()")
            outcomes = original(batch, now)
            wrote += vault.value("SELECT total_changes()") > was
            return outcomes

        a.engine.owner._commit = counted  # type: ignore[method-assign]
        await trio.sleep(3_600)
    assert most // 2 < wrote <= most


class Script:
    """Stands for the owner: keeps what it is asked, and answers with an error on a full disk."""

    def __init__(self) -> None:
        self.batches: list[list[Arrived]] = []
        self.full = False

    async def ask_all(self, wanted: list[Arrived]) -> list[Outcome]:
        await trio.lowlevel.checkpoint()
        self.batches.append(list(wanted))
        error = StoreFull("full") if self.full else None
        return [Outcome(None, error, ()) for _ in wanted]


def envelope(number: int) -> Arrived:
    return Arrived(1, None, None, 0, bytes([number]), later=True)


async def test_a_full_batch_waits_no_longer(nursery, autojump_clock):
    script, failed = Script(), []
    batching = Batching(script, lambda ask, error: failed.append(ask), on=True)  # type: ignore[arg-type]
    nursery.start_soon(batching.run)
    await trio.sleep(100)
    assert script.batches == []
    began = trio.current_time()
    for number in range(FULL):
        assert batching.room
        batching.hold(envelope(number))
    assert not batching.room
    while not script.batches:
        await trio.lowlevel.checkpoint()
    assert trio.current_time() == began
    assert [ask.raw[0] for ask in script.batches[0]] == list(range(FULL))
    assert not any(ask.later for ask in script.batches[0])
    batching.hold(envelope(1))
    await trio.sleep(SPAN + 0.1)
    assert len(script.batches) == 2
    assert failed == []


async def test_what_cannot_be_written_is_told_one_by_one(nursery, autojump_clock):
    script, failed = Script(), []
    script.full = True
    batching = Batching(script, lambda ask, error: failed.append(ask.raw), on=True)  # type: ignore[arg-type]
    nursery.start_soon(batching.run)
    batching.hold(envelope(1))
    batching.hold(envelope(2))
    await trio.sleep(SPAN + 0.1)
    assert failed == [bytes([1]), bytes([2])]


async def test_turned_off_nothing_waits(autojump_clock):
    batching = Batching(Script(), lambda ask, error: None, on=False)  # type: ignore[arg-type]
    assert not batching.room
