"""A node whose vault is locked carries for its friends, and opens what came once it is unlocked."""

from itertools import pairwise

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import ChannelClosed, VaultLocked
from p2pnode.plugins import while_locked
from p2pnode.spi.memory import MemoryCourier, MemoryNet, MemoryTransport
from p2pnode.spi.transport import Address
from tests.people import Person, history, pair, reached, send


@pytest.fixture
def four():
    net = MemoryNet()
    people = [Person(net, name) for name in ("ana", "bo", "cy", "dee")]
    for number, person in enumerate(people, 1):
        person.carry_pass = bytes([number]) * 32
    yield net, *people
    for person in people:
        assert not person.stores.vault.database.check()
        assert not person.stores.custody.database.check()
        person.close()


async def acquainted(*nodes) -> None:
    for one, other in pairwise(nodes):
        assert await pair(one, other) == ["paired", "paired"]


async def test_a_locked_node_carries_between_friends(four, autojump_clock):
    net, ana, bo, cy, _ = four
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b:
            await acquainted(a, b, c)
            assert await pair(a, c) == ["paired", "paired"]
            await trio.sleep(30)
        net.cut("ana", "cy")
        net.cut("bo", "cy")
        async with bo.on_locked() as b:
            sent = await send(a, "cy", "by way of a locked box")
            await trio.sleep(120)
            told = await a.call(schema.Why(id=sent))
            assert told.state == "handed"
            assert "one carrier (bo)" in told.summary
            status = await b.call(schema.GetStatus())
            assert status.locked
            assert [link.kind for link in status.links] == ["friend"]
            assert [link.kind for link in (await a.call(schema.GetStatus())).links] == ["carrier"]
            [bo_now] = [one for one in (await a.call(schema.GetPeers())).peers if one.name == "bo"]
            assert (bo_now.over, bo_now.locked, bo_now.carrying) == ("memory", True, 1)
            net.cut("ana", "bo")
            net.connect("bo", "cy")
            await trio.sleep(120)
            assert [message.text for message in await history(c, "ana")] == [
                "by way of a locked box"
            ]
            await trio.sleep(600)  # the receipt is late on purpose
            net.connect("ana", "bo")
            assert (await reached(a, sent)).state == "delivered"
            assert sum(node.engine.peers.rejected.total() for node in (a, b, c)) == 0


async def test_unlocking_opens_what_came_meanwhile(four, autojump_clock):
    net, ana, bo, cy, _ = four
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b:
            await acquainted(a, b, c)
            await trio.sleep(30)
        texts = [f"text {number}" for number in range(150)]
        async with bo.on_locked() as locked:
            ids = [await send(a, "bo", text) for text in texts]
            await trio.sleep(300)
            # It took them as any carrier does, so nothing says that they have come.
            assert {(await a.call(schema.Why(id=one))).state for one in ids} == {"handed"}
            assert (await locked.call(schema.GetStatus())).custody.count >= len(texts)
            with pytest.raises(VaultLocked, match="only carries"):
                await locked.call(schema.GetHistory(contact="ana"))
        net.cut("ana", "bo")
        net.cut("bo", "cy")
        async with bo.on() as b:
            await trio.sleep(1)
            assert [message.text for message in await history(b, "ana")] == texts
            net.connect("ana", "bo")
            for one in ids:
                assert (await reached(a, one)).state == "delivered"
            assert len(await history(b, "ana")) == len(texts)


async def test_switched_off_while_opening_what_came_it_loses_nothing(four, autojump_clock):
    net, ana, bo, _, _ = four
    async with ana.on() as a:
        async with bo.on() as b:
            assert await pair(a, b) == ["paired", "paired"]
            await trio.sleep(30)
        async with bo.on_locked():
            for number in range(5):
                await send(a, "bo", f"text {number}")
            await trio.sleep(120)
        async with bo.on() as b:
            pass  # switched off again at once, perhaps before anything was opened
        net.cut("ana", "bo")
        async with bo.on() as b:
            await trio.sleep(1)
            assert len(await history(b, "ana")) == 5


async def test_a_stranger_does_not_know_a_locked_node_and_it_takes_nothing_from_one(
    four, autojump_clock
):
    _, ana, bo, _, dee = four
    async with ana.on() as a, dee.on() as d:
        async with bo.on() as b:
            await acquainted(a, b)
            assert await pair(a, d) == ["paired", "paired"]
            await trio.sleep(30)
        async with bo.on_locked() as b:
            await trio.sleep(60)
            kinds = sorted(link.kind for link in (await b.call(schema.GetStatus())).links)
            assert kinds in (["friend"], ["friend", "stranger"])
            [seen] = [
                link.kind
                for link in (await d.call(schema.GetStatus())).links
                if link.contact != "ana"
            ] or ["stranger"]
            assert seen == "stranger"


async def test_a_contact_that_is_blocked_is_a_stranger_to_a_locked_friend(four, autojump_clock):
    _, ana, bo, _, _ = four
    async with ana.on() as a:
        async with bo.on() as b:
            await acquainted(a, b)
            await trio.sleep(30)
        await a.call(schema.BlockContact(contact="bo"))
        async with bo.on_locked() as b:
            await trio.sleep(60)
            assert all(link.kind == "stranger" for link in (await b.call(schema.GetStatus())).links)


async def test_a_new_pass_replaces_the_old_one(four, autojump_clock):
    _, ana, bo, _, _ = four
    async with ana.on() as a:
        async with bo.on() as b:
            await acquainted(a, b)
            await trio.sleep(30)
        old, bo.carry_pass = bo.carry_pass, b"n" * 32
        async with bo.on():
            await trio.sleep(60)
        async with bo.on_locked() as b:
            await trio.sleep(60)
            assert [one.kind for one in (await a.call(schema.GetStatus())).links] == ["carrier"]
        bo.carry_pass = old  # a thief of the older disk
        async with bo.on_locked() as b:
            await trio.sleep(60)
            links = (await a.call(schema.GetStatus())).links
            assert "carrier" not in [one.kind for one in links]


class Afar(MemoryTransport):
    """A medium on which nobody meets by chance."""

    name = "afar"
    near = False


async def test_a_medium_on_which_nobody_meets_by_chance_rests_while_locked(four, autojump_clock):
    net, ana, *_ = four
    afar = Afar(net, net.transport("ana afar")._node)
    stick = MemoryCourier({})
    kept = while_locked([ana.transport, afar, stick])
    assert kept[::2] == [ana.transport, stick]
    [resting] = kept[1:2]
    ana.transport, ana.couriers = kept[0], kept[1:]
    async with ana.on_locked() as node:
        assert (await node.call(schema.GetReady(timeout=1))).ready
        status = await node.call(schema.GetStatus())
        assert status.transports["memory"].state == "up"
        told = status.transports["afar"]
        assert (told.state, told.detail) == ("off", "needs the open vault")
        with pytest.raises(ChannelClosed):
            await resting.dial(Address(b"somebody"))
        found = (await node.call(schema.Diagnose())).findings
        [line] = [one for one in found if one.area == "afar"]
        assert (line.result, line.fix) == ("skip", "p2pnode unlock")
