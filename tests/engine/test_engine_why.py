"""`why` tells of a message that waits how this node's own transports are."""

import pytest

from p2pnode import questions, schema
from p2pnode.spi.memory import MemoryNet
from tests.people import Person, pair, send, virtual_wall

GOES = "It goes out as soon as a path opens; lifetime 14 days."
DOWN = {"lan": "degraded (no network interface is up)", "tor": "starting (45 %)"}
AMISS = "lan is degraded (no network interface is up), tor is starting (45 %)"
WAYS = [
    ({"lan": "up"}, f". {GOES} Nothing for you to do."),
    (
        {"lan": "up", "tor": "degraded (no network)"},
        f". Here tor is degraded (no network). {GOES} Nothing for you to do.",
    ),
    (
        DOWN,
        f", and no transport is up here ({AMISS}): p2pnode doctor. {GOES}",
    ),
    ({}, f", and nothing by which nodes meet is on here: p2pnode doctor. {GOES}"),
]


@pytest.fixture
def two():
    net = MemoryNet()
    people = [Person(net, name) for name in ("ana", "bo")]
    yield people
    for person in people:
        person.close()


async def test_what_this_node_lacks_is_told_beside_when_the_contact_was_seen(two, autojump_clock):
    ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            assert await pair(a, b) == ["paired", "paired"]
        sent = await send(a, "bo", "power is out")
        told = await a.call(schema.Why(id=sent))
        seen, _, rest = told.summary.partition(".")
        assert rest == f" {GOES} Nothing for you to do."  # all that is on here is up
        for ways, end in WAYS:
            summary = questions.why(ana.stores, sent, frozenset(), virtual_wall(), ways).summary
            assert summary == seen + end
        reached = questions.why(ana.stores, sent, frozenset({contact(ana)}), 0, {})
        assert reached.summary == "bo is reachable; it is on its way."


def contact(person: Person) -> bytes:
    [row] = person.stores.vault.contacts.all()
    return row.id
