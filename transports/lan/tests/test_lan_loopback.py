"""The LAN transport on loopback, with peers named by hand: conformance and what TCP may do."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import pytest
import trio
from p2pnode_lan import LanTransport
from p2pnode_lan.address import Endpoint, encode
from p2pnode_lan.channel import FRAME_TIMEOUT, LanChannel
from p2pnode_lan.settings import LanSettings
from p2pnode_lan.transport import PENDING_INCOMING

from p2pnode.errors import ChannelClosed
from p2pnode.spi.testing import Pair, RecordingHost, check_transport
from p2pnode.spi.transport import MAX_FRAME, Address, Channel, Transport
from tests.patience import PATIENCE
from tests.ports import free_port

LOOPBACK = ip_address("127.0.0.1")


def local(**settings) -> LanTransport:
    return LanTransport(LanSettings(**{"discover": False, "interfaces": ("lo",)} | settings))


def address(port: int) -> Address:
    return encode([Endpoint(LOOPBACK, port)])


def raw_of(channel: Channel) -> socket.socket:
    """Return the socket under a channel, to do what a channel never would."""
    assert isinstance(channel, LanChannel)
    return channel._socket


async def half_a_frame(channel: Channel) -> None:
    raw_of(channel).send(struct.pack(">I", 1_000) + b"half")
    await channel.aclose()


async def half_a_length(channel: Channel) -> None:
    raw_of(channel).send(b"\0\0")
    await channel.aclose()


async def empty_frame(channel: Channel) -> None:
    raw_of(channel).send(bytes(4))
    await trio.lowlevel.checkpoint()


async def oversized_frame(channel: Channel) -> None:
    raw_of(channel).send(struct.pack(">I", MAX_FRAME + 1))
    await trio.lowlevel.checkpoint()


async def reset(channel: Channel) -> None:
    raw_of(channel).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await channel.aclose()


FAULTS = {fault.__name__: fault for fault in (half_a_frame, half_a_length, empty_frame)} | {
    "oversized_frame": oversized_frame,
    "reset": reset,
}


async def test_lan_conforms():
    @asynccontextmanager
    async def pair() -> AsyncIterator[Pair]:
        yield Pair(local(), local(), nowhere=address(free_port()), faults=FAULTS)

    await check_transport(pair)


@asynccontextmanager
async def running(*transports: Transport):
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


async def test_peers_named_by_hand_are_met_at_once():
    ports = free_port(), free_port()
    one = local(port=ports[0], peers=(f"127.0.0.1:{ports[1]}",))
    two = local(port=ports[1], peers=(f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"))
    async with running(one, two) as (host_one, host_two):
        assert host_one.met == {address(ports[1]): 0.0}
        assert host_two.met == {address(ports[0]): 0.0}, "a node does not meet itself"
        near = await one.dial(address(ports[1]))
        far = await host_two.arrivals.receive()
        await near.send(b"hello")
        assert await far.receive() == b"hello"


async def test_a_loopback_peer_brings_loopback_with_it():
    port = free_port()
    dialler = LanTransport(LanSettings(discover=False, peers=(f"127.0.0.1:{port}",)))
    async with running(local(port=port), dialler) as (host, _):
        near = await dialler.dial(address(port))
        far = await host.arrivals.receive()
        await near.send(b"hello")
        assert await far.receive() == b"hello"


async def test_loopback_and_far_networks_are_not_dialled_unasked():
    """A contact, or a stranger's announcement, cannot make us dial where it likes."""
    port = free_port()
    cautious = LanTransport(LanSettings(discover=False))
    far = encode([Endpoint(ip_address("198.51.100.7"), 4001)])
    async with running(local(port=port), cautious) as (host, _):
        for target in (address(port), far):
            with pytest.raises(ChannelClosed):
                await cautious.dial(target)
        with pytest.raises(trio.WouldBlock):
            host.arrivals.receive_nowait()


async def test_a_taken_port_degrades_and_recovers(autojump_clock):
    port = free_port()
    transport = local(port=port)
    host = RecordingHost()
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", port))
        taker.listen()
        checks = {check.name: check for check in await transport.diagnose()}
        assert checks["port"].result == "fail"
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            assert host.reports[-1] == ("degraded", "the port is taken")
            taker.close()
            await host.until(lambda host: host.reports[-1] == ("up", ""))
            nursery.cancel_scope.cancel()


async def test_pending_channels_are_bounded():
    port = free_port()
    async with running(local(port=port)) as (host,):
        host.busy = trio.Event()
        knocking = [
            await trio.open_tcp_stream("127.0.0.1", port) for _ in range(PENDING_INCOMING + 8)
        ]
        refused = 0
        async with trio.open_nursery() as nursery:

            async def watch(stream: trio.SocketStream) -> None:
                nonlocal refused
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some(1) == b""
                refused += 1
                if refused >= 7:  # one is in the node's hands, PENDING_INCOMING wait
                    nursery.cancel_scope.cancel()

            for stream in knocking:
                nursery.start_soon(watch, stream)
        host.busy.set()
        for _ in range(PENDING_INCOMING + 1):
            await (await host.arrivals.receive()).aclose()
        for stream in knocking:
            await stream.aclose()


@asynccontextmanager
async def raw_pair() -> AsyncIterator[tuple[socket.socket, LanChannel]]:
    """Yield a plain socket and a channel at its other end."""
    plain, other = socket.socketpair()
    channel = LanChannel(other)
    with plain:
        yield plain, channel
        await channel.aclose()


async def test_an_unfinished_frame_has_a_time_limit_and_silence_has_none(autojump_clock):
    async with raw_pair() as (plain, channel):
        with trio.move_on_after(10 * FRAME_TIMEOUT) as idle:
            await channel.receive()
        assert idle.cancelled_caught, "a channel may be silent for as long as it likes"
        plain.send(struct.pack(">I", 100) + b"x")
        began = trio.current_time()
        with pytest.raises(ChannelClosed):
            await channel.receive()
        assert trio.current_time() - began == pytest.approx(FRAME_TIMEOUT)


@pytest.mark.parametrize("beginning", [b"\0", b"\0\0\0\x09", b"\0\0\0\x09slow"])
async def test_dripping_does_not_extend_the_limit(autojump_clock, beginning):
    async with raw_pair() as (plain, channel), trio.open_nursery() as nursery:

        async def drip() -> None:
            plain.send(beginning)
            await trio.sleep(FRAME_TIMEOUT / 2)
            plain.send(b"\0")

        nursery.start_soon(drip)
        with trio.fail_after(FRAME_TIMEOUT + 1), pytest.raises(ChannelClosed):
            await channel.receive()


async def test_frames_in_any_pieces():
    """However the stream is cut, the same frames come out."""
    frames = [b"a", b"bb" * 500, b"c" * MAX_FRAME, b"d"]
    stream = b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)
    for piece in (1_021, 4_099, 70_000, len(stream)):
        async with raw_pair() as (plain, channel), trio.open_nursery() as nursery:
            feeding = trio.SocketStream(trio.socket.from_stdlib_socket(plain.dup()))

            async def feed(feeding: trio.SocketStream = feeding, piece: int = piece) -> None:
                async with feeding:
                    for at in range(0, len(stream), piece):
                        await feeding.send_all(stream[at : at + piece])

            nursery.start_soon(feed)
            assert [await channel.receive() for _ in frames] == frames


async def test_whole_frames_before_a_bad_one_still_come():
    async with raw_pair() as (plain, channel):
        plain.send(struct.pack(">I", 2) + b"ok" + bytes(4))
        assert await channel.receive() == b"ok"
        with pytest.raises(ChannelClosed):
            await channel.receive()


async def test_a_send_cancelled_within_a_frame_ends_the_channel():
    """Better no channel than one that lost its place in the stream."""
    async with raw_pair() as (_, channel):
        with trio.move_on_after(PATIENCE) as scope:
            async with trio.open_nursery() as nursery:

                async def flood() -> None:
                    while True:
                        await channel.send(bytes(MAX_FRAME))

                nursery.start_soon(flood)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught
        with pytest.raises(ChannelClosed):
            await channel.send(b"more")


async def test_a_busy_sender_lets_others_run():
    """Frames that never wait for the kernel still give up the turn now and then."""
    plain, other = socket.socketpair()
    sending, receiving = LanChannel(plain), LanChannel(other)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        for _ in range(200):
            await sending.send(bytes(4_000))
            await receiving.receive()
        assert turns > 2
        nursery.cancel_scope.cancel()
    await sending.aclose()
    await receiving.aclose()


async def test_sockets_are_set_for_short_frames_and_dead_peers():
    port = free_port()
    one, two = local(), local(port=port)
    async with running(one, two) as (_, host):
        near = await one.dial(address(port))
        far = await host.arrivals.receive()
        for channel in (near, far):
            raw = raw_of(channel)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000
