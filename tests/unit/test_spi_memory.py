"""The in-process world: conformance, reachability, and no need of a real clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode.protocol import limits
from p2pnode.spi import transport as spi
from p2pnode.spi.memory import FRAMES_UNDER_WAY, TRAITS, MemoryCourier, MemoryNet
from p2pnode.spi.testing import CourierPair, Pair, RecordingHost, check_courier, check_transport
from p2pnode.spi.transport import Address, Parcel


def test_bounds_are_the_protocols_own():
    assert spi.MAX_FRAME == limits.MAX_FRAME
    assert spi.MAX_ADDRESS == limits.MAX_ADDRESS


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    net = MemoryNet()
    yield Pair(net.transport("a"), net.transport("b"), nowhere=Address(b"nobody"))


async def test_memory_transport_conforms():
    await check_transport(pair)


async def test_memory_courier_conforms():
    @asynccontextmanager
    async def couriers() -> AsyncIterator[CourierPair]:
        places: dict[str, dict[bytes, Parcel]] = {}

        def damage() -> None:
            digest, parcel = next(iter(places["stick"].items()))
            places["stick"][digest] = replace(parcel, envelope=parcel.envelope[:-1])

        yield CourierPair(MemoryCourier(places), MemoryCourier(places), "stick", damage)

    await check_courier(couriers)


@asynccontextmanager
async def running(net: MemoryNet, *names: str):
    """Yield {name: (transport, host)} of running nodes."""
    nodes = {name: (net.transport(name), RecordingHost()) for name in names}
    async with trio.open_nursery() as nursery:
        for node, host in nodes.values():
            await nursery.start(node.run, host)
        yield nodes
        nursery.cancel_scope.cancel()


async def test_both_meet_and_the_lower_name_dials_first(autojump_clock):
    async with running(MemoryNet(), "a", "b") as nodes:
        assert nodes["a"][1].met == {b"b": 0.0}
        assert nodes["b"][1].met == {b"a": 2.0}


async def test_a_node_that_leaves_is_lost(autojump_clock):
    net = MemoryNet()
    async with running(net, "a") as outer:
        async with running(net, "b"):
            assert outer["a"][1].met
        assert not outer["a"][1].met


async def test_cut_ends_channels_and_connect_meets_again(autojump_clock):
    net = MemoryNet(together=False)
    async with running(net, "a", "b") as nodes:
        (a, host_a), (b, host_b) = nodes["a"], nodes["b"]
        assert not host_a.met
        with pytest.raises(ChannelClosed):
            await a.dial(b.address)
        net.connect("a", "b")
        assert host_a.met
        near = await a.dial(b.address)
        far = await host_b.arrivals.receive()
        net.cut("a", "b")
        assert not host_a.met
        assert not host_b.met
        with pytest.raises(ChannelClosed):
            await near.send(b"x")
        with pytest.raises(ChannelClosed):
            await far.receive()
        net.connect("a", "b")
        assert host_b.met


async def test_silent_cut_swallows_frames_until_healed(autojump_clock):
    net = MemoryNet()
    async with running(net, "a", "b") as nodes:
        (a, host_a), (b, host_b) = nodes["a"], nodes["b"]
        near = await a.dial(b.address)
        far = await host_b.arrivals.receive()
        net.cut("a", "b", silent=True)
        assert host_a.met, "nobody is told"
        for _ in range(2 * FRAMES_UNDER_WAY):
            await near.send(b"into the void")
        with trio.move_on_after(3600) as waited:
            await far.receive()
        assert waited.cancelled_caught
        with pytest.raises(ChannelClosed):
            await a.dial(b.address)
        net.connect("a", "b")
        with pytest.raises(ChannelClosed):
            await far.receive()


async def test_a_silent_end_is_not_heard_on_the_other_side(autojump_clock):
    net = MemoryNet()
    async with running(net, "a", "b") as nodes:
        (a, _), (b, host_b) = nodes["a"], nodes["b"]
        near = await a.dial(b.address)
        far = await host_b.arrivals.receive()
        net.cut("a", "b", silent=True)
        await near.aclose()
        with trio.move_on_after(3600) as waited:
            await far.receive()
        assert waited.cancelled_caught
        net.connect("a", "b")
        await far.aclose()


async def test_scatter_is_reproducible():
    def drawn(seed: int) -> list[bool]:
        net = MemoryNet(seed=seed)
        names = ["a", "b", "c", "d", "e"]
        for name in names:
            net.transport(name)
        net.scatter(0.5)
        return [net.near(a, b) for a in names for b in names]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(10)}) > 1


async def test_lane_names_the_way_in(autojump_clock):
    async with running(MemoryNet(), "a", "b") as nodes:
        (a, _), (b, host_b) = nodes["a"], nodes["b"]
        lane = Lane(b"/" * 16)
        lanes: list[Lane | None] = []
        taken = host_b.incoming

        async def incoming(channel, lane=None):
            lanes.append(lane)
            await taken(channel, lane)

        host_b.incoming = incoming
        await b.open(lane)
        (address,) = await b.addresses(lane)
        channel = await a.dial(address)
        await host_b.arrivals.receive()
        assert lanes == [lane]
        await b.revoke(lane)
        with pytest.raises(ChannelClosed):
            await a.dial(address)
        await channel.aclose()


def test_names_are_unique():
    net = MemoryNet()
    net.transport("a")
    for bad in ("a", "a/b"):
        with pytest.raises(ValueError, match="unique"):
            net.transport(bad)


async def test_traits_are_the_tests_choice(autojump_clock):
    net = MemoryNet()
    small = replace(TRAITS, mtu=500)
    a, b = net.transport("a", traits=small), net.transport("b", traits=small)
    host = RecordingHost()
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run, RecordingHost())
        await nursery.start(b.run, host)
        near = await a.dial(b.address)
        far = await host.arrivals.receive()
        assert near.traits.mtu == far.traits.mtu == 500
        nursery.cancel_scope.cancel()
