"""Scenes of two real daemons whose only medium is Bluetooth LE, on BlueZ's two adapters."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import trio

from p2pnode import schema
from tests import daemons
from tests.daemons import Daemon, delivered, homes, pair, texts
from transports.ble.tests.bluez.dialling import powered
from transports.ble.tests.bluez.nodes import ADAPTERS, say

ONE_BY_ONE = 10
UNDER_WAY = 20
IDLE = 20.0
"""Seconds over which a daemon with nothing to do is watched."""

daemons.PATIENCE = 600.0  # an emulated machine is slow

CONFIG = """[transports]
lan = false
courier = false
[transports.ble]
adapter = "{adapter}"
power = "always"
"""


@contextmanager
def two_daemons() -> Iterator[tuple[Daemon, Daemon]]:
    """Run two daemons that have paired over Bluetooth."""
    with tempfile.TemporaryDirectory() as folder:
        ana, bo = Daemon(Path(folder), "ana"), Daemon(Path(folder), "bo")
        with homes(ana, bo):
            for daemon, adapter in zip((ana, bo), ADAPTERS, strict=True):
                daemon.home.config.write_text(CONFIG.format(adapter=adapter))
                daemon.start()
            assert list(ana.lines("status")[0]["transports"]) == ["ble"]
            began = time.monotonic()
            pair(ana, bo)
            say(f"paired by a code in {time.monotonic() - began:.1f} s, both commands included")
            yield ana, bo


def write(daemon: Daemon, to: str, numbers: Sequence[int]) -> list[str]:
    """Send numbered messages and return their ids."""
    with daemon.client() as client:
        return [client.call(schema.Send(to=to, text=str(number))).id for number in numbers]


def numbers(daemon: Daemon, contact: str) -> list[int]:
    """Return the numbers of what a contact wrote, in its order."""
    return [int(text) for author, text in texts(daemon, contact) if author]


def waited(began: float, what: str, *written: tuple[Daemon, Sequence[str]]) -> None:
    """Wait until messages are delivered, and print how long that took."""
    for daemon, messages in written:
        delivered(daemon, messages)
    took, count = time.monotonic() - began, sum(len(messages) for _, messages in written)
    say(f"{count} messages {what}: {took:.1f} s, {count / took:.1f} a second")


def worked(daemon: Daemon) -> float:
    """Return how many seconds of a processor a daemon has used."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(each_way: int) -> None:
    """Pair, write to each other, make up for an absence; its backlog is twice as long."""
    both = list(range(each_way))
    backlog = list(range(each_way, 3 * each_way))
    with two_daemons() as (ana, bo):
        took = []
        for number in range(ONE_BY_ONE):
            began = time.monotonic()
            delivered(ana, write(ana, "bo", [number]))
            took.append(time.monotonic() - began)
        say(f"one by one: delivered after {median(took) * 1000:.0f} ms (median)")
        began = time.monotonic()
        there, back = write(ana, "bo", both[ONE_BY_ONE:]), write(bo, "ana", both)
        waited(began, "both ways", (ana, there), (bo, back))
        assert numbers(bo, "ana") == numbers(ana, "bo") == both
        assert bo.end() == 0
        missed = write(ana, "bo", backlog)
        bo.start()
        began = time.monotonic()
        waited(began, "of a backlog, from the other's start", (ana, missed))
        assert numbers(bo, "ana") == [*both, *backlog]
        assert bo.end() == ana.end() == 0


def faults() -> None:
    """A daemon is killed and an adapter is switched off while messages are under way."""
    with two_daemons() as (ana, bo):
        messages = write(ana, "bo", range(UNDER_WAY))
        delivered(ana, messages[:1])
        bo.kill()
        bo.start()
        began = time.monotonic()
        waited(began, "after SIGKILL, from the other's new start", (ana, messages))
        messages = write(bo, "ana", range(UNDER_WAY))
        delivered(bo, messages[:1])
        trio.run(powered, ADAPTERS[1], False)
        later = write(ana, "bo", range(UNDER_WAY, 2 * UNDER_WAY))
        trio.run(powered, ADAPTERS[1], True)
        began = time.monotonic()
        waited(began, "from when an adapter is on again", (bo, messages), (ana, later))
        assert numbers(bo, "ana") == list(range(2 * UNDER_WAY)), "all of it, once, in its order"
        assert numbers(ana, "bo") == list(range(UNDER_WAY))
        before = [worked(daemon) for daemon in (ana, bo)]
        time.sleep(IDLE)
        used = [worked(daemon) - spent for daemon, spent in zip((ana, bo), before, strict=True)]
        say(f"with nothing to do: {max(used) / IDLE:.0%} of a processor, at most")
        assert bo.end() == ana.end() == 0


async def two_daemons_talk(each_way: int) -> None:
    """Show that daemons with Bluetooth alone do what daemons do."""
    await trio.to_thread.run_sync(show, max(each_way, ONE_BY_ONE + 1))


async def two_daemons_suffer(_: int) -> None:
    """Show that nothing is lost or doubled."""
    await trio.to_thread.run_sync(faults)
