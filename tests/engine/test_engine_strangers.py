"""Strangers: nothing for nothing, little for work, and never at the cost of contacts."""

import pytest
import trio

from p2pnode import schema
from p2pnode.engine import link_task, trade
from p2pnode.errors import RemoteError
from p2pnode.protocol import custody
from p2pnode.protocol.link import work
from p2pnode.protocol.link.messages import Accepted, Credit, EnvelopeOut, Hello, Work
from p2pnode.spi.memory import MemoryNet
from tests.people import Person, history, pair, send


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """Proofs that take no time: what they cost is tested once, below."""
    monkeypatch.setattr(work, "WORK_BITS", 1)
    monkeypatch.setattr(work, "WORK_MEMORY", 64 * 1024)


@pytest.fixture
def crowd():
    net = MemoryNet()
    people = [Person(net, name) for name in ("ana", "bo", "cy", "zoe")]
    yield net, *people
    for person in people:
        assert not person.stores.vault.database.check()
        assert not person.stores.custody.database.check()
        person.close()


async def test_a_message_travels_by_somebody_nobody_knows(crowd, autojump_clock):
    net, ana, _, cy, zoe = crowd
    for person in (ana, cy, zoe):
        person.carry_for("everyone")
    net.cut("ana", "zoe")
    net.cut("cy", "zoe")
    async with ana.on() as a, cy.on() as c:
        assert await pair(a, c) == ["paired", "paired"]
    async with ana.on() as a, zoe.on() as z:
        await send(a, "cy", "by a stranger")
        await trio.sleep(2 * 3_600)  # strangers come late
        net.connect("ana", "zoe")
        await trio.sleep(600)
        assert z.engine.peers.rejected.total() == 0
        assert (await z.call(schema.GetStatus())).custody.strangers > 0
    async with cy.on() as c, zoe.on() as z:
        await trio.sleep(2 * 3_600)
        net.connect("cy", "zoe")
        await trio.sleep(600)
        assert [message.text for message in await history(c, "ana")] == ["by a stranger"]
        assert {link.kind for link in (await c.call(schema.GetStatus())).links} <= {"stranger"}


@pytest.mark.parametrize("who", ["contacts", "nobody"])
async def test_by_default_strangers_get_and_give_nothing(crowd, autojump_clock, who):
    _, ana, _, _, zoe = crowd
    zoe.carry_for("everyone")
    ana.carry_for(who)
    async with ana.on() as a, zoe.on() as z:
        await trio.sleep(3 * 3_600)
        for node in (a, z):
            status = await node.call(schema.GetStatus())
            assert status.custody.count == 0
            assert status.rejected == {}


class Link:
    """Stands in for a link's surroundings."""

    def __init__(self):
        self.sent = []
        self.asked = []
        self.stays = 0.0

    async def send(self, message):
        self.sent.append(message)

    async def post(self, ask):
        self.asked.append(ask)

    async def ask(self, ask):
        self.asked.append(ask)
        return ()


def traded(link, person, *, carries=True, handshake=b"h" * 64):
    """Return a Trade on the responding side."""
    return trade.Trade(
        7,
        link,
        trade.Workshop(person.entropy, inline=True),
        link,
        person.random,
        handshake=handshake,
        initiator=False,
        carries=carries,
        longer=lambda seconds: setattr(link, "stays", seconds),
    )


def proof(handshake=b"h" * 64, *, initiator=True, good=True):
    """Return a nonce that is a proof, or is none."""
    nonces = (number.to_bytes(16) for number in range(10_000))
    return next(
        one for one in nonces if work.proves(one, handshake=handshake, initiator=initiator) == good
    )


ENVELOPE = EnvelopeOut(0, bytes(4_096))


async def refused(part, message):
    with pytest.raises(RemoteError) as caught:
        await part.receive(message)
    return caught.value.reason


async def test_nothing_is_taken_without_work(crowd, autojump_clock):
    part = traded(Link(), crowd[1])
    assert await refused(part, ENVELOPE) == "no-credit"


async def test_a_proof_buys_so_many_and_no_more(crowd, autojump_clock):
    link = Link()
    part = traded(link, crowd[1])
    await part.receive(Work(proof()))
    assert link.sent == [Credit(work.BOUGHT)]
    assert link.stays == trade.LONGER
    for _ in range(work.BOUGHT):
        await part.receive(ENVELOPE)
    assert len(link.asked) == work.BOUGHT
    assert await refused(part, ENVELOPE) == "no-credit"


async def test_proofs_end_with_the_last_one_allowed(crowd, autojump_clock):
    part = traded(Link(), crowd[1])
    for _ in range(work.MAX_PROOFS):
        await part.receive(Work(proof()))
    assert await refused(part, Work(proof())) == "unwanted-work"


async def test_a_bad_proof_ends_the_link(crowd, autojump_clock):
    part = traded(Link(), crowd[1])
    assert await refused(part, Work(proof(good=False))) == "bad-work"


async def test_a_proof_is_good_on_its_own_link_and_for_its_own_side(crowd, autojump_clock):
    for nonce in (
        next(
            one
            for one in (number.to_bytes(16) for number in range(10_000))
            if work.proves(one, handshake=b"x" * 64, initiator=True)
            and not work.proves(one, handshake=b"h" * 64, initiator=True)
        ),
        next(
            one
            for one in (number.to_bytes(16) for number in range(10_000))
            if work.proves(one, handshake=b"h" * 64, initiator=False)
            and not work.proves(one, handshake=b"h" * 64, initiator=True)
        ),
    ):
        assert await refused(traded(Link(), crowd[1]), Work(nonce)) == "bad-work"


async def test_who_does_not_carry_for_everyone_wants_no_work(crowd, autojump_clock):
    part = traded(Link(), crowd[1], carries=False)
    assert await refused(part, Work(proof())) == "unwanted-work"


async def test_nobody_works_for_who_does_not_say_that_it_carries(crowd, autojump_clock):
    link = Link()
    part = traded(link, crowd[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(part.give)
        await part.receive(Hello(1, 0, ()))
        await part.receive(Accepted((b"i" * 32,)))
        await trio.sleep(3_600)
        assert link.asked == []
        nursery.cancel_scope.cancel()


async def test_checking_rests_in_between(crowd, autojump_clock, monkeypatch):
    """However many come, checking takes its share of one processor and no more."""
    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr(trade, "perf_counter", lambda: float(next(clock)))  # each check: 2 s
    workshop = trade.Workshop(crowd[1].entropy, inline=True)
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(
                lambda number=number: workshop.proves(bytes([number]) * 16, b"h", initiator=True)
            )
    assert trio.current_time() - before == pytest.approx(5 * 2 * (1 / trade.CHECKING - 1))


async def test_strangers_do_not_take_the_places_of_contacts(autojump_clock):
    net = MemoryNet()
    bo = Person(net, "bo")
    ana = Person(net, "ana")
    strangers = [Person(net, f"s{number}") for number in range(link_task.MAX_STRANGERS + 6)]
    async with trio.open_nursery() as nursery:
        async with bo.on() as b, ana.on() as a:
            assert await pair(a, b) == ["paired", "paired"]

            async def stay(person):
                async with person.on():
                    await trio.sleep_forever()

            for person in strangers:
                nursery.start_soon(stay, person)
            for _ in range(40):
                await trio.sleep(5)
                kinds = [link.kind for link in (await b.call(schema.GetStatus())).links]
                assert kinds.count("contact") == 1
                assert kinds.count("stranger") <= link_task.MAX_STRANGERS
        nursery.cancel_scope.cancel()
    for person in (ana, bo, *strangers):
        person.close()


async def test_strangers_see_the_same_few_for_some_hours(crowd, autojump_clock, monkeypatch):
    monkeypatch.setattr(custody, "STRANGERS_SEE", 20)
    from p2pnode.turns import asks, carry
    from p2pnode.turns.commit import commit
    from p2pnode.turns.moment import Moment

    monkeypatch.setattr(carry, "STRANGERS_SEE", 20)
    person = crowd[1]
    store = person.stores.custody
    with store.transaction():
        for _ in range(200):
            store.put(person.entropy.take(32), bytes(16), bytes(4_096), 3, 0, b"somebody", 1_000)

    def seen(now):
        [outcome] = commit(person.stores, [asks.ForStrangers()], Moment(now, now), person.entropy)
        return set(outcome.answer)

    with store.transaction():
        store.expire(1_000 + 3_000)
    assert seen(4_000) == set()  # too fresh
    with store.transaction():
        store.expire(1_000 + 3_600)
    first = seen(custody.STRANGERS_EPOCH)
    assert len(first) == 20
    assert seen(2 * custody.STRANGERS_EPOCH - 1) == first
    assert seen(2 * custody.STRANGERS_EPOCH) != first
