"""Messages between whole nodes: absences, breaks, rollbacks, blocks, removal."""

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import LocalError, NotDelivered, UntrustedKey
from p2pnode.ids import DeviceId
from p2pnode.protocol import limits
from tests.people import Person, history, pair, reached, send


def links(person: Person) -> list:
    assert person.node is not None
    return [link for link in person.node.engine.peers.links.values() if link.established]


async def test_what_is_written_to_an_absent_one_waits(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        ids = [await send(a, "bo", f"text {number}") for number in range(300)]
        with pytest.raises(NotDelivered):
            await a.call(schema.WaitState(id=ids[0], timeout=5))
        async with bo.on() as b:
            for message in ids:
                assert (await reached(a, message)).state == "delivered"
            got = [message.text for message in await history(b, "ana")]
            assert got == [f"text {number}" for number in range(300)]


async def test_a_sender_that_ends_sends_after_its_return(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
    async with ana.on() as a:
        message = await send(a, "bo", "kept")
    async with ana.on() as a, bo.on() as b:
        assert (await reached(a, message)).state == "delivered"
        assert len(await history(b, "ana")) == 1


async def test_a_silent_cut_is_noticed_and_healed(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
        net.cut("ana", "bo", silent=True)
        lost = await send(a, "bo", "into the void")
        await trio.sleep(2 * limits.DEAD_AFTER)
        assert links(ana) == links(bo) == []
        net.connect("ana", "bo")
        assert (await reached(a, lost)).state == "delivered"
        assert [message.text for message in await history(b, "ana")] == ["one", "into the void"]


async def test_both_dial_and_one_link_stays(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await trio.sleep(120)
        assert len(links(ana)) == len(links(bo)) == 1
        assert links(ana)[0].device is not None


async def test_a_message_expires_and_says_so(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        sent = await a.call(schema.Send(to="bo", text="short-lived", lifetime=0))
        await trio.sleep(limits.LIFETIMES[0] + 200)
        because = await a.call(schema.Why(id=sent.id))
        assert because.state == "expired"
        async with bo.on() as b:
            await trio.sleep(60)
            assert await history(b, "ana") == []


async def test_events_wait_for_a_consumer_and_come_until_acknowledged(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "while nobody listened"))
    async with bo.on() as b:
        for _ in range(2):
            events = (await b.call(schema.TakeEvents(consumer="c"))).events
            texts = [event.message.text for event in events if event.kind == "message.received"]
            assert texts == ["while nobody listened"]
        await b.call(schema.AckEvents(consumer="c", cursor=events[-1].cursor))
        assert (await b.call(schema.TakeEvents(consumer="c"))).events == []
        other = await b.call(schema.TakeEvents(consumer="d"))
        assert len(other.events) == len(events)


async def test_a_blocked_contact_is_a_stranger(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await b.call(schema.BlockContact(contact="ana"))
        message = await send(a, "bo", "hello?")
        await trio.sleep(60)
        assert (await history(b, "ana")) == []
        with pytest.raises(UntrustedKey):
            await send(b, "ana", "no")
        await b.call(schema.BlockContact(contact="ana", blocked=False))
        assert (await reached(a, message)).state == "delivered"


async def test_a_removed_contact_leaves_nothing_and_cannot_come_back(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "canary"))
        await b.call(schema.RemoveContact(contact="ana"))
        vault = bo.stores.vault
        left = {
            table: vault.database.value(f"SELECT count(*) FROM {table}")
            for owner in vault.owners
            for table in owner.TABLES
        }
        kept = {table for table, count in left.items() if count}
        assert kept <= {"meta", "identity", "opened"}, left
        # Envelopes that must not come back are known by their ids alone.
        assert vault.database.rows("SELECT device, refused FROM opened") == [(b"", 1)]
        await trio.sleep(60)
        with pytest.raises(NotDelivered):
            await a.call(schema.WaitState(id=await send(a, "bo", "again"), timeout=60))


@pytest.mark.parametrize("lasts", [True, False])
async def test_what_another_link_was_to_bring_is_offered_again(two, lasts, autojump_clock):
    """It may end before it has brought anything, or simply never bring it."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        message = await send(a, "bo", "asked of another")
        [envelope] = [id_ for _, id_ in ana.stores.vault.outbox.for_device(only_device(ana), 0, 10)]
        async with bo.on() as b:
            b.engine._asked.fresh([envelope], 1_000, trio.current_time())
            if not lasts:
                b.engine._asked.forget(1_000)
            with trio.fail_after(60 if lasts else 5):
                assert (await reached(a, message)).state == "delivered"


def only_device(person: Person) -> DeviceId:
    [device] = person.stores.vault.devices.all()
    return device.id


async def test_a_flood_of_junk_ends_its_link_and_nothing_else(two, autojump_clock):
    from p2pnode.protocol.link.messages import EnvelopeOut

    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "before"))
        link = next(iter(a.engine.peers.by_device.values()))
        for number in range(200):
            link.outgoing.try_send(EnvelopeOut(0, bytes([number]) + b"\xff" * 4095))
        assert (await reached(a, await send(a, "bo", "after"))).state == "delivered"
        assert sum(b.engine.peers.rejected.values()) >= 64
        assert "internal-error" not in b.engine.peers.rejected


async def test_sending_to_nobody_and_too_much_is_refused(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        with pytest.raises(LocalError, match="no contact"):
            await send(a, "boo", "x")
        for size in (0, 1, limits.MAX_TEXT):
            await reached(a, await send(a, "bo", "x" * size))
        with pytest.raises(LocalError, match="longer"):
            await send(a, "bo", "x" * (limits.MAX_TEXT + 1))
        assert [len(message.text) for message in await history(b, "ana")] == [0, 1, limits.MAX_TEXT]
