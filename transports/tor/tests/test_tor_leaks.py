"""What leaves a machine whose node has Tor alone: all that crosses its interfaces is looked at."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.capture import Capture
from tests.daemons import delivered
from tests.namespaces import NetworkHost, networks
from tests.patience import until
from transports.tor.tests.tor_daemons import daemons, pair_from_afar
from transports.tor.tests.tor_network import TorNetwork, missing

network = pytest.fixture(networks)

IPV4, TCP, DNS = 0x0800, 6, 53

Flow = tuple[int, str, int, str, int]
"""Protocol, source address and port, target address and port."""


@contextmanager
def alone_with(relays: NetworkHost, host: NetworkHost, *, default: bool) -> Iterator[None]:
    """Leave a host nothing but the way to the relays, and no need to ask for link addresses.

    default: whatever else it sends goes there too, to be seen.

    Names would be asked for at the relays' host: a query is a packet, not a lack of a route.
    """
    for one, other in ((host, relays), (relays, host)):
        link = other.run(["cat", "/sys/class/net/eth0/address"]).strip()
        one.run(["ip", "route", "flush", "default"])
        one.run(["ip", "neigh", "replace", other.ipv4, "lladdr", link, "dev", "eth0"])
    if default:
        host.run(["ip", "route", "add", "default", "via", relays.ipv4])
    place = Path("/etc/netns") / host.namespace
    place.mkdir(parents=True)
    try:
        (place / "resolv.conf").write_text(
            f"nameserver {relays.ipv4}\noptions timeout:1 attempts:1\n"
        )
        yield
    finally:
        shutil.rmtree(place)


@contextmanager
def captured(host: NetworkHost, place: Path) -> Iterator[list[bytes]]:
    """Fill a list with all frames that crossed the host's two interfaces, when the context ends."""
    frames: list[bytes] = []
    with ExitStack() as stack:
        wires = [
            stack.enter_context(Capture(host, place / f"{host.name}-{name}.pcap", name))
            for name in ("eth0", "lo")
        ]
        yield frames
    for wire in wires:
        frames += wire.frames()


def flow(frame: bytes) -> Flow:
    """Return a frame's protocol, and the address and port of both ends; -1 for what is not IPv4."""
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind != IPV4:
        return -1, frame.hex(), 0, "", 0
    ports = body[4 * (body[0] & 0xF) :]
    source, target = (str(ip_address(body[at : at + 4])) for at in (12, 16))
    return (
        body[9],
        source,
        int.from_bytes(ports[:2], "big"),
        target,
        int.from_bytes(ports[2:4], "big"),
    )


def strays(frames: list[bytes], host: NetworkHost, relays: TorNetwork) -> set[Flow]:
    """Return what is neither to a relay nor from one."""
    found = set()
    for frame in frames:
        protocol, source, source_port, target, target_port = flow(frame)
        out = (source, target, target_port in relays.ports) == (host.ipv4, relays.address, True)
        back = (target, source, source_port in relays.ports) == (host.ipv4, relays.address, True)
        if protocol != TCP or not (out or back):
            found.add((protocol, source, source_port, target, target_port))
    return found


def test_no_packet_leaves_but_to_tor_and_none_when_tor_is_down(network, tmp_path):
    if missing():
        pytest.skip(missing())
    net = network("relays", "ana", "bo")
    for namespace in (net.switch, *(host.namespace for host in net.hosts.values())):
        # Else the kernels themselves, the switch's too, look for routers.
        quiet = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
        subprocess.run(["ip", "netns", "exec", namespace, "sh", "-c", quiet], check=True)
    relays, ends = net["relays"], (net["ana"], net["bo"])
    with ExitStack() as stack:
        for host in ends:
            stack.enter_context(alone_with(relays, host, default=host.name == "bo"))
        tor = TorNetwork(relays)
        stack.callback(tor.stop)
        tor.start()
        with captured(ends[1], tmp_path) as frames:
            subprocess.run(ends[1].command(["getent", "hosts", "canary.example"]), check=False)
        asked = [stray for stray in strays(frames, ends[1], tor) if stray[4] == DNS]
        assert asked, "a name that is asked for is seen"

        ana, bo = stack.enter_context(daemons(tor, "ana", "bo", hosts=ends))
        down = tmp_path / "down"
        starts = tmp_path / "starts"
        program = tmp_path / "tor"
        program.write_text(
            f'#!/bin/sh\necho start >> {starts}\ntest -e {down} && exit 1\nexec tor "$@"\n'
        )
        program.chmod(0o755)
        ana.configure(tor, f'program = "{program}"')
        with captured(ends[0], tmp_path) as anas, captured(ends[1], tmp_path) as bos:
            for daemon in (ana, bo):
                daemon.start_until("up")
            pair_from_afar(ana, bo)
            delivered(ana, ana.write("bo", ["there"]))
            delivered(bo, bo.write("ana", ["and back"]))
            ana.lines("doctor")
            ana.end()
        assert len(anas) > 100
        assert len(bos) > 100
        assert strays(anas, ends[0], tor) == set()
        assert strays(bos, ends[1], tor) == set()

        bo.end()
        down.touch()
        wait_until_closed(ends[0])
        before = starts.read_text().count("start")
        with captured(ends[0], tmp_path) as frames:
            ana.start()
            assert ana.state()[0] == "degraded"
            ana.write("bo", ["waits"])
            ana.cli("contacts", "rotate-address", "bo")
            ana.lines("doctor", code=1)
            while starts.read_text().count("start") < before + 3:
                ana.state()  # a process each time: it looks, and does not spin
            ana.end()
        assert frames == []


def wait_until_closed(host: NetworkHost) -> None:
    """Wait until the kernel has nothing left to say for programs that have ended."""
    until(lambda: not re.search("ESTAB|FIN|ACK", host.run(["ss", "-tan"])))
