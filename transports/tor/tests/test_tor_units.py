"""The Tor transport's parts that need no tor: addresses, keys, settings, lines, frames, lanes."""

import queue
import socket
import struct
from base64 import b32decode
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import stem
import trio
from hypothesis import given
from hypothesis import strategies as some
from p2pnode_tor import TorTransport
from p2pnode_tor.address import (
    SIZE,
    VERSION,
    OnionAddress,
    OnionPublic,
    decode_untrusted,
    encode,
)
from p2pnode_tor.channel import FRAME_TIMEOUT, TorChannel
from p2pnode_tor.control import Control
from p2pnode_tor.health import Health, bootstrap_progress, pairs
from p2pnode_tor.keys import OnionKey, client_public_text, client_secret_text, service_id
from p2pnode_tor.lanes import MAX_SHARING, Lanes
from p2pnode_tor.onions import add_onion
from p2pnode_tor.places import MAX_SOCKET_PATH, Places, own_places
from p2pnode_tor.process import configuration, failure_in, quoted
from p2pnode_tor.settings import Door, TorSettings, door_of_text

from p2pnode.errors import ChannelClosed, RemoteError, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.testing import RecordingHost
from p2pnode.spi.transport import MAX_ADDRESS, MAX_FRAME

KEYS = some.binary(min_size=32, max_size=32).filter(any)
PLACES = Places(Path("/data"), Path("/run/x"))


# Addresses ---------------------------------------------------------------------------------------


@given(KEYS, some.integers(1, 65_535), KEYS)
def test_addresses_round_trip(public, port, client):
    address = OnionAddress(OnionPublic(public), port, client)
    raw = encode(address)
    assert len(raw) == SIZE <= MAX_ADDRESS
    assert decode_untrusted(raw) == address


@given(some.binary(max_size=300))
def test_foreign_bytes_are_an_address_or_refused(raw):
    try:
        address = decode_untrusted(raw)
    except RemoteError:
        return
    assert encode(address) == raw


GOOD = bytes((VERSION,)) + b"p" * 32 + b"\x0f\xa1" + b"c" * 32


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "tor-address-version"),
        (b"\x00" + GOOD[1:], "tor-address-version"),
        (b"\x02" + GOOD[1:], "tor-address-version"),
        (GOOD[:-1], "tor-address-size"),
        (GOOD + b"\0", "tor-address-size"),
        (GOOD[:1] + bytes(32) + GOOD[33:], "tor-address-value"),
        (GOOD[:33] + bytes(2) + GOOD[35:], "tor-address-value"),
        (GOOD[:35] + bytes(32), "tor-address-value"),
    ],
)
def test_refused_addresses(raw, reason):
    with pytest.raises(RemoteError, match=reason):
        decode_untrusted(raw)


def test_names_of_services_are_those_tor_gives():
    """Two onion services the Tor Project runs: name and key belong together by the checksum."""
    for name in (
        "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid",
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd",
    ):
        assert service_id(b32decode(name.upper())[:32]) == name


def test_keys_are_written_as_tor_reads_them():
    """RFC 8032, section 7.1, test 1; RFC 7748, section 6.1, for the client's key."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = OnionKey(seed)
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.public.hex() == public
    assert key.service == service_id(bytes.fromhex(public))
    assert key.control_text.startswith("ED25519-V3:")
    assert len(key.control_text) == len("ED25519-V3:") + 88
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4ec4d5a3e3d3f0a8b5c8b6c2f9a7b6")
    assert len(client_public_text(alice)) == 52
    assert client_secret_text(alice).startswith("x25519:")


# Settings and lines ------------------------------------------------------------------------------


def test_the_defaults_work_and_unknown_settings_do_not():
    assert msgspec.convert({}, TorSettings) == TorSettings()
    for table in ({"mod": "own"}, {"mode": "on"}, {"max_onions": -1}, {"max_onions": 257}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(table, TorSettings)


@pytest.mark.parametrize(
    "table",
    [
        {"control": "localhost:9051"},
        {"socks": "127.0.0.1"},
        {"socks": "127.0.0.1:0"},
        {"socks": "127.0.0.1:65536"},
        {"socks": "::1:9050"},
        {"data_directory": "relative"},
        {"options": ["SocksPort 0\nControlPort 1"]},
        {"options": ["Nickname x\\"]},
        {"bridges": ["obfs4 192.0.2.7:443 cert=x"]},
    ],
)
def test_settings_that_cannot_work_are_refused(table):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, TorSettings)


def test_doors():
    assert door_of_text("/run/tor/control") == Door(path="/run/tor/control")
    assert door_of_text("127.0.0.1:9050") == Door(host="127.0.0.1", port=9050)
    assert door_of_text("[::1]:9050") == Door(host="::1", port=9050)


def test_the_configuration_of_our_own_tor():
    settings = TorSettings(
        bridges=("obfs4 192.0.2.7:443 cert=x iat-mode=0", "192.0.2.8:443"),
        plugins=("obfs4 exec /usr/bin/obfs4proxy",),
        save_data=True,
        options=("HeartbeatPeriod 0",),
    )
    lines = configuration(settings, PLACES, 42).splitlines()
    for wanted in (
        'DataDirectory "/data"',
        'ControlPort unix:"/run/x/control"',
        'SocksPort unix:"/run/x/socks" OnionTrafficOnly ExtendedErrors',
        "__OwningControllerProcess 42",
        "CookieAuthentication 1",
        "ClientOnly 1",
        "UseBridges 1",
        "ReducedConnectionPadding 1",
        "ClientTransportPlugin obfs4 exec /usr/bin/obfs4proxy",
        "Bridge obfs4 192.0.2.7:443 cert=x iat-mode=0",
        "Bridge 192.0.2.8:443",
    ):
        assert wanted in lines
    assert lines[-1] == "HeartbeatPeriod 0"
    assert "UseBridges 1" not in configuration(TorSettings(), PLACES, 42)


def test_quoting():
    assert quoted('a "b" \\c') == '"a \\"b\\" \\\\c"'


def test_the_command_that_opens_a_service_names_its_clients():
    key, clients = OnionKey(b"k" * 32), [b"a" * 32, b"b" * 32]
    command = add_onion(key, "unix:/run/x/1", clients)
    assert command == (
        f"ADD_ONION {key.control_text} Flags=DiscardPK,V3Auth MaxStreams=64"
        f" Port=4001,unix:/run/x/1"
        f" ClientAuthV3={client_public_text(clients[0])}"
        f" ClientAuthV3={client_public_text(clients[1])}"
    )
    assert command.isprintable()


def test_why_tor_did_not_start():
    bad = "Nov 21 [err] Reading config failed--see warnings above."
    assert failure_in(bad) == "misconfigured: tor refuses its settings"
    assert failure_in("Nov 21 [notice] Opening Control listener") == ""


# Health ------------------------------------------------------------------------------------------

PHASE = 'STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS={} TAG=x SUMMARY="Loading \\"all\\" of it"'


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        (PHASE.format(45), 45),
        ("status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done", 100),
        ("Nov 21 09:05:01.000 [notice] Bootstrapped 75% (enough_dirinfo): Loaded", 75),
        (PHASE.format(1_000), 100),
        ("STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=x", None),
        ("STATUS_CLIENT NOTICE BOOTSTRAP", None),
        ("Nov 21 [notice] Bootstrapped", None),
        ("", None),
    ],
)
def test_bootstrap_lines(line, progress):
    assert bootstrap_progress(line) == progress


def test_pairs_of_a_line():
    told = pairs('X A=1 B="two \\"words\\"" C=')
    assert told == {"A": "1", "B": 'two \\"words\\"', "C": ""}


@given(some.text())
def test_health_takes_any_line(line):
    health = Health()
    health.hear(line)
    state, detail = health.state()
    assert state in {"starting", "up", "degraded"}
    assert len(detail) <= 100


def test_states():
    health = Health()
    assert health.state() == ("starting", "0 %")
    health.hear(PHASE.format(45))
    assert health.state() == ("starting", "45 %")
    health.hear(PHASE.format(45) + " REASON=TIMEOUT COUNT=1 RECOMMENDATION=ignore")
    assert health.state() == ("starting", "45 %")
    health.hear(PHASE.format(45) + ' WARNING="Network is unreachable" REASON=NOROUTE COUNT=3')
    assert health.state() == ("degraded", "no network")
    health.hear(PHASE.format(50))
    assert health.state() == ("starting", "50 %")
    health.hear("STATUS_GENERAL WARN CLOCK_SKEW SKEW=-7200 SOURCE=OR:192.0.2.7:443")
    assert health.state() == ("degraded", "the clock is wrong")
    health.hear(PHASE.format(100))
    assert health.state() == ("up", "")
    health.hear("NETWORK_LIVENESS DOWN")
    assert health.state() == ("degraded", "no network")
    health.hear("NETWORK_LIVENESS UP")
    health.hear("CONF_CHANGED\nDisableNetwork=1")
    assert health.state() == ("degraded", "no network: switched off in tor")
    assert not health.up
    health.hear("CONF_CHANGED\nDisableNetwork")
    assert health.up


# Lanes -------------------------------------------------------------------------------------------


def lane(number: int) -> Lane:
    return Lane(number.to_bytes(16, "big"))


async def test_lanes_get_services_of_their_own_and_then_share_one():
    host = RecordingHost()
    lanes = Lanes(most=2)
    held = [await lanes.hold(host, lane(number)) for number in range(5)]
    assert [one.shared for one in held] == [False, False, True, True, True]
    assert len({one.key.service for one in held}) == 3
    assert len({one.client for one in held}) == 5
    again = Lanes(most=0)
    assert [await again.hold(host, lane(number)) for number in range(5)] == held
    assert await again.drop(host, lane(1)) == held[1]
    assert await again.drop(host, lane(1)) is None
    assert (await again.hold(host, lane(1))).key != held[1].key


async def test_the_shared_service_has_a_bound():
    host = RecordingHost()
    lanes = Lanes(most=0)
    for number in range(MAX_SHARING):
        assert await lanes.hold(host, lane(number)) is not None
    assert await lanes.hold(host, lane(MAX_SHARING)) is None


async def test_damaged_keys_are_made_anew():
    host = RecordingHost()
    await host.save(f"lane-{lane(1).hex()}", b"\x01short")
    assert (await Lanes(most=1).hold(host, lane(1))) is not None
    assert len(host.saved[f"lane-{lane(1).hex()}"]) == 65


async def test_what_is_revoked_while_nobody_runs_is_forgotten_at_the_next_start(tmp_path):
    """The node was killed between the commit and the word to the transport, or that was down."""
    host = RecordingHost()
    settings = TorSettings(mode="system", control=str(tmp_path / "control"), max_onions=1)

    @asynccontextmanager
    async def run(*opened: Lane):
        transport = TorTransport(settings)
        for one in opened:
            await transport.open(one)
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            yield transport
            nursery.cancel_scope.cancel()

    async with run(lane(1), lane(2), lane(3)) as first:
        kept = {number: await first.addresses(lane(number)) for number in (1, 2, 3)}
        assert all(kept.values())
    assert {f"lane-{lane(number).hex()}" for number in (1, 2, 3)} < set(host.saved)
    await first.revoke(lane(2))
    async with run(lane(1)) as second:
        assert await second.addresses(lane(1)) == kept[1]
        assert await second.addresses(lane(2)) == await second.addresses(lane(3)) == []
        assert set(host.saved) == {f"lane-{lane(1).hex()}", "shared"}
        await second.open(lane(3))
        assert await second.addresses(lane(3)) != kept[3]


# Places ------------------------------------------------------------------------------------------


async def test_places_lie_in_the_home_and_leave_nothing(tmp_path):
    host = RecordingHost(tmp_path / "tor")
    left = tmp_path / "tor" / "run-of-a-killed-one"
    left.mkdir(parents=True)
    with own_places("", host) as places:
        assert places.data == tmp_path / "tor"
        assert not left.exists()
        assert places.sockets.stat().st_mode & 0o777 == 0o700
        with pytest.raises(TransportUnavailable, match="another node"), own_places("", host):
            pass
    assert not places.sockets.exists()
    assert places.data.exists()


async def test_sockets_have_room_where_homes_and_temporary_places_have_long_names(
    tmp_path, monkeypatch
):
    long = tmp_path / ("long" * 40)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", str(long))
    for host in (RecordingHost(long / "tor"), RecordingHost()):
        with own_places("", host) as places:
            assert len(str(places.sockets / ("s" * 16))) <= MAX_SOCKET_PATH
            assert places.data.is_dir()
        assert not places.sockets.exists()


async def test_a_place_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    wanted = str(tmp_path / "file" / "below")
    with pytest.raises(TransportUnavailable, match="no place"), own_places(wanted, RecordingHost()):
        pass


# Without tor -------------------------------------------------------------------------------------


async def test_switched_off_or_not_installed():
    for settings, reason in (
        (TorSettings(mode="off"), "switched off"),
        (TorSettings(mode="own", program="no-such-tor"), "not installed"),
        (TorSettings(program="no-such-tor", control="/nowhere/control"), "not installed"),
    ):
        host = RecordingHost()
        transport = TorTransport(settings)
        with pytest.raises(TransportUnavailable, match=reason) as caught:
            await transport.run(host)
        assert caught.value.hint
        assert host.reports == [("starting", ""), ("off", "")]
        checks = await transport.diagnose()
        assert checks[0].result in {"skip", "fail"}
        assert checks[0].fix


async def test_a_system_tor_that_is_not_there_is_waited_for(tmp_path):
    host = RecordingHost()
    transport = TorTransport(TorSettings(mode="system", control=str(tmp_path / "control")))
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run, host)
        assert host.reports[-1] == ("degraded", "no tor takes commands")
        await transport.open(lane(1))
        (address,) = await transport.addresses(lane(1))
        with pytest.raises(ChannelClosed):
            await transport.dial(address)
        checks = {check.name: check for check in await transport.diagnose()}
        assert checks["process"].result == "fail"
        nursery.cancel_scope.cancel()
    assert host.reports[-1] == ("off", "")


# Commands ----------------------------------------------------------------------------------------


class Echo:
    """A wire to a tor that answers each command with the command."""

    def __init__(self) -> None:
        self._answers: queue.Queue[str] = queue.Queue()

    def send(self, command: str) -> None:
        self._answers.put(command)

    def recv(self) -> SimpleNamespace:
        answer = self._answers.get()
        if not answer:
            raise stem.SocketClosed
        return SimpleNamespace(content=lambda: [("250", " ", answer)])

    def close(self) -> None:
        self._answers.put("")


@pytest.mark.parametrize("ticks", range(8))
async def test_a_command_that_is_given_up_takes_no_other_ones_answer(ticks):
    """Given up before it was sent it was waited for all the same: from then on every command got
    the answer to the one before, and the last one none."""
    control = Control(Echo(), [].append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.listen)
        async with trio.open_nursery() as asking:
            asking.start_soon(control.ask, "FIRST")
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            asking.cancel_scope.cancel()
        try:
            assert await control.ask("SECOND") == ["SECOND"]
        finally:
            await control.close()


# Frames ------------------------------------------------------------------------------------------


@asynccontextmanager
async def raw_pair():
    """Yield a plain socket and a channel at its other end."""
    plain, other = socket.socketpair()
    channel = TorChannel(trio.socket.from_stdlib_socket(other))
    with plain:
        yield plain, channel
        await channel.aclose()


async def test_frames_in_any_pieces():
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


@pytest.mark.parametrize("bad", [bytes(4), struct.pack(">I", MAX_FRAME + 1), b"\xff" * 4])
async def test_whole_frames_before_a_bad_one_still_come(bad):
    async with raw_pair() as (plain, channel):
        plain.send(struct.pack(">I", 2) + b"ok" + bad)
        assert await channel.receive() == b"ok"
        with pytest.raises(ChannelClosed):
            await channel.receive()


async def test_an_unfinished_frame_has_a_time_limit_and_silence_has_none(autojump_clock):
    async with raw_pair() as (plain, channel):
        with trio.move_on_after(10 * FRAME_TIMEOUT) as idle:
            await channel.receive()
        assert idle.cancelled_caught
        plain.send(struct.pack(">I", 100) + b"x")
        began = trio.current_time()
        with pytest.raises(ChannelClosed):
            await channel.receive()
        assert trio.current_time() - began == pytest.approx(FRAME_TIMEOUT)


async def test_a_send_cancelled_within_a_frame_ends_the_channel():
    async with raw_pair() as (_, channel):
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                while True:
                    await channel.send(bytes(MAX_FRAME))

            nursery.start_soon(flood)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(ChannelClosed):
            await channel.send(b"more")


async def test_frames_out_of_bounds_are_the_callers_mistake():
    async with raw_pair() as (_, channel):
        for frame in (b"", bytes(MAX_FRAME + 1)):
            with pytest.raises(ValueError, match="1 to MAX_FRAME"):
                await channel.send(frame)
