"""The Tor transport on a real Tor network, which runs on loopback for this session."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import p2pnode_tor
import pytest
import trio
from p2pnode_tor import TorTransport, dialing
from p2pnode_tor.address import OnionAddress, OnionPublic, decode_untrusted, encode
from p2pnode_tor.channel import TorChannel
from p2pnode_tor.keys import OnionKey, new_secret
from p2pnode_tor.settings import TorSettings
from python_socks import ProxyError

import p2pnode
from p2pnode.errors import ChannelClosed, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.testing import BREATH, Pair, RecordingHost, check_transport
from p2pnode.spi.transport import MAX_FRAME, Address, Channel
from tests.patience import PATIENCE
from tests.ports import free_port
from transports.tor.tests import tor_network
from transports.tor.tests.tor_network import TorNetwork

private_network = tor_network.private_network

HERE, THERE = Lane(b"\x11" * 16), Lane(b"\x22" * 16)


def nowhere() -> Address:
    """Return a good address of a service nobody has ever published."""
    return encode(OnionAddress(OnionPublic(OnionKey(new_secret()).public), 4001, new_secret()))


def raw_of(channel: Channel) -> trio.socket.SocketType:
    """Return the socket under a channel, to do what a channel never would."""
    assert isinstance(channel, TorChannel)
    return channel._socket


async def half_a_frame(channel: Channel) -> None:
    await raw_of(channel).send(struct.pack(">I", 1_000) + b"half")
    await channel.aclose()


async def empty_frame(channel: Channel) -> None:
    await raw_of(channel).send(bytes(4))


async def oversized_frame(channel: Channel) -> None:
    await raw_of(channel).send(struct.pack(">I", MAX_FRAME + 1))


FAULTS = {fault.__name__: fault for fault in (half_a_frame, empty_frame, oversized_frame)}


@pytest.fixture(scope="session")
def system_settings(private_network: TorNetwork) -> list[TorSettings]:
    """Two tors that run already, as a system's tor does, and how to attach to them."""
    made = []
    for port in (free_port(), free_port()):
        tor = private_network.guest(f"SocksPort 127.0.0.1:{port}", "CookieAuthentication 1")
        socks = f"127.0.0.1:{port}"
        made.append(TorSettings(mode="system", control=str(tor.control), socks=socks))
    return made


UNREAD = 2**30
"""Bytes tor may take from a sender whose frames nobody receives: it is held up by the other end, by
way of three relays. Mostly 3 MiB were seen, 28 in 0.4 s, and once, on a busy machine, over 64."""


LONG = 3 * PATIENCE
"""Seconds for what dials more than once: what tor has not found it looks for anew only when it is
ordered to, and where that depends on the network's next consensus, later still."""


async def test_tor_conforms(system_settings):
    @asynccontextmanager
    async def pair() -> AsyncIterator[Pair]:
        first, second = (TorTransport(settings) for settings in system_settings)
        yield Pair(first, second, nowhere(), faults=FAULTS, patience=LONG, unread=UNREAD)

    await check_transport(pair)


class Node:
    """A transport with a tor of its own, and its host."""

    def __init__(self, network: TorNetwork, **settings) -> None:
        chosen = {"mode": "own", "options": network.options} | settings
        self.transport = TorTransport(TorSettings(**chosen))
        self.host = RecordingHost()
        self.lanes: dict[Channel, Lane | None] = {}
        self.host.incoming = self._incoming

    async def address(self, lane: Lane) -> Address:
        """Return where one lane reaches it."""
        await self.transport.open(lane)
        (told,) = await self.transport.addresses(lane)
        return told

    async def ask(self, command: str) -> None:
        """Give its tor a command."""
        await self.transport._running.session.control.ask(command)

    async def until(self, state: str, detail: str = "") -> None:
        """Wait for a state, of which it is told how it begins."""

        def told(host: RecordingHost) -> bool:
            now, how = host.reports[-1]
            return now == state and how.startswith(detail)

        await self.host.until(told)

    async def _incoming(self, channel: Channel, lane: Lane | None = None) -> None:
        self.lanes[channel] = lane
        await self.host.arrived.send(channel)

    async def heard(self, near: Channel) -> Channel:
        """Return the other end of a dialled channel; it works."""
        await near.send(b"here")
        while True:
            far = await self.host.arrivals.receive()
            with suppress(ChannelClosed):  # one that a dial had given up
                assert await far.receive() == b"here"
                await far.send(b"there")
                assert await near.receive() == b"there"
                return far


@pytest.fixture
def place(tmp_path):
    """Yield fresh data directories."""
    return (str(tmp_path / f"tor{number}") for number in range(10))


@asynccontextmanager
async def running(*nodes: Node, state: str = "up"):
    """Run nodes while in the context, which begins when they are in that state."""
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for node in nodes:
                    starting.start_soon(nursery.start, node.transport.run, node.host)
            for node in nodes:  # a slow machine's go on beside the start
                await node.until(state)
            yield
            nursery.cancel_scope.cancel()
    for node in nodes:
        assert node.host.reports[-1] == ("off", "")
        with suppress(trio.WouldBlock):
            while True:
                await node.host.arrivals.receive_nowait().aclose()


async def reached(node: Node, address: Address, lane: Lane | None = THERE) -> Channel:
    """Dial as the node's dialler does, until somebody answers."""
    while True:
        with suppress(ChannelClosed):
            return await node.transport.dial(address, lane)
        await trio.sleep(BREATH)


async def turned_away(node: Node, address: Address) -> None:
    """Dial, a shorter time than usual, where nobody lets us in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialing, "DIAL_TIMEOUT", 5.0)
        with pytest.raises(ChannelClosed):
            await node.transport.dial(address, THERE)


async def test_frames_cross_and_their_lane_is_known(private_network, place, monkeypatch):
    def resolve(*args: object, **more: object) -> None:
        raise AssertionError("no name is ever resolved here")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    one = Node(private_network, data_directory=next(place))
    two = Node(private_network, data_directory=next(place), max_onions=1)
    lanes: list[Lane | None] = []
    async with running(one, two):
        assert one.host.reports[0] == ("starting", "")
        assert one.host.reports[-1] == ("up", "")
        assert any(detail.endswith(" %") for _, detail in one.host.reports)
        addresses = [await two.address(Lane(bytes((number,)) * 16)) for number in (1, 2, 3)]
        services = [decode_untrusted(address).service for address in addresses]
        assert services[0] != services[1] == services[2], "beyond max_onions lanes share one"
        for address in addresses:
            near = await reached(one, address)
            far = await two.heard(near)
            lanes.append(two.lanes[far])
            await near.aclose()
            await far.aclose()
        assert lanes == [Lane(b"\x01" * 16), None, None]
        await two.transport.revoke(Lane(b"\x02" * 16))
        await turned_away(one, addresses[1])  # though his tor has the descriptor of before
        near = await reached(one, addresses[2])
        far = await two.heard(near)
        await near.aclose()
        await far.aclose()
        with pytest.raises(ChannelClosed):
            await two.transport.dial(addresses[0])
        checks = {check.name: check for check in await two.transport.diagnose()}
        assert {check.result for check in checks.values()} == {"ok"}
        assert checks["onions"].detail == "2 of 2 onion services published"


async def test_a_peer_that_was_offline_is_reached_again(private_network, place, monkeypatch):
    monkeypatch.setattr(dialing, "NEWNYM_EVERY", 10.0)
    one, two = (Node(private_network, data_directory=next(place)) for _ in range(2))
    async with running(one, two):
        address = await two.address(HERE)
        near = await reached(one, address)
        far = await two.heard(near)
        await two.ask("SETCONF DisableNetwork=1")
        await two.until("degraded", "no network")
        with pytest.raises(ChannelClosed):
            await far.receive()
        # The other end may learn of it late, or by a link's keep-alive only: tor does not promise.
        for channel in (near, far):
            await channel.aclose()
        await turned_away(one, address)
        await turned_away(two, nowhere())
        await two.ask("RESETCONF DisableNetwork")
        await two.until("up")
        near = await reached(one, address)
        far = await two.heard(near)
        await near.aclose()
        await far.aclose()


async def test_only_the_one_with_the_key_gets_in_and_only_until_revoked(private_network, place):
    one, two = (Node(private_network, data_directory=next(place)) for _ in range(2))
    async with running(one, two):
        address = await two.address(HERE)
        told = decode_untrusted(address)
        dialling = one.transport._running.session.dialling
        for client, code in ((b"", dialing.NO_KEY), (new_secret(), dialing.WRONG_KEY)):
            stranger = OnionAddress(told.public, told.port, client)
            await dialling._allow(stranger)
            answer = 0
            while answer not in (dialing.NO_KEY, dialing.WRONG_KEY):  # until it is found
                with pytest.raises(ProxyError) as refused:
                    await dialling._connect(stranger, THERE)
                answer = dialing.refusal(refused.value)
            assert answer == code, "he cannot read the descriptor"
            with pytest.raises(ChannelClosed):
                await one.transport.dial(encode(stranger), THERE)
        with pytest.raises(trio.WouldBlock):
            two.host.arrivals.receive_nowait()
        near = await reached(one, address)
        far = await two.heard(near)
        await near.aclose()
        await far.aclose()
        await one.ask(f"ONION_CLIENT_AUTH_REMOVE {told.service}")
        await one.ask("SIGNAL NEWNYM")  # by somebody else, as on a system's tor
        dialling._forgot = trio.current_time()  # so that it is not our turn
        near = await reached(one, address)
        far = await two.heard(near)
        await near.aclose()
        await far.aclose()
        await two.transport.revoke(HERE)
        assert await two.transport.addresses(HERE) == []
        assert not any(two.host.saved.get(f"lane-{HERE.hex()}", b""))
        for _ in range(2):
            await turned_away(one, address)
        with pytest.raises(trio.WouldBlock):
            two.host.arrivals.receive_nowait()
        assert await two.address(HERE) != address, "opened again it is another service"


async def test_wrong_settings_are_called_so(private_network, place):
    node = Node(private_network, data_directory=next(place), options=("NoSuchOption 1",))
    async with running(node, state="degraded"):
        assert node.host.reports[-1] == ("degraded", "misconfigured: tor refuses its settings")
        checks = {check.name: check for check in await node.transport.diagnose()}
        assert checks["process"].result == "fail"


async def test_a_data_directory_belongs_to_one_node(private_network, place):
    shared = next(place)
    one, two = (Node(private_network, data_directory=shared) for _ in range(2))
    async with running(one):
        with pytest.raises(TransportUnavailable, match="another node"):
            await two.transport.run(two.host)
        assert two.host.reports == [("starting", ""), ("off", "")]
        assert one.host.reports[-1] == ("up", "")


async def test_a_node_behind_an_obfs4_bridge(private_network, place):
    """A tor that knows the network only by a bridge reaches, and is reached."""
    bridge = await trio.to_thread.run_sync(private_network.bridge)
    hidden = Node(
        private_network,
        data_directory=next(place),
        bridges=(bridge,),
        plugins=("obfs4 exec /usr/bin/obfs4proxy",),
    )
    other = Node(private_network, data_directory=next(place))
    async with running(hidden, other):
        for one, two in ((hidden, other), (other, hidden)):
            near = await reached(one, await two.address(HERE))
            far = await two.heard(near)
            await near.aclose()
            await far.aclose()


async def test_our_own_tor_does_not_outlive_us(private_network, place, tmp_path):
    command = [
        sys.executable,
        str(Path(tor_network.__file__).with_name("tor_node.py")),
        next(place),
    ]
    paths = [str(Path(p2pnode_tor.__file__).parents[1]), str(Path(p2pnode.__file__).parents[1])]
    surroundings = os.environ | {"PYTHONPATH": ":".join(paths), "TMPDIR": str(private_network.root)}
    surroundings.pop("XDG_RUNTIME_DIR", None)
    node = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=surroundings)
    with trio.fail_after(PATIENCE):
        async with node.stdout:
            said = b""
            while not said.endswith(b"\n"):
                fresh = await node.stdout.receive_some()
                assert fresh, "the node ends at its start"
                said += fresh
        tor = os.pidfd_open(int(said))
        try:
            node.kill()
            await node.wait()
            await trio.lowlevel.wait_readable(tor)  # it has ended
        finally:
            os.close(tor)
