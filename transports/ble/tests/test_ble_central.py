"""The central's part when a stack has its moods: scripted stand-ins for bleak's two objects."""

import asyncio
from itertools import count
from types import SimpleNamespace

import pytest
from p2pnode_ble import central as module
from p2pnode_ble.air import RX, SERVICE, Ended, Overtaken, PathEnded, Sighted
from p2pnode_ble.central import Central

from p2pnode.spi.bridge import open_bridge

ADDRESS = "C0:00:00:00:00:01"


class Stack:
    """A stack with one device in range, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: list[object] = []
        self.served = False
        self.answers, self.called, self.let_go, self.ready = (asyncio.Event() for _ in range(4))
        self.ready.set()
        self.has_service = True
        self.forgotten = False
        self.remembers = True
        self.refusals = 0
        self.central = Central(self, self.told.append, count(), lambda _: self.served)
        self.gone = None

    def scanner(self, found):
        return Scanner(self, found)

    def client(self, device, gone):
        client = Client(self)
        self.gone = lambda: gone(client)
        return client

    async def knows(self, device) -> bool:
        return self.remembers

    async def forget(self, device) -> None:
        self.asked.append(f"forget {device.address}")
        self.let_go.set()

    async def sighted(self) -> None:
        await self.central.scan(True)
        assert self.told == [Sighted(ADDRESS)]


class Scanner:
    def __init__(self, stack, found) -> None:
        self._stack, self._found = stack, found

    async def start(self) -> None:
        self._stack.asked.append("scan")
        await self._stack.ready.wait()
        seen = SimpleNamespace(service_uuids=[SERVICE])
        if not self._stack.forgotten:
            self._found(SimpleNamespace(address=ADDRESS), seen)

    async def stop(self) -> None:
        self._stack.asked.append("rest")


class Client:
    def __init__(self, stack) -> None:
        self._stack = stack
        self.services = self

    def get_characteristic(self, uuid):
        if not self._stack.has_service:
            return None
        return SimpleNamespace(uuid=uuid, max_write_without_response_size=200)

    async def connect(self) -> None:
        self._stack.asked.append("connect")
        self._stack.called.set()
        try:
            await self._stack.answers.wait()
        except asyncio.CancelledError:
            self._stack.asked.append("disconnect")  # as bleak does
            raise

    async def start_notify(self, characteristic, notified) -> None:
        if self._stack.refusals:
            self._stack.refusals -= 1
            raise OSError("gone")
        assert characteristic.uuid != RX

    async def disconnect(self) -> None:
        self._stack.asked.append("disconnect")


async def played(scene) -> None:
    """Play a scene in the asyncio thread."""

    async def play() -> None:
        stack = Stack()
        await stack.sighted()
        await scene(stack)
        await stack.central.close()
        assert not stack.central._tasks

    async with open_bridge() as bridge:
        await bridge.run(play)


async def test_who_was_faster_keeps_the_connection():
    """BlueZ may never tell that our attempt is over; giving it up would end the other's."""

    async def scene(stack) -> None:
        connecting = asyncio.create_task(stack.central.connect(ADDRESS))
        await stack.called.wait()
        stack.served = True
        with pytest.raises(Overtaken):
            await connecting
        assert "disconnect" not in stack.asked
        assert f"forget {ADDRESS}" not in stack.asked
        assert stack.asked[-1] == "scan", "others are looked for again"

    await played(scene)


async def test_an_attempt_left_alone_is_ended_before_the_next():
    async def scene(stack) -> None:
        connecting = asyncio.create_task(stack.central.connect(ADDRESS))
        await stack.called.wait()
        stack.served = True
        with pytest.raises(Overtaken):
            await connecting
        with pytest.raises(Overtaken):
            await stack.central.connect(ADDRESS)
        assert stack.asked.count("connect") == 1, "there is a connection"
        stack.served = False
        stack.called.clear()
        again = asyncio.create_task(stack.central.connect(ADDRESS))
        await stack.called.wait()
        assert stack.asked[-2:] == ["disconnect", "connect"]
        stack.answers.set()
        assert stack.central.size(await again) == 200

    await played(scene)


async def test_an_attempt_that_comes_to_nothing_is_ended(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_TIME", 0.01)
    monkeypatch.setattr(module, "GLANCE", 0.01)
    monkeypatch.setattr(module, "AT_ONCE", 0.0)

    async def scene(stack) -> None:
        with pytest.raises(PathEnded):
            await stack.central.connect(ADDRESS)
        assert stack.asked[2:] == [
            "connect", "disconnect", "disconnect", f"forget {ADDRESS}", "scan"
        ]  # fmt: skip

    await played(scene)


async def test_a_device_without_the_service_is_forgotten_and_found_anew():
    """What BlueZ remembers of its services may be out of date."""

    async def scene(stack) -> None:
        stack.answers.set()
        stack.has_service = False
        with pytest.raises(PathEnded):
            await stack.central.connect(ADDRESS)
        assert f"forget {ADDRESS}" in stack.asked
        stack.has_service = True
        path = await stack.central.connect(ADDRESS)
        assert stack.central.size(path) == 200

    await played(scene)


@pytest.mark.parametrize(("refusals", "works"), [(1, True), (2, False)])
async def test_what_fails_at_once_is_tried_once_more(refusals, works):
    async def scene(stack) -> None:
        stack.answers.set()
        stack.refusals = refusals
        if works:
            assert stack.central.size(await stack.central.connect(ADDRESS)) == 200
        else:
            with pytest.raises(PathEnded):
                await stack.central.connect(ADDRESS)
        assert stack.asked.count("connect") == 2
        assert not stack.refusals

    await played(scene)


async def test_who_was_forgotten_is_looked_for_even_while_it_rests():
    async def scene(stack) -> None:
        stack.answers.set()
        await stack.central.drop(await stack.central.connect(ADDRESS))
        await stack.central.scan(False)
        stack.asked.clear()
        await stack.central.connect(ADDRESS)
        assert stack.asked == ["scan", "rest", "connect"]

    await played(scene)


async def test_who_was_dropped_behind_our_back_is_looked_for():
    async def scene(stack) -> None:
        stack.answers.set()
        stack.remembers = False

        def found(device, advertisement) -> None:
            stack.remembers = True
            real(device, advertisement)

        real, stack.central._found = stack.central._found, found
        await stack.central.scan(False)
        stack.asked.clear()
        await stack.central.connect(ADDRESS)
        assert stack.asked == ["scan", "rest", "connect"]

    await played(scene)


async def test_a_scan_that_is_cut_off_while_it_begins_is_stopped():
    """BlueZ takes it for begun, and refuses the next one for as long as this program runs."""

    async def scene(stack) -> None:
        await stack.central.scan(False)
        stack.asked.clear()
        stack.ready.clear()
        starting = asyncio.create_task(stack.central.scan(True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert stack.asked == ["scan"]
        starting.cancel()
        await asyncio.sleep(0)
        stack.ready.set()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await stack.central.close()
        assert stack.asked == ["scan", "rest"]

    await played(scene)


async def test_who_is_not_found_again_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "SEEK_TIME", 0.01)

    async def scene(stack) -> None:
        stack.answers.set()
        await stack.central.drop(await stack.central.connect(ADDRESS))
        await stack.central.scan(False)
        stack.asked.clear()
        stack.forgotten = True
        with pytest.raises(PathEnded):
            await stack.central.connect(ADDRESS)
        assert stack.asked == ["scan", "rest"]

    await played(scene)


async def test_a_connection_the_other_side_ends_leaves_nothing_behind():
    """bleak holds a connection to the bus until it is told to let go, and there are not many."""

    async def scene(stack) -> None:
        stack.answers.set()
        path = await stack.central.connect(ADDRESS)
        stack.gone()
        assert stack.told[-1] == Ended(path)
        await stack.let_go.wait()
        assert stack.asked[-2:] == ["disconnect", f"forget {ADDRESS}"]

    await played(scene)
