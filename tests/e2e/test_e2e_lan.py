"""Two hosts with a switch between them: real mDNS, a cut cable, and what the wire shows."""

import re
import subprocess
import threading
import time

import pytest

from p2pnode import schema
from tests.capture import Capture
from tests.daemons import HOST_NAME, Daemon, canaries, delivered, files_below, homes, pair, texts
from tests.namespaces import networks

network = pytest.fixture(networks)

EACH_WAY = 200
CUT = 20.0
"""Seconds without a network: long enough for TCP to have backed off, shorter than keep-alive."""

CONSTANTS = re.compile(
    rb"(?:\x08_p2pnode\x04_tcp|\x09_services\x07_dns-sd\x04_udp)(?:\x05local\x00|\xc0.)", re.DOTALL
)
"""What every node's multicast DNS says alike: its last part is a pointer where a host's name, which
ends so too, stands before it; which answers share a message, and in which order, time decides."""

ADDRESS_RECORDS = re.compile(
    rb"\x00\x01[\x00\x80]\x01.{4}\x00\x04.{4}|\x00\x1c[\x00\x80]\x01.{4}\x00\x10.{16}", re.DOTALL
)
"""A and AAAA records, which carry the hosts' addresses as they must."""

WINDOW = 16


def write(daemon: Daemon, to: str, first: int, count: int) -> list[str]:
    """Send numbered messages and return their ids."""
    with daemon.client() as client:
        return [
            client.call(schema.Send(to=to, text=f"{daemon.name} {number}")).id
            for number in range(first, first + count)
        ]


def test_two_hundred_each_way_across_a_cut(network, tmp_path):
    net = network("a", "b")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(tmp_path, "bo", host=net["b"])
    with homes(ana, bo):
        ana.start()
        bo.start()
        pair(ana, bo)
        half = EACH_WAY // 2
        early = write(ana, "bo", 0, half), write(bo, "ana", 0, half)
        net["b"].cut()
        ended = time.monotonic() + CUT
        late = [[], []]
        writers = [
            threading.Thread(target=lambda: late[0].extend(write(ana, "bo", half, half))),
            threading.Thread(target=lambda: late[1].extend(write(bo, "ana", half, half))),
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        time.sleep(max(0.0, ended - time.monotonic()))  # the length of the cut is the test
        net["b"].heal()
        delivered(ana, early[0] + late[0])
        delivered(bo, early[1] + late[1])
        here, there = texts(ana, "bo"), texts(bo, "ana")
        assert len(here) == len(there) == 2 * EACH_WAY
        assert [text for _, text in here] == [text for _, text in there]
        for name in ("ana", "bo"):
            said = [text for _, text in here if text.startswith(name)]
            assert said == [f"{name} {number}" for number in range(EACH_WAY)]


def observed(network, place, secret: str) -> dict[tuple, bytes]:
    """Run a pairing and a short exchange; return what crossed the wire, after a canary scan."""
    place.mkdir()
    net = network("a", "b")
    ana = Daemon(place, "ana-canary-name", host=net["a"], passphrase="correct horse")
    bo = Daemon(place, "bo-canary-name", host=net["b"], passphrase="battery staple")
    names = (ana.name, bo.name)
    with Capture(net["a"], place / "wire.pcap") as wire, homes(ana, bo):
        ana.start()
        bo.start()
        steps = pair(ana, bo)
        ids = [write(ana, names[1], 0, 5), write(bo, names[0], 0, 5)]
        ids[0].append(ana.lines("send", names[1], secret)[0]["id"])
        delivered(ana, ids[0])
        delivered(bo, ids[1])
        code = steps[0][0]["uri"].encode()
        identities = [daemon_identity(daemon) for daemon in (ana, bo)]
        forbidden = [secret.encode(), code, code.lower(), *(name.encode() for name in names)]
        forbidden += [HOST_NAME.encode()]
        for identity in identities:
            forbidden += canaries(identity)
        for daemon in (ana, bo):
            assert daemon.end() == 0
        for daemon in (ana, bo):
            for path, raw in files_below(daemon.home.root):
                for canary in forbidden[:1] + forbidden[3:]:
                    assert canary not in raw, (path, canary)
            for canary in forbidden:
                assert canary not in daemon.log.read_bytes()
    payloads = wire.payloads()
    assert sum(map(len, payloads.values())) > 50_000
    for flow, payload in payloads.items():
        for canary in forbidden:
            assert canary not in payload, (flow, canary)
    return payloads


def daemon_identity(daemon: Daemon) -> dict[str, str]:
    """Return account, device and fingerprint."""
    with daemon.client() as client:
        own = client.call(schema.GetIdentity())
    return {"account": own.account, "device": own.device, "fingerprint": own.fingerprint}


def is_structure(run: bytes) -> bool:
    """Say whether 16 bytes of multicast DNS are counts, types, time to live and pointers alone.

    Those are small numbers and a few flags, alike in every message of that protocol; a name or an
    identifier of that length has hardly any such bytes. A type (SRV is 0x21), a time (120) and an
    offset may look like letters, and the last two letters of random names are alike once in 256
    runs: six such bytes are let pass, of sixteen.
    """
    return sum(byte >= 0x20 and byte not in (0x80, 0x84, 0xC0) for byte in run) <= 6


def windows(payloads: dict[tuple, bytes]) -> set[bytes]:
    """Return every run of WINDOW bytes, without the constants and the records of addresses."""
    found: set[bytes] = set()
    for flow, payload in payloads.items():
        if flow[0] == "udp" and 5353 not in flow:
            continue
        parts = [payload]
        if flow[0] == "udp":
            parts = ADDRESS_RECORDS.split(payload)
            parts = [piece for part in parts for piece in CONSTANTS.split(part)]
        for part in parts:
            runs = {part[at : at + WINDOW] for at in range(len(part) - WINDOW + 1)}
            found |= {run for run in runs if flow[0] == "tcp" or not is_structure(run)}
    return found


def test_the_wire_and_the_disk_tell_nothing(network, tmp_path):
    first = observed(network, tmp_path / "one", "canary-text-8f1e6b")
    second = observed(network, tmp_path / "two", "canary-text-8f1e6b")
    shared = windows(first) & windows(second)
    assert not shared, sorted(shared)[:40]


def test_ipv6_alone_is_enough(network, tmp_path):
    net = network("a", "b")
    for name in ("a", "b"):
        net[name].remove_address(f"{net[name].ipv4}/24")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(tmp_path, "bo", host=net["b"])
    with homes(ana, bo):
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(ana, write(ana, "bo", 0, 1))


def test_a_full_disk_is_told_and_survived(network, tmp_path):
    network("probe")  # needs root, as mounting does
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], check=True)
    try:
        _fill(small)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def _fill(small):
    from tests.daemons import by_hand

    ana, bo = Daemon(small, "ana"), Daemon(small.parent, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        bo.end()
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        accepted = []
        told = ""
        for number in range(1_000):
            done = subprocess.run(
                ana.command("send", "bo", f"full {number}", "--json"),
                capture_output=True,
                text=True,
            )
            if done.returncode:
                told = done.stderr
                assert done.returncode == 8, done.stderr
                break
            accepted.append(number)
        assert "store-full" in told
        filler.unlink()
        after = write(ana, "bo", 0, 1)
        bo.start()
        delivered(ana, after)
        got = [text for _, text in texts(bo, "ana")]
        assert got == [f"full {number}" for number in accepted] + ["ana 0"]
