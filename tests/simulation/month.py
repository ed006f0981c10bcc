"""A node nobody looks after: python -m tests.simulation.month --days 30 [--seed N]

The real engine, stores on disk, virtual time. A node in a shed serves two people who pass by on a
network that comes and goes, and is switched off, crashes, loses the date and runs out of disk.
Nothing of it may add up: at the end of each day, in a quiet moment, tasks and descriptors are
counted and memory is measured. Prints figures as JSON; exit 1 when a promise was broken.
"""

import argparse
import gc
import json
import logging
import os
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory
from typing import Any

import trio
import trio.testing

from p2pnode import schema
from p2pnode.engine.clock import Clock
from p2pnode.errors import LocalError
from p2pnode.node import Node
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.spi.memory import MemoryNet
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns.stores import Stores
from tests.entropy import SeededEntropy
from tests.people import history, pair

DAY = 86_400
HOUR = 3_600
BEGAN = 1_790_000_000
"""Unix seconds when the month begins."""

PEOPLE = ("ana", "bo")
CARRY = 4_000_000
OFF = HOUR
"""Seconds a node is off at most."""

LETTERS = 6
"""Messages each person writes on a day, about, to the shed and to the other by turns."""

QUIET = 4 * HOUR
"""Seconds at the end of the month in which all is well, so that what waits can come."""

MOST_PAGES = 2**30
"""SQLite's own limit."""

SOME = 12
"""Tasks or descriptors by which two quiet moments may differ: somebody may just be starting."""

GROWTH = 3_000_000
"""Bytes by which Python's memory may differ between two quiet moments: caches, not days."""


@dataclass
class Report:
    """What was seen. Lists have one figure for each day."""

    seed: int
    days: int
    seconds: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    tasks: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    traced_bytes: list[int] = field(default_factory=list)
    rss_kib: list[int] = field(default_factory=list)
    vault_kib: list[int] = field(default_factory=list)
    custody_kib: list[int] = field(default_factory=list)
    written: int = 0
    arrived: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class Resident:
    """A node with its stores on disk, that can be switched off, crash, and lose the date."""

    def __init__(self, net: MemoryNet, name: str, place: Path, random: Random) -> None:
        self.name = name
        self.wrong = 0
        """Seconds by which the wall clock is wrong."""
        self.node: Node | None = None
        self._random = random
        self._entropy = SeededEntropy(random.getrandbits(64))
        self._transport = net.transport(name)
        self._place = place
        self._key = self._entropy.take(32)
        self._off = trio.Event()
        self._dead = trio.CancelScope()
        self.began = trio.Event()
        place.mkdir()
        account = identity.new_account(self._entropy)
        vault = Vault.create(place / "vault.db", self._key)
        own = Own(account, identity.new_device(account, self._entropy), name)
        initialise(vault, own, self._entropy.take(32))
        vault.close()
        Custody.create(place / "custody.db").close()

    def wall(self) -> int:
        """Return what the node's wall clock says."""
        return max(0, BEGAN + int(trio.current_time()) + self.wrong)

    async def live(self, off_for: float) -> None:
        """Run from switching on to switching off, again and again."""
        while True:
            self._off, self._dead = trio.Event(), trio.CancelScope()
            with self._dead:
                async with self._running():
                    self.began.set()
                    await self._off.wait()
            self.node = None
            self.began = trio.Event()
            await trio.sleep(self._random.uniform(1, off_for))

    def switch_off(self) -> None:
        """End it as its service would."""
        self._off.set()

    def crash(self) -> None:
        """End it between any two steps."""
        self._dead.cancel()

    def let_grow(self, grow: bool) -> None:
        """Let its databases have room on the disk, or none, until it is switched off."""
        if self.node is not None:
            for one in (self.node._stores.vault.database, self.node._stores.custody.database):
                most = MOST_PAGES if grow else one.value("PRAGMA page_count")
                one.value(f"PRAGMA max_page_count = {most}")

    def kib(self, store: str) -> int:
        """Return how large a store is on disk, its log included."""
        return sum(file.stat().st_size for file in self._place.glob(f"{store}.db*")) // 1024

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        vault = Vault.open(self._place / "vault.db", self._key)
        custody = Custody.open(self._place / "custody.db")
        try:
            self.node = Node(
                Stores(vault, custody, CarryPolicy(CARRY)),
                [self._transport],
                reader=None,
                clock=Clock.resumed(vault.meta.get("clock"), wall=self.wall),
                entropy=self._entropy,
                random=self._random,
            )
            async with self.node.running():
                yield
        finally:
            vault.close()
            custody.close()


async def month(days: int, seed: int, place: Path) -> Report:
    """Let the days pass and return what was seen. Wants trio's autojump clock."""
    report = Report(seed, days)
    random = Random(seed)
    net = MemoryNet(seed=seed, together=True)
    shed = Resident(net, "shed", place / "shed", random)
    people = [Resident(net, name, place / name, random) for name in PEOPLE]
    everyone = [shed, *people]
    async with trio.open_nursery() as nursery:
        for one in everyone:
            nursery.start_soon(one.live, OFF)
        for one in everyone:
            await one.began.wait()
        for one, other in ((shed, people[0]), (shed, people[1]), (people[0], people[1])):
            assert one.node is not None
            assert other.node is not None
            assert await pair(one.node, other.node) == ["paired", "paired"]
        net.cut(*PEOPLE)
        tracemalloc.start()
        end = trio.current_time() + days * DAY
        async with trio.open_nursery() as troubles:
            troubles.start_soon(_peace, net, everyone, end - QUIET)
            for trouble in (_flap, _restart, _lose_the_date, _fill_the_disk, _write):
                troubles.start_soon(trouble, report, random, net, everyone, end - QUIET)
            for _ in range(days):
                await trio.sleep(DAY - HOUR)
                await _measure(report, net, everyone)
                await trio.sleep(HOUR)
        await _judge(report, net, everyone)
        tracemalloc.stop()
        nursery.cancel_scope.cancel()
    return report


async def _until(end: float, random: Random, every: float) -> AsyncIterator[None]:
    while True:
        pause = random.expovariate(1 / every)
        if trio.current_time() + pause >= end:
            return
        await trio.sleep(pause)
        yield


Everyone = list[Resident]


async def _flap(
    report: Report, random: Random, net: MemoryNet, everyone: Everyone, end: float
) -> None:
    """People come and go, and cables are pulled without a word."""
    async for _ in _until(end, random, HOUR):
        person = random.choice(PEOPLE)
        if net.near("shed", person):
            silent = random.random() < 0.4
            net.cut("shed", person, silent=silent)
            report.happened["cable pulled" if silent else "went away"] += 1
        else:
            net.connect("shed", person)
            report.happened["came by"] += 1


async def _restart(
    report: Report, random: Random, net: MemoryNet, everyone: Everyone, end: float
) -> None:
    async for _ in _until(end, random, 9 * HOUR):
        one = random.choice(everyone)
        if random.random() < 0.5:
            one.crash()
            report.happened["crashed"] += 1
        else:
            one.switch_off()
            report.happened["switched off"] += 1


async def _lose_the_date(
    report: Report, random: Random, net: MemoryNet, everyone: Everyone, end: float
) -> None:
    """A small board's clock: no date after a start, a wrong one, the right one again."""
    async for _ in _until(end, random, 7 * HOUR):
        wrong = (0, 0, -BEGAN, -HOUR, HOUR, 40 * DAY, 3_000 * DAY)
        random.choice(everyone).wrong = random.choice(wrong)
        report.happened["clock jumped"] += 1


async def _fill_the_disk(
    report: Report, random: Random, net: MemoryNet, everyone: Everyone, end: float
) -> None:
    async for _ in _until(end - 4 * HOUR, random, DAY):
        everyone[0].let_grow(False)
        report.happened["disk full"] += 1
        await trio.sleep(random.uniform(0.1, 3) * HOUR)
        everyone[0].let_grow(True)


async def _peace(net: MemoryNet, everyone: Everyone, at: float) -> None:
    """From some moment on all is well."""
    await trio.sleep_until(at)
    for one in everyone:
        one.wrong = 0
    for name in PEOPLE:
        net.connect("shed", name)


async def _write(
    report: Report, random: Random, net: MemoryNet, everyone: Everyone, end: float
) -> None:
    async for _ in _until(end, random, DAY / LETTERS / len(everyone)):
        one = random.choice(everyone)
        to = random.choice([other.name for other in everyone if other is not one])
        if one.node is None:
            continue
        try:
            await one.node.call(schema.Send(to=to, text=f"letter {report.written} to {to}"))
        except LocalError:
            report.happened["said: not saved"] += 1
            continue
        report.written += 1


async def _measure(report: Report, net: MemoryNet, everyone: Everyone) -> None:
    """Count in a quiet moment: everybody on, all links standing, nothing in between."""
    for one in everyone:
        await one.began.wait()
    before = {name: net.near("shed", name) for name in PEOPLE}
    for name in PEOPLE:
        net.cut("shed", name)
    await trio.sleep(300)
    gc.collect()
    root = trio.lowlevel.current_root_task()
    assert root is not None
    report.tasks.append(_tasks(root))
    report.descriptors.append(len(os.listdir("/proc/self/fd")))
    report.traced_bytes.append(tracemalloc.get_traced_memory()[0])
    report.rss_kib.append(_rss_kib())
    report.vault_kib.append(everyone[0].kib("vault"))
    report.custody_kib.append(everyone[0].kib("custody"))
    for name, near in before.items():
        if near:
            net.connect("shed", name)


def _rss_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _tasks(task: trio.lowlevel.Task) -> int:
    return 1 + sum(_tasks(one) for nursery in task.child_nurseries for one in nursery.child_tasks)


async def _judge(report: Report, net: MemoryNet, everyone: Everyone) -> None:
    """All has been well for a while: now nothing may be lost, doubled or left over."""
    nodes = {one.name: one.node for one in everyone}
    seen: dict[tuple[str, str], Counter[str]] = {}
    sent: list[tuple[str, str, schema.Message]] = []
    for name, node in nodes.items():
        assert node is not None
        for other in nodes:
            if other == name:
                continue
            shown = await history(node, other)
            mine = [message for message in shown if message.to == other]
            sent += [(name, other, message) for message in mine]
            seen[name, other] = Counter(one.text for one in shown if one not in mine)
        for reason, times in node.engine.peers.rejected.items():
            report.refused[reason] = report.refused.get(reason, 0) + times
    if len(sent) != report.written:
        report.broken.append(f"{report.written} were acknowledged, {len(sent)} are there")
    for author, recipient, message in sent:
        times = seen[recipient, author][message.text]
        report.arrived += times > 0
        report.happened[message.state] += 1
        if times > 1:
            report.broken.append(f"{message.text!r} is shown {times} times")
        if message.state == "delivered" and not times:
            report.broken.append(f"{message.text!r} is called delivered and is not there")
        if message.state in ("queued", "handed"):
            report.broken.append(f"{message.text!r} is still under way ({message.state})")
    compare(report, "tasks", report.tasks, SOME)
    compare(report, "descriptors", report.descriptors, SOME)
    compare(report, "bytes of memory", report.traced_bytes, GROWTH)


def compare(report: Report, what: str, figures: list[int], allowed: int) -> None:
    """Note when the second half of the days needed more than the first did."""
    half = len(figures) // 2
    if half:
        before, after = max(figures[:half]), max(figures[half:])
        if after > before + allowed:
            report.broken.append(f"{what} grew from {before} to {after}")


def main() -> int:
    """Let a month pass and print what was seen; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.month")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=None, help="random when not given")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else SystemRandom().getrandbits(32)
    report = run(chosen.days, seed)
    print(json.dumps(vars(report), indent=1))
    return 1 if report.broken else 0


def run(days: int, seed: int) -> Report:
    """Let the days pass in virtual time."""
    began = time.perf_counter()
    said = logging.getLogger("p2pnode")
    said.setLevel(logging.CRITICAL)  # a full disk is said each time
    clock = trio.testing.MockClock(autojump_threshold=0)
    # trio shuffles what runs next by a random source of its own; so a seed shows the same again
    scheduling: Any = trio._core._run
    before = scheduling._ALLOW_DETERMINISTIC_SCHEDULING
    scheduling._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduling._r.seed(seed)
    with TemporaryDirectory(prefix="month-") as place:
        try:
            report = trio.run(month, days, seed, Path(place), clock=clock)
        finally:
            scheduling._ALLOW_DETERMINISTIC_SCHEDULING = before
            said.setLevel(logging.NOTSET)
    report.seconds = round(time.perf_counter() - began, 1)
    return report


if __name__ == "__main__":
    sys.exit(main())
