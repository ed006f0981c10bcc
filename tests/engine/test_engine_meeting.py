"""Pairing with somebody far away: the code names a place, which is served and sought meanwhile."""

from hashlib import sha3_256

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import InvalidInput
from p2pnode.protocol import limits
from p2pnode.protocol.pairing.code import uri_untrusted
from p2pnode.spi.memory import MemoryNet
from p2pnode.spi.transport import Address
from tests.people import Person, pair

PUBLIC = b"public key of an onion service !"
ONION = PUBLIC + sha3_256(b".onion checksum" + PUBLIC + b"\x03").digest()[:2] + b"\x03"


def afar(person: Person, other: str, served: list, sought: list) -> None:
    """Let a transport in memory serve places for codes, like onions."""
    transport = person.transport
    honest_dial, honest_revoke = transport.dial, transport.revoke

    async def meet(lane):
        await trio.lowlevel.checkpoint()
        served.append(lane)
        return ONION

    async def revoke(lane):
        if lane in served:
            served.remove(lane)
        await honest_revoke(lane)

    async def dial(address, lane=None):
        if bytes(address) == ONION:
            sought.append(lane)
            person.net.connect(person.name, other)
            address = Address(other.encode())
        return await honest_dial(address, lane)

    transport.codes = True
    transport.meet, transport.revoke, transport.dial = meet, revoke, dial


async def test_two_who_are_not_near_pair_by_a_place_in_the_code(autojump_clock):
    net = MemoryNet(together=False)
    ana, bo = Person(net, "ana"), Person(net, "bo")
    served, sought = [], []
    afar(ana, "bo", served, [])
    afar(bo, "ana", [], sought)
    async with ana.on() as a, bo.on() as b:
        await a.call(schema.GetReady(timeout=10))
        shown = await a.call(schema.ShowCode(remote=True))
        assert uri_untrusted(shown.uri).onion == ONION
        assert len(served) == 1
        joined = await b.call(schema.JoinCode(uri=shown.uri))
        for node, pairing in ((a, shown), (b, joined)):
            step = await node.call(schema.NextStep(pairing=pairing.pairing, timeout=60))
            assert step.event == "compare"
        assert sought
        for node, pairing in ((a, shown), (b, joined)):
            await node.call(schema.AnswerPairing(pairing=pairing.pairing, yes=True))
        await trio.sleep(10)
        assert len((await a.call(schema.ListContacts())).contacts) == 1
        assert len(served) == 1  # whoever comes once more is told other addresses
        await trio.sleep(700)
        assert served == []
        net.cut("ana", "bo")
        sought.clear()
        await trio.sleep(3_600)
        assert sought == []
    ana.close()
    bo.close()


async def test_a_code_that_is_void_serves_and_seeks_nothing(autojump_clock):
    net = MemoryNet(together=False)
    ana = Person(net, "ana")
    served = []
    afar(ana, "bo", served, [])
    async with ana.on() as a:
        await a.call(schema.GetReady(timeout=10))
        shown = await a.call(schema.ShowCode(remote=True))
        await a.call(schema.CancelPairing(pairing=shown.pairing))
        await trio.sleep(1)
        assert served == []
        await a.call(schema.ShowCode(remote=True))
        await trio.sleep(700)
        assert served == []
    ana.close()


async def test_one_that_is_not_up_yet_is_waited_for(autojump_clock):
    ana = Person(MemoryNet(), "ana")
    served: list = []
    afar(ana, "bo", served, [])
    hosts, honest_run = [], ana.transport.run

    async def run(host, *, task_status):
        hosts.append(host)
        await honest_run(host, task_status=task_status)

    ana.transport.run = run
    async with ana.on() as a:
        await a.call(schema.GetReady(timeout=10))
        hosts[0].report("starting", "45 %")
        for patience in (0, 30):
            with pytest.raises(InvalidInput) as told:
                await a.call(schema.ShowCode(remote=True, timeout=patience))
            assert told.value.why == "memory is starting, 45 %"
        shown = []

        async def show():
            shown.append(await a.call(schema.ShowCode(remote=True, timeout=60)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            await trio.sleep(50)
            assert shown == []
            hosts[0].report("up")
        assert uri_untrusted(shown[0].uri).onion == ONION
    ana.close()


async def test_without_such_a_transport_it_is_told_in_words(autojump_clock):
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    async with ana.on() as a, bo.on() as b:
        with pytest.raises(InvalidInput, match="from afar") as told:
            await a.call(schema.ShowCode(remote=True, timeout=60))
        assert "turned on" in told.value.why
        assert await pair(a, b) == ["paired", "paired"]
    ana.close()
    bo.close()


async def test_a_code_nobody_waits_for_any_more_and_one_too_many_serve_nothing(autojump_clock):
    net = MemoryNet(together=False)
    ana = Person(net, "ana")
    served, refused = [], []
    afar(ana, "bo", served, [])
    honest_meet = ana.transport.meet

    async def slow_meet(lane):
        place = await honest_meet(lane)
        await trio.sleep(5)
        return place

    ana.transport.meet = slow_meet
    async with ana.on() as a:
        await a.call(schema.GetReady(timeout=10))
        with trio.move_on_after(2):  # Ctrl-C while it waits
            await a.call(schema.ShowCode(remote=True, timeout=60))
        assert served
        await trio.sleep(1)
        assert served == []

        async def show() -> None:
            try:
                await a.call(schema.ShowCode(remote=True, timeout=60))
            except InvalidInput as error:
                refused.append(error.what)

        async with trio.open_nursery() as nursery:  # more at once than may be open
            for _ in range(limits.MAX_OPEN_PAIRINGS + 30):
                nursery.start_soon(show)
        await trio.sleep(1)
        assert refused == ["too many pairings are open"] * 30
        assert len(served) == limits.MAX_OPEN_PAIRINGS
    ana.close()
