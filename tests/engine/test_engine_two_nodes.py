"""Two whole nodes in virtual time: pair, write, part, meet again."""

import trio

from p2pnode import schema
from p2pnode.errors import TransportUnavailable
from p2pnode.spi.memory import MemoryNet, MemoryTransport
from p2pnode.spi.transport import Host
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
