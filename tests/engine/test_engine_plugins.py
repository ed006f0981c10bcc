"""A transport of somebody else's that fails in all it is asked: the node and the others go on."""

import trio

from p2pnode import schema
from p2pnode.errors import ChannelClosed, StoreFull
from p2pnode.spi.memory import MemoryNet
from p2pnode.spi.transport import Address, Settings, Transport
from p2pnode.turns import asks
from tests.people import Person, history, pair, reached, send


class Broken(Transport):
    """One that sees a node, and whose every method raises the same error."""

    name = "broken"
    codes = True

    def __init__(self) -> None:
        super().__init__(Settings())
        self.error: Exception | None = RuntimeError("a defect")
        self.asked: list[str] = []

    async def run(self, host, *, task_status=trio.TASK_STATUS_IGNORED):
        host.report("up")
        task_status.started()
        host.encountered(Address(b"somewhere"))
        await trio.sleep_forever()

    async def _fail(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    async def dial(self, address, lane=None):
        await self._fail("dial")
        raise ChannelClosed

    async def addresses(self, lane):
        await self._fail("addresses")
        return []

    async def open(self, lane):
        await self._fail("open")

    async def close(self, lane):
        await self._fail("close")

    async def revoke(self, lane):
        await self._fail("revoke")

    async def meet(self, lane):
        await self._fail("meet")
        return b""

    async def diagnose(self):
        await self._fail("diagnose")
        return []


async def test_what_a_transport_raises_ends_neither_the_node_nor_another(autojump_clock):
    net, broken = MemoryNet(), Broken()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    ana.couriers.append(broken)  # any transport of hers besides the net
    async with bo.on() as b:
        async with ana.on() as a:
            assert await pair(a, b) == ["paired", "paired"]
            await reached(a, await send(a, "bo", "over the net"))
            broken.error = StoreFull("the disk is full")
            await a.call(schema.RotateAddress(contact="bo"))
            await trio.sleep(60)
            for blocked in (True, False):
                await a.call(schema.BlockContact(contact="bo", blocked=blocked))
                await trio.sleep(60)
            await reached(b, await send(b, "ana", "still"))
            assert set(broken.asked) == {"dial", "addresses", "open", "close", "revoke"}
            # What it could not do with a lane is asked of it until it can.
            broken.error = None
            broken.asked.clear()
            await a.call(schema.RotateAddress(contact="bo"))
            await trio.sleep(60)
            assert {"open", "revoke"} <= set(broken.asked)
            broken.asked.clear()
            await trio.sleep(300)
            assert not {"open", "close", "revoke"} & set(broken.asked)
        async with ana.on() as a:  # its lanes are opened at a start, too
            assert "open" in broken.asked
            await reached(a, await send(a, "bo", "and after a start"))
            assert len(await history(b, "ana")) == 3
    ana.close()
    bo.close()


async def test_a_refused_look_at_who_is_known_is_looked_at_again(autojump_clock, monkeypatch):
    """A full disk refuses whole batches of turns, that of the look too: the node had ended."""
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        real, refused = a.engine.owner.ask, []

        async def full(ask):
            if isinstance(ask, asks.GetPeers) and not refused:
                refused.append(ask)
                raise StoreFull("the disk is full")
            return await real(ask)

        monkeypatch.setattr(a.engine.owner, "ask", full)
        await a.call(schema.BlockContact(contact="bo", blocked=True))
        await trio.sleep(1)
        assert refused
        await a.call(schema.BlockContact(contact="bo", blocked=False))
        await reached(b, await send(b, "ana", "let in again"))
    ana.close()
    bo.close()
