"""Three hosts: two whose nodes never meet again, and a friend who meets both."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from p2pnode import schema
from tests.daemons import Daemon, canaries, delivered, files_below, homes, pair, texts
from tests.namespaces import networks
from tests.patience import PATIENCE, until

network = pytest.fixture(networks)

SECRET = "canary-of-the-carried-text"


def arrived(daemon: Daemon, count: int) -> list[str]:
    """Wait for messages to come; return their texts."""
    found: list[str] = []
    with daemon.client() as client:
        while len(found) < count:
            asked = schema.TakeEvents(consumer="test", timeout=PATIENCE)
            events = client.call(asked).events
            assert events, f"{daemon.name} still waits for {count - len(found)} messages"
            client.call(schema.AckEvents(consumer="test", cursor=events[-1].cursor))
            found += [
                event.message.text
                for event in events
                if event.kind == "message.received" and event.message is not None
            ]
    return found


def marks(daemon: Daemon) -> list[bytes]:
    """Return how a running daemon's identity could show in bytes."""
    with daemon.client() as client:
        return canaries(msgspec.to_builtins(client.call(schema.GetIdentity())))


@contextmanager
def still(daemon: Daemon) -> Iterator[int]:
    """Hold a daemon's process, with all its threads; yield its number."""
    assert daemon.process is not None
    process = daemon.process.pid
    os.kill(process, signal.SIGSTOP)
    try:
        tasks = Path(f"/proc/{process}/task")
        until(lambda: all(_stopped(task) for task in tasks.iterdir()))
        yield process
    finally:
        os.kill(process, signal.SIGCONT)


def _stopped(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except FileNotFoundError:
        return True


def memory(daemon: Daemon) -> bytes:
    """Return all writable memory of a daemon, as it is at one moment."""
    found = []
    with (
        still(daemon) as process,  # a running one gives parts of it back between list and look
        open(f"/proc/{process}/maps") as maps,
        open(f"/proc/{process}/mem", "rb", 0) as raw,
    ):
        for line in maps:
            span, mode, *_ = line.split()
            if mode.startswith("rw") and "[v" not in line:
                first, last = (int(one, 16) for one in span.split("-"))
                raw.seek(first)
                found.append(raw.read(last - first))
    return b"".join(found)


def test_a_friend_carries_between_hosts_that_never_meet(network, tmp_path):
    net = network("a", "b", "c")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(tmp_path, "bo", host=net["b"], passphrase="of the carrier")
    cy = Daemon(tmp_path, "cy", host=net["c"])
    with homes(ana, bo, cy):
        for daemon in (ana, bo, cy):
            daemon.home.config.write_text('[privacy]\norigin = "fast"\n')
            daemon.start()
        for one, other in ((ana, bo), (bo, cy), (ana, cy)):
            pair(one, other)
        net["c"].cut()
        ids = [ana.lines("send", "cy", f"{SECRET} {number}")[0]["id"] for number in range(30)]
        with ana.client() as client:
            for message in ids:
                client.call(schema.WaitState(id=message, state="handed", timeout=PATIENCE))
        net["a"].cut()
        net["c"].heal()
        written = [f"{SECRET} {number}" for number in range(30)]
        assert sorted(arrived(cy, len(ids))) == sorted(written)
        assert [text for _, text in texts(cy, "ana")] == written
        status = bo.lines("status")[0]
        assert status["custody"]["count"] >= len(ids)
        held = memory(bo)
        assert marks(bo)[0] in held  # so the scan would see what is there
        assert SECRET.encode() not in held
        with bo.client() as client:
            while client.call(schema.GetStatus()).custody.count <= len(ids):
                client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.2))
        net["c"].cut()
        net["a"].heal()
        delivered(ana, ids)
        told = ana.lines("why", ids[0])[0]
        assert [event["kind"] for event in told["events"]] == [
            "saved",
            "carried",
            "delivered-carried",
        ]
        assert texts(bo, "ana") == texts(bo, "cy") == []
        assert bo.end() == 0
        forbidden = [SECRET.encode(), *marks(ana), *marks(cy)]
        for path, raw in files_below(bo.home.root):
            for canary in forbidden:
                assert canary not in raw, path
