"""Two whole nodes in virtual time: pair, write, part, meet again."""

from typing import Any

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import InvalidInput, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.memory import MemoryNet, MemoryTransport
from p2pnode.spi.transport import Address, Channel, Host
from tests.people import Person, history, pair, reached, send


async def test_pair_write_and_answer(autojump_clock: trio.testing.MockClock) -> None:
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        first = await send(a, "bo", "power is out, meet at 6")
        assert (await reached(a, first)).state == "delivered"
        answer = await send(b, "ana", "I bring candles")
        assert (await reached(b, answer)).state == "delivered"
        for node, other in ((a, "bo"), (b, "ana")):
            said = [message.text for message in await history(node, other)]
            assert said == ["power is out, meet at 6", "I bring candles"]
        because = await a.call(schema.Why(id=first[:6]))
        assert isinstance(because, schema.Because)
        assert [event.kind for event in because.events] == ["saved", "delivered"]
    ana.close()
    bo.close()


class Late(MemoryTransport):
    """Its adapter is plugged in while the node runs."""

    missing = 2

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.missing -= 1
        if self.missing >= 0:
            await trio.lowlevel.checkpoint()
            raise TransportUnavailable("no adapter")
        await super().run(host, task_status=task_status)


async def test_a_medium_that_was_missing_is_sought_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    ana.transport = Late(net, net._nodes["ana"])
    async with ana.on() as a, bo.on() as b:
        await a.engine.transports.settled()
        [found] = (await a.call(schema.GetStatus())).transports.values()
        assert (found.state, found.detail) == ("off", "no adapter")
        await trio.sleep(200)
        assert await pair(a, b) == ["paired", "paired"]
    ana.close()
    bo.close()


async def test_who_met_as_strangers_can_pair(autojump_clock: trio.testing.MockClock) -> None:
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    async with ana.on() as a, bo.on() as b:
        await trio.sleep(5)
        assert any(link.stranger for link in a.engine.peers.links.values())
        began = trio.current_time()
        assert await pair(a, b) == ["paired", "paired"]
        assert trio.current_time() - began < 10
    ana.close()
    bo.close()


class Defective(MemoryTransport):
    """Somebody's plug-in: others reach it, but whatever the node asks of it fails."""

    async def _fail(self) -> Any:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a defect")

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        return await self._fail()

    async def addresses(self, lane: Lane) -> list[Address]:
        return await self._fail()

    async def open(self, lane: Lane) -> None:
        await self._fail()

    async def close(self, lane: Lane) -> None:
        await self._fail()

    async def revoke(self, lane: Lane) -> None:
        await self._fail()


async def test_a_plug_in_that_fails_whatever_it_is_asked_ends_neither_node_nor_links(
    autojump_clock: trio.testing.MockClock,
) -> None:
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    ana.transport = Defective(net, net._nodes["ana"])
    for _ in range(2):  # with contacts' lanes at the start, the second time
        async with ana.on() as a, bo.on() as b:
            if not (await a.call(schema.ListContacts())).contacts:
                assert await pair(a, b) == ["paired", "paired"]
            await reached(a, await send(a, "bo", "all the same"))
            await a.call(schema.RotateAddress("bo"))
            await a.call(schema.BlockContact("bo"))
            await a.call(schema.BlockContact("bo", blocked=False))
            await reached(b, await send(b, "ana", "and back"))
    async with ana.on() as a:
        await a.call(schema.RemoveContact("bo"))
        await trio.sleep(60)
        with pytest.raises(InvalidInput, match="from afar"):
            await a.call(schema.ShowCode(remote=True))
    ana.close()
    bo.close()
