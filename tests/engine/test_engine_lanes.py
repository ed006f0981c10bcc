"""Lanes: what a contact is told of addresses, when they change, and when the old ones end."""

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import InvalidInput, UnknownContact
from p2pnode.spi.memory import MemoryNet
from p2pnode.turns import asks
from tests.people import Person, pair, reached, send


@pytest.fixture
def two():
    net = MemoryNet()
    people = Person(net, "ana"), Person(net, "bo")
    yield net, *people
    for person in people:
        person.close()


def lanes(person: Person) -> list[bytes]:
    return [row.lane for row in person.stores.vault.lanes.all()]


async def test_a_lane_is_replaced_once_the_contact_has_the_new_addresses(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await trio.sleep(5)
        [first] = lanes(ana)
        await a.call(schema.RotateAddress(contact="bo"))
        await trio.sleep(5)
        [second] = lanes(ana)
        assert second != first
        net.cut("ana", "bo")
        await trio.sleep(60)
        await a.call(schema.RotateAddress(contact="bo"))
        await a.call(schema.RotateAddress(contact="bo"))
        await trio.sleep(600)
        assert lanes(ana)[0] == second  # it serves until bo has the new one
        assert len(lanes(ana)) == 3
        net.connect("ana", "bo")
        await trio.sleep(60)
        [last] = lanes(ana)
        assert last not in (first, second)
        await reached(a, await send(a, "bo", "still here"))
        assert sum(node.engine.peers.rejected.total() for node in (a, b)) == 0


async def test_a_removed_contact_has_no_lane_left(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        net.cut("ana", "bo")
        await a.call(schema.RotateAddress(contact="bo"))
        await a.call(schema.RemoveContact(contact="bo"))
        assert lanes(ana) == []
        with pytest.raises(UnknownContact):
            await a.call(schema.RotateAddress(contact="bo"))


async def test_nothing_ends_for_a_lane_nobody_was_told(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        net.cut("ana", "bo")
        await trio.sleep(60)
        [device] = ana.stores.vault.devices.all()
        await a.call(schema.RotateAddress(contact="bo"))
        before = lanes(ana)
        await a.engine.owner.ask(asks.LaneKept(device.id, b"another lane"))
        await a.engine.owner.ask(asks.LaneKept(device.id, before[0]))
        assert lanes(ana) == before


async def test_a_pending_contact_has_no_addresses_to_change(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        mine = await a.call(schema.ShowCode(mutual=True))
        theirs = await b.call(schema.ShowCode(mutual=True))
        await a.call(schema.JoinCode(uri=theirs.uri, pairing=mine.pairing, petname="bo"))
        with pytest.raises(InvalidInput, match="not paired"):
            await a.call(schema.RotateAddress(contact="bo"))
