"""Delivered-tokens: carriers let go of what has come, where its author wants them to know."""

import dataclasses

import trio

from p2pnode.turns import asks
from p2pnode.turns.commit import commit
from p2pnode.turns.effects import Charge
from p2pnode.turns.moment import Moment
from tests.people import pair, reached, send


async def story(net, ana, bo, cy, a, b, c) -> None:
    """Let ana write to cy by way of bo, and learn that it came."""
    for one, other in ((a, b), (b, c), (a, c)):
        assert await pair(one, other) == ["paired", "paired"]
    net.cut("ana", "cy")
    sent = await send(a, "cy", "by way of bo")
    assert (await reached(a, sent)).state == "delivered"
    await trio.sleep(3_000)
    assert all(person.stores.custody.count_bytes()[0] >= 2 for person in (ana, bo, cy))


async def test_what_has_come_goes_from_all_carriers_hours_later(three, autojump_clock):
    net, ana, bo, cy = three
    for person in three[1:]:
        person.stores = dataclasses.replace(person.stores, tokens=True)
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await story(net, ana, bo, cy, a, b, c)
        # Not before an hour has passed.
        query = "SELECT id FROM envelopes WHERE token IS NOT NULL"
        assert not ana.stores.custody.database.rows(query)
        await trio.sleep(14 * 3_600)
        # The receipt goes on: receipts get no receipts, so its author does not know that it came.
        [(message,)] = ana.stores.custody.database.rows(query)
        for person in (ana, bo, cy):
            assert person.stores.custody.get(message) is None
            assert person.stores.custody.has(message)
        assert sum(node.engine.peers.rejected.total() for node in (a, b, c)) == 0


async def test_nobody_is_told_unless_the_person_wants_it(three, autojump_clock):
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await story(net, ana, bo, cy, a, b, c)
        await trio.sleep(14 * 3_600)
        assert bo.stores.custody.count_bytes()[0] >= 2


async def test_a_wrong_token_is_charged_and_changes_nothing(three, autojump_clock):
    net, ana, bo, cy = three
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await story(net, ana, bo, cy, a, b, c)
    held = [envelope for _, envelope in bo.stores.custody.ids(0, 10)]
    ask = asks.HaveCome(5, tuple((one, b"not the token...") for one in [*held, b"x" * 32]))
    [outcome] = commit(bo.stores, [ask], Moment(10**6, 10**9), bo.entropy)
    assert outcome.effects == tuple(Charge(5, "bad-delivered-token") for _ in held)
    assert [envelope for _, envelope in bo.stores.custody.ids(0, 10)] == held
