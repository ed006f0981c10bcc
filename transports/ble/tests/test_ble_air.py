"""The Bluetooth LE transport on virtual controllers, through the real bleak."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest
import trio
from p2pnode_ble.air import SERVICE
from p2pnode_ble.central_only import LACKS, CentralAir
from p2pnode_ble.channel import BleChannel
from p2pnode_ble.path import Path
from p2pnode_ble.pipe import Times
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport
from p2pnode_ble.wire import WINDOW, Fragment, Kind, encode

from p2pnode.errors import ChannelClosed
from p2pnode.spi.testing import Pair, RecordingHost, check_transport
from p2pnode.spi.transport import Address, Channel, Transport
from tests.patience import PATIENCE
from transports.ble.tests.ble_air import InProcess, VirtualAir
from transports.ble.tests.ble_virtual import VirtualBackend, VirtualPeripheral

NOWHERE = Address(b"C0:FF:EE:C0:FF:EE")


@asynccontextmanager
async def running(*transports: Transport) -> AsyncIterator[list[RecordingHost]]:
    """Yield the hosts of running transports."""
    hosts = [RecordingHost() for _ in transports]
    async with trio.open_nursery() as nursery:
        for transport, host in zip(transports, hosts, strict=True):
            await nursery.start(transport.run, host)
        yield hosts
        nursery.cancel_scope.cancel()
    for host in hosts:
        with suppress(trio.WouldBlock):
            while True:
                await host.arrivals.receive_nowait().aclose()


async def dialled(
    one: Transport, hosts: list[RecordingHost], near: int = 0, far: int = 1
) -> tuple[Channel, Channel]:
    """Return both ends of a channel to whom the first one met."""
    await hosts[near].until(lambda host: bool(host.met))
    channel = await one.dial(next(iter(hosts[near].met)))
    return channel, await hosts[far].arrivals.receive()


# Faults of the kit -------------------------------------------------------------------------------


def path_of(channel: Channel) -> Path:
    """Return the path under a channel, to do what a channel never would."""
    assert isinstance(channel, BleChannel)
    assert isinstance(channel._path, Path)
    return channel._path


async def inject(channel: Channel, *parts: tuple[Kind, int, bytes]) -> None:
    """Send fragments of our own making; numbers count from the channel's next one."""
    assert isinstance(channel, BleChannel)
    pipe, path = channel.pipe, path_of(channel)
    fragments = [
        Fragment(
            pipe._line,
            pipe._channel,
            kind,
            pipe._next + number,
            pipe._expected,
            pipe._expected + WINDOW,
            body,
        )
        for kind, number, body in parts
    ]
    await path._bridge.run(path._air.transmit, path.number, list(map(encode, fragments)))


async def half_a_frame(channel: Channel) -> None:
    await inject(channel, (Kind.PART, 0, b"half"), (Kind.CLOSE, 1, b""))


async def beyond_credit(channel: Channel) -> None:
    await inject(channel, (Kind.LAST, WINDOW + 9, b"x"))


async def opened_twice(channel: Channel) -> None:
    await inject(channel, (Kind.OPEN, 0, b""))


async def out_of_reach(channel: Channel) -> None:
    path = path_of(channel)
    await path._bridge.run(path._air.drop, path.number)


FAULTS = {one.__name__: one for one in (half_a_frame, beyond_credit, opened_twice, out_of_reach)}


@pytest.mark.parametrize("mtu", [517, 185])
async def test_ble_conforms(mtu):
    @asynccontextmanager
    async def pair() -> AsyncIterator[Pair]:
        air = VirtualAir(seed=mtu)
        air.mtu = mtu
        yield Pair(air.transport(), air.transport(), NOWHERE, FAULTS)

    await check_transport(pair)


# Exchanges ---------------------------------------------------------------------------------------


async def test_two_hundred_frames_each_way():
    air = VirtualAir(seed=7)
    one, two = air.transport(), air.transport()
    async with running(one, two) as hosts:
        near, far = await dialled(one, hosts)
        frames = [[os.urandom(4_096) for _ in range(200)] for _ in range(2)]
        got: list[list[bytes]] = [[], []]

        async def send(which: int) -> None:
            for frame in frames[which]:
                await (near, far)[which].send(frame)

        async def receive(which: int) -> None:
            while len(got[which]) < 200:
                got[which].append(await (far, near)[which].receive())

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for which in range(2):
                nursery.start_soon(send, which)
                nursery.start_soon(receive, which)
        print(f"400 frames of 4 KiB in {trio.current_time() - began:.1f} s")
        assert got == frames


async def test_what_is_lost_on_the_way_is_made_up_for():
    """A stack that drops one in thirty of what nobody acknowledges, and of the advertisements."""
    air = VirtualAir(seed=9)
    times = Times(resend=0.3, keep_alive=0.2)  # silence is not the matter here
    one, two = air.transport(times=times), air.transport(times=times)
    async with running(one, two) as hosts:
        air.loss = 1 / 30
        near, far = await dialled(one, hosts)
        frames = [os.urandom(4_096) for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for frame in frames:
                nursery.start_soon(near.send, frame)
            got = [await far.receive() for _ in frames]
        assert sorted(got) == sorted(frames)
        assert air.lost > 0


async def test_both_sides_use_one_connection():
    """A dial goes over the connection the other side has made: it would be the same one below."""
    air = VirtualAir()
    one, two = air.transport(), air.transport()
    async with running(one, two) as hosts:
        near, far = await dialled(one, hosts)
        back, forth = await dialled(two, hosts, near=1, far=0)
        assert [len(radio._central._paths) for radio in air.radios] == [1, 0]
        for here, there in ((near, far), (back, forth)):
            await here.send(b"over")
            assert await there.receive() == b"over"
        await near.aclose()
        await back.send(b"still here")
        assert await forth.receive() == b"still here"


async def test_several_centrals_hear_only_what_is_theirs():
    """A notification reaches all of them; each takes its own."""
    air = VirtualAir(seed=3)
    nodes = [air.transport() for _ in range(4)]
    for one in range(1, 4):
        for other in range(one + 1, 4):
            air.deaf.add(frozenset((one, other)))
    async with running(*nodes) as hosts:
        pairs = []
        for central in range(1, 4):
            pairs.append(await dialled(nodes[central], hosts, near=central, far=0))
        async with trio.open_nursery() as nursery:
            for number, (_, far) in enumerate(pairs):
                for frame in range(30):
                    nursery.start_soon(far.send, bytes((number, frame)) * 700)
            for number, (near, _) in enumerate(pairs):
                got = [await near.receive() for _ in range(30)]
                assert sorted(got) == [bytes((number, frame)) * 700 for frame in range(30)]


async def test_one_peers_backlog_starves_nobody():
    """A node with much for one peer serves the other all the while: its frames, written one after
    the other and each answered, are through long before."""
    air = VirtualAir(seed=5)
    nodes = [air.transport() for _ in range(3)]
    air.deaf.add(frozenset((1, 2)))
    async with running(*nodes) as hosts:
        pairs = [await dialled(nodes[one], hosts, near=one, far=0) for one in (1, 2)]
        backlog, arrived = 24, 0

        async def much(near: Channel, far: Channel) -> None:
            nonlocal arrived
            async with trio.open_nursery() as nursery:
                for _ in range(backlog):
                    nursery.start_soon(far.send, bytes(16_000))
                while arrived < backlog:
                    await near.receive()
                    arrived += 1

        async def little(near: Channel, far: Channel, done: list[int]) -> None:
            for _ in range(5):
                await near.send(b"may I?")
                await far.receive()
                await far.send(b"you may")
                await near.receive()
            done.append(arrived)

        done: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(much, *pairs[0])
            nursery.start_soon(little, *pairs[1], done)
        assert max(done) < backlog // 2


# Ends --------------------------------------------------------------------------------------------

QUICK = Times(resend=0.3, keep_alive=0.2, silent=8.0)
"""Silent for longer than a busy machine leaves this process standing."""


async def test_a_peer_that_vanishes_without_a_callback_is_noticed():
    air = VirtualAir()
    one, two = air.transport(times=QUICK), air.transport(times=QUICK)
    async with running(one, two) as hosts:
        near, far = await dialled(one, hosts)
        await near.send(b"hello")
        assert await far.receive() == b"hello"
        air.dead.add(1)
        for channel in (near, far):
            with pytest.raises(ChannelClosed):
                await channel.receive()
            with pytest.raises(ChannelClosed):
                await channel.send(b"anybody?")


async def test_a_dial_that_is_given_up_stops_none_of_the_next():
    air = VirtualAir()
    one, two = air.transport(), air.transport()
    async with running(one, two) as hosts:
        await hosts[0].until(lambda host: bool(host.met))
        air.deaf.add(frozenset((0, 1)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.dial, next(iter(hosts[0].met)))
            while not any(one.pending_le_connection for one in air.controllers):  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        before = set(hosts[0].met)
        await two._radio._bridge.run(air.epoch, air.radios[1])  # is known by another name now
        air.deaf.clear()
        await hosts[0].until(lambda host: bool(host.met.keys() - before))
        near = await one.dial(next(iter(hosts[0].met.keys() - before)))
        far = await hosts[1].arrivals.receive()
        await near.send(b"hello")
        assert await far.receive() == b"hello"


async def test_a_radio_that_is_switched_off_comes_back():
    air = VirtualAir()
    one, two = air.transport(), air.transport()
    async with running(one, two) as hosts:
        near, far = await dialled(one, hosts)
        air.radios[1].peripheral.fail("Bluetooth is switched off")
        for channel in (near, far):
            with pytest.raises(ChannelClosed):
                await channel.receive()
        await hosts[1].until(lambda host: host.reports[-1][0] == "degraded")
        assert hosts[1].met == {}, "nobody is near a radio that is off"
        await hosts[1].until(lambda host: host.reports[-1] == ("up", ""))
        await hosts[1].until(lambda host: bool(host.met))
        near, far = await dialled(two, hosts, near=1, far=0)
        await near.send(b"hello again")
        assert await far.receive() == b"hello again"


async def test_faults_leave_no_task_behind(monkeypatch):
    """A path that broke in the middle of a frame, a radio that failed, a peer that fell silent: the
    tasks there are afterwards are those there were before."""
    monkeypatch.setattr("p2pnode_ble.path.IDLE", 0.5)
    air = VirtualAir(seed=11)
    one, two = air.transport(times=QUICK), air.transport(times=QUICK)
    async with running(one, two) as hosts:
        bridge = one._radio._bridge

        async def living() -> tuple[int, int]:
            """Return the tasks of trio and of asyncio once all paths are gone."""
            while any(node._radio is None or node._radio._paths for node in (one, two)):  # noqa: ASYNC110
                await trio.sleep(0.05)
            await bridge.run(asyncio.sleep, 0.1)
            there = len(await bridge.run(all_tasks))
            return trio.lowlevel.current_statistics().tasks_living, there

        await hosts[0].until(lambda host: bool(host.met))
        before = await living()
        for fault in range(3):
            near = await one.dial(list(hosts[0].met)[-1])
            far = await hosts[1].arrivals.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ended, near)
                nursery.start_soon(ended, far)
                await near.send(os.urandom(60_000))
                if fault == 0:
                    await bridge.run(calling, air.part, 0, 1)
                    air.deaf.clear()
                elif fault == 1:
                    air.radios[-1].peripheral.fail("Bluetooth is switched off")
                    met = len(hosts[0].met)
                    await hosts[0].until(lambda host: len(host.met) > met)  # noqa: B023
                else:
                    air.dead.add(1)
            air.dead.clear()
            with trio.move_on_after(PATIENCE):
                while (left := await living()) != before:
                    pass
            assert left == before, fault


async def all_tasks() -> set[asyncio.Task]:
    return asyncio.all_tasks()


async def calling(function: Callable[..., None], *args: object) -> None:
    """Call a plain function in the asyncio thread."""
    function(*args)


async def ended(channel: Channel) -> None:
    """Read until the channel ends."""
    with suppress(ChannelClosed):
        while True:
            await channel.receive()


class LoneRadio(CentralAir):
    """A virtual controller of which only the central role is used."""

    def __init__(self, air: VirtualAir, number: int) -> None:
        controller = InProcess(air, number)
        self.host = VirtualPeripheral(controller)
        super().__init__(lambda: VirtualBackend(controller, self.host.device))

    async def open(self, tell) -> None:
        await self.host.open(lambda _: None, count())
        await super().open(tell)

    async def close(self) -> None:
        await super().close()
        await self.host.close()


async def test_one_role_is_enough_to_meet_who_has_both():
    """As on systems where there is no peripheral role: it finds others, and is not found."""
    air = VirtualAir()
    both = air.transport()
    lone = BleTransport(BleSettings(power="always"), air=lambda: LoneRadio(air, 7))
    async with running(lone, both) as hosts:
        assert hosts[0].reports[-1] == ("up", LACKS)
        near, far = await dialled(lone, hosts)
        for one, other in ((near, far), (far, near)):
            await one.send(b"both ways")
            assert await other.receive() == b"both ways"
        assert hosts[1].met == {}
        assert {number for number, _, _ in air.advertised} == {0}, "it says nothing"
    found = {check.name: check for check in await lone.diagnose()}
    assert found["peripheral"].result == "warn"
    assert "no peripheral role" in found["peripheral"].detail


async def test_another_system_has_the_central_role(monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert isinstance(BleTransport(BleSettings())._air(), CentralAir)


async def test_links_are_limited():
    air = VirtualAir()
    modest = air.transport(BleSettings(power="always", max_links=1))
    others = [air.transport(), air.transport()]
    async with running(modest, *others) as hosts:
        await hosts[0].until(lambda host: len(host.met) == 2)
        first, second = hosts[0].met
        standing = await modest.dial(first)
        with pytest.raises(ChannelClosed):
            await modest.dial(second)
        await standing.aclose()


# What is seen from outside ------------------------------------------------------------------------


async def test_nothing_on_the_air_outlives_an_epoch():
    """1,000 epochs: each has a fresh address, and says the service and nothing else."""
    air = VirtualAir()
    transport = air.transport()
    async with running(transport):
        radio = transport._radio
        for _ in range(1_000):
            await radio._bridge.run(air.epoch, radio._air)
    addresses = [address for _, address, _ in air.advertised]
    assert len(set(addresses)) >= 1_000
    for place in range(6):
        parts = {address.split(":")[place] for address in addresses}
        assert len(parts) > 60, "no byte of the address stays"
    contents = {content for _, _, content in air.advertised}
    service = bytes.fromhex(SERVICE.replace("-", ""))[::-1]
    assert contents == {b"\x02\x01\x06\x11\x07" + service}, "flags, and the service's UUID"
