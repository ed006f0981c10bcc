"""Friends carry: envelopes reach people whose nodes never meet, and receipts come back."""

import trio

from p2pnode import schema
from p2pnode.protocol import limits
from p2pnode.spi.memory import MemoryNet
from tests.people import Person, history, pair, reached, send


async def acquainted(net: MemoryNet, a, b, c) -> None:
    """Make all three contacts, then part ana and cy for good."""
    for one, other in ((a, b), (b, c), (a, c)):
        assert await pair(one, other) == ["paired", "paired"]
    net.cut("ana", "cy")


async def test_a_friend_carries_between_two_who_never_meet(three, autojump_clock):
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await acquainted(net, a, b, c)
        net.cut("bo", "cy")
        sent = await send(a, "cy", "by way of bo")
        await trio.sleep(120)
        why = await a.call(schema.Why(id=sent))
        assert why.state == "handed"
        assert "With one carrier" in why.summary
        net.cut("ana", "bo")
        net.connect("bo", "cy")
        await trio.sleep(120)
        assert [message.text for message in await history(c, "ana")] == ["by way of bo"]
        assert await history(b, "ana") == []
        await trio.sleep(600)  # the receipt is late on purpose
        net.connect("ana", "bo")
        assert (await reached(a, sent)).state == "delivered"
        told = [event.kind for event in (await a.call(schema.Why(id=sent))).events]
        assert told == ["saved", "carried", "delivered-carried"]
        assert sum(node.engine.peers.rejected.total() for node in (a, b, c)) == 0


async def test_what_came_while_carrier_and_recipient_were_off_comes_once_and_in_order(
    three, autojump_clock
):
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b:
        async with cy.on() as c:
            await acquainted(net, a, b, c)
        texts = [f"text {number}" for number in range(150)]
        ids = [await send(a, "cy", text) for text in texts]
        await trio.sleep(300)
    async with bo.on() as b, cy.on() as c:
        await trio.sleep(300)
        assert [message.text for message in await history(c, "ana")] == texts
        await trio.sleep(600)
    async with bo.on() as b, cy.on() as c, ana.on() as a:
        for message in ids:
            assert (await reached(a, message)).state == "delivered"
        assert len(await history(c, "ana")) == len(texts)


async def test_after_a_long_absence_everything_a_friend_carries_opens(three, autojump_clock):
    """More than a session keeps keys for, and each exchange finds them in the order of hashes."""
    net, ana, bo, cy = three
    for person in (ana, bo, cy):
        person.carry_for("contacts", limit=100_000_000)
    async with ana.on() as a, bo.on() as b:
        async with cy.on() as c:
            await acquainted(net, a, b, c)
        for number in range(limits.MAX_SKIPPED + 500):
            await send(a, "cy", f"text {number}")
        await trio.sleep(600)
    async with bo.on(), cy.on() as c:
        await trio.sleep(600)
        found = await history(c, "ana", limit=1_000)
        assert [message.text for message in found] == [
            f"text {number}" for number in range(limits.MAX_SKIPPED - 500, limits.MAX_SKIPPED + 500)
        ]
        assert cy.stores.vault.database.value("SELECT count(*) FROM messages") == (
            limits.MAX_SKIPPED + 500
        )


async def test_the_recipient_carries_on_what_it_opened(three, autojump_clock):
    """Nobody can tell from what a node carries which of it was its own."""
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await acquainted(net, a, b, c)
        await reached(a, await send(a, "cy", "by way of bo"))
        await trio.sleep(1_200)
        held = [{id_ for _, id_ in person.stores.custody.ids(0, 100)} for person in (ana, bo, cy)]
        assert held[0] == held[1] == held[2]
        assert len(held[0]) >= 2  # the message and its receipt


async def test_a_message_to_somebody_present_needs_no_carrier(three, autojump_clock):
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await acquainted(net, a, b, c)
        for number in range(20):
            await reached(a, await send(a, "bo", f"direct {number}"))
        await trio.sleep(1_200)
        for person in (ana, bo, cy):
            assert person.stores.custody.count_bytes() == (0, 0)


async def test_who_carries_for_nobody_refuses_and_is_not_counted(three, autojump_clock):
    net, ana, bo, cy = three
    bo.carry_for("nobody")
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await acquainted(net, a, b, c)
        sent = await send(a, "cy", "no way")
        await trio.sleep(1_200)
        assert (await a.call(schema.Why(id=sent))).state == "queued"
        assert bo.stores.custody.count_bytes() == (0, 0)
        assert await history(c, "ana") == []


async def test_a_mutual_scan_completes_by_a_friend(three, autojump_clock):
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        assert await pair(a, b) == ["paired", "paired"]
        assert await pair(b, c) == ["paired", "paired"]
        net.cut("ana", "cy")
        mine = await a.call(schema.ShowCode(mutual=True))
        theirs = await c.call(schema.ShowCode(mutual=True))
        await a.call(schema.JoinCode(uri=theirs.uri, pairing=mine.pairing, petname="cy"))
        await c.call(schema.JoinCode(uri=mine.uri, pairing=theirs.pairing, petname="ana"))
        sent = await send(a, "cy", "written before the keys were here")
        assert (await reached(a, sent)).state == "delivered"
        assert [message.text for message in await history(c, "ana")] == [
            "written before the keys were here"
        ]


async def test_a_node_that_has_no_room_for_others_runs_on(autojump_clock):
    net = MemoryNet()
    ana = Person(net, "ana")
    ana.carry_for("contacts", 0)
    async with ana.on() as a:
        await trio.sleep(600)  # some upkeep later
        assert (await a.call(schema.GetStatus())).custody.limit == 0
    ana.close()


async def test_carriers_get_nothing_for_somebody_who_was_blocked_until_he_is_let_in(
    three, autojump_clock
):
    net, ana, bo, cy = three
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b:
            await acquainted(net, a, b, c)
        waiting = await send(a, "cy", "before the block")  # nobody is here to carry it
        await a.call(schema.BlockContact("cy"))
        async with bo.on() as b:
            after = await send(a, "bo", "goes all the same")
            await reached(a, after)
            await trio.sleep(3_600)
            why = await a.call(schema.Why(id=waiting))
            assert why.state == "queued"
            assert "blocked" in why.summary
            assert await history(c, "ana") == []
            await a.call(schema.BlockContact("cy", blocked=False))
            await trio.sleep(3_600)
            assert [one.text for one in await history(c, "ana")] == ["before the block"]
            assert (await reached(a, waiting)).state == "delivered"


async def test_carriers_get_nothing_for_a_contact_in_doubt_until_its_person_was_met(
    three, autojump_clock
):
    net, ana, bo, cy = three
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b:
            await acquainted(net, a, b, c)
        waiting = await send(a, "cy", "before the doubt")  # nobody is here to carry it
        await a.call(schema.VerifyContact("cy", matches=False))
        async with bo.on() as b:
            await reached(a, await send(a, "bo", "goes all the same"))
            await trio.sleep(3_600)
            why = await a.call(schema.Why(id=waiting))
            assert (why.state, why.summary[:9]) == ("queued", "Held back")
            assert await history(c, "ana") == []
            await a.call(schema.VerifyContact("cy", matches=True))
            await trio.sleep(3_600)
            assert [one.text for one in await history(c, "ana")] == ["before the doubt"]
            assert (await reached(a, waiting)).state == "delivered"
