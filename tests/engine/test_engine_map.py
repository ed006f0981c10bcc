"""Meetings are counted by day and transport, kept for a month, and go with their contact."""

import trio

from p2pnode import schema
from p2pnode.spi.memory import MemoryNet
from p2pnode.store.meetings import DAY, KEPT_DAYS
from tests.people import Person, pair, reached, send

HOUR = 3_600.0


async def seen(node) -> dict[str, list[tuple[str, dict[int, int]]]]:
    """Return contact → (transport, days ago → links)."""
    found = await node.call(schema.GetMap())
    assert (found.name, found.days) == ("ana", KEPT_DAYS)
    return {
        place.peer.name: [
            (met.transport, {29 - at: count for at, count in enumerate(met.days) if count})
            for met in place.met
        ]
        for place in found.places
    }


async def test_meetings_are_counted_kept_for_a_month_and_forgotten(autojump_clock):
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    kept = ana.stores.vault.meetings
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "hello"))
        assert (await a.call(schema.GetPeers())).peers[0].encounters == 1
        [(transport, days)] = (await seen(a))["bo"]
        assert transport == ana.transport.name
        first = days[0]
    await trio.sleep(3 * DAY)  # both are off, which counts
    async with ana.on() as a, bo.on() as b:
        await reached(b, await send(b, "ana", "again"))
        [(_, days)] = (await seen(a))["bo"]
        assert set(days) == {0, 3}
        assert days[3] == first
        exported = ana.stores.vault.export()["meetings"]
        assert [one["count"] for one in exported] == [days[3], days[0]]
    await trio.sleep(27 * DAY)
    async with ana.on() as a:
        assert (await seen(a))["bo"] == [(transport, {27: days[0]})]
        await trio.sleep(600)  # upkeep comes by
        assert len(kept.all()) == 1
    await trio.sleep(3 * DAY)
    async with ana.on() as a:
        assert await seen(a) == {"bo": []}
        await trio.sleep(600)
        assert kept.all() == []
        async with bo.on() as b:
            await reached(b, await send(b, "ana", "once more"))
        assert kept.all()
        await a.call(schema.RemoveContact(contact="bo"))
        assert kept.all() == []
        assert await seen(a) == {}
    ana.close()
    bo.close()


async def test_a_locked_friend_is_met_too(autojump_clock):
    net = MemoryNet()
    ana, box = Person(net, "ana"), Person(net, "box")
    box.carry_pass = bytes(range(32))
    async with ana.on() as a:
        async with box.on() as b:
            await pair(a, b)
            await reached(a, await send(a, "box", "hello"))
        before = sum((await seen(a))["box"][0][1].values())
        await trio.sleep(60)
        async with box.on_locked():
            await trio.sleep(HOUR)
            place = (await a.call(schema.GetMap())).places[0]
            assert place.peer.locked
            assert sum(place.met[0].days) > before
    ana.close()
    box.close()
