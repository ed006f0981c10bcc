"""Two real daemons on loopback, driven through the local API."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from p2pnode import schema
from p2pnode.client import BlockingClient, Client
from p2pnode.config import Home
from p2pnode.errors import LocalError

P2PNODE = [sys.executable, "-m", "p2pnode"]
ONE_BY_ONE = 500
QUEUED = 2_000
BATCH = 100
IDLE = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


class Daemon:
    """A daemon in a home of its own."""

    def __init__(self, root: Path, name: str, unlock: Sequence[str] = ()) -> None:
        self.home = Home(root / name)
        self.name = name
        self._unlock = unlock
        self.process: subprocess.Popen[bytes] | None = None

    def verb(self, *words: str) -> None:
        """Run a verb of the command line."""
        command = [*P2PNODE, "--home", str(self.home.root), *words]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> float:
        """Run it; return the seconds until it was ready."""
        began = time.perf_counter()
        command = [*P2PNODE, "--home", str(self.home.root), "run", *self._unlock]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            try:
                with BlockingClient(self.home.socket) as client:
                    client.call(schema.GetReady(timeout=30))
                return time.perf_counter() - began
            except LocalError:
                time.sleep(0.005)

    def cpu(self) -> float:
        """Return the CPU seconds it has used."""
        assert self.process is not None
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def rss(self) -> float:
        """Return its resident memory in MiB."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def end(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
            self.process = None


def ports_free(count: int) -> list[int]:
    """Return ports of loopback that nobody uses."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def settings(*daemons: Daemon) -> None:
    """Let the daemons know each other's address on loopback."""
    ports = ports_free(len(daemons))
    for own, daemon in enumerate(daemons):
        daemon.home.config.write_text(
            f'[transports.lan]\ndiscover = false\ninterfaces = ["lo"]\nport = {ports[own]}\n'
            f'peers = ["127.0.0.1:{ports[1 - own]}"]\n'
        )


def pair(shower: Daemon, joiner: Daemon) -> None:
    """Make two running daemons contacts."""
    with BlockingClient(shower.home.socket) as a, BlockingClient(joiner.home.socket) as b:
        shown = a.call(schema.ShowCode())
        joined = b.call(schema.JoinCode(uri=shown.uri))
        for client, pairing in ((a, shown.pairing), (b, joined.pairing)):
            client.call(schema.NextStep(pairing=pairing))
            client.call(schema.AnswerPairing(pairing=pairing, yes=True))
        for client, pairing in ((a, shown.pairing), (b, joined.pairing)):
            step, seen = "", 1
            while step != "paired":
                found = client.call(schema.NextStep(pairing=pairing, seen=seen))
                step, seen = found.event, found.step


async def one_by_one(path: Path) -> list[float]:
    """Send, wait for the event that it is delivered, and again; return seconds for each."""
    took = []
    async with Client(path) as client:
        newest = (await client.call(schema.TakeEvents(consumer="bench", limit=1_000))).events
        while newest:
            await client.ack("bench", newest[-1])
            newest = (await client.call(schema.TakeEvents(consumer="bench", limit=1_000))).events
        async with client.events("bench") as events:
            for number in range(ONE_BY_ONE):
                began = time.perf_counter()
                sent = await client.call(schema.Send(to="bo", text=f"one {number} " + "x" * 190))
                async for event in events:
                    if event.message is not None and event.message.id == sent.id:
                        assert event.message.state == "delivered"
                        break
                took.append(time.perf_counter() - began)
    return took


async def queued(path: Path) -> tuple[float, float]:
    """Send QUEUED messages in batches; return seconds until all were accepted, and delivered."""
    async with Client(path) as client:
        began = time.perf_counter()
        last = ""
        for first in range(0, QUEUED, BATCH):
            texts = [f"queued {first + number} " + "x" * 190 for number in range(BATCH)]
            answers = await client.batch([schema.Send(to="bo", text=text) for text in texts])
            for answer in answers:
                assert isinstance(answer, schema.Sent)
                last = answer.id
        accepted = time.perf_counter() - began
        # The outbox is served in order, so the last one delivered is the end of all.
        await client.call(schema.WaitState(id=last, timeout=120))
        assert (await client.call(schema.GetStatus())).outbox.count == 0
        return accepted, time.perf_counter() - began


def command_line(home: Home) -> dict[str, float]:
    """Return milliseconds of `--help` and of `status`, the middle of five."""
    found = {}
    for name, words in (
        ("help_ms", ["--help"]),
        ("status_ms", ["--home", str(home.root), "status"]),
    ):
        spans = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([*P2PNODE, *words], check=True, capture_output=True)
            spans.append(1e3 * (time.perf_counter() - began))
        found[name] = statistics.median(spans)
    return found


def measure(floor: float) -> dict[str, Any]:
    """Return the figures. floor: seconds one durable delivery must take on this machine."""
    with tempfile.TemporaryDirectory(prefix="p2pnode-bench-") as place:
        ana, bo = Daemon(Path(place), "ana"), Daemon(Path(place), "bo")
        try:
            for daemon in (ana, bo):
                daemon.verb("init", "--name", daemon.name, "--no-passphrase")
            settings(ana, bo)
            start = [daemon.start() for daemon in (ana, bo)]
            pair(ana, bo)
            trio.run(one_by_one, ana.home.socket)
            cpu = ana.cpu() + bo.cpu()
            took = trio.run(one_by_one, ana.home.socket)
            cpu_single = (ana.cpu() + bo.cpu() - cpu) * 1_000 / ONE_BY_ONE
            cpu = ana.cpu() + bo.cpu()
            accepted, delivered = trio.run(queued, ana.home.socket)
            cpu_queued = (ana.cpu() + bo.cpu() - cpu) * 1_000 / QUEUED
            idle, began = ana.cpu(), time.perf_counter()
            time.sleep(IDLE)
            share = (ana.cpu() - idle) / (time.perf_counter() - began)
            each = ONE_BY_ONE / sum(took)
            return {
                "what": "two daemons on loopback, 200-byte texts, acknowledged end to end",
                "one_by_one_per_s": each,
                "one_by_one_p50_ms": 1e3 * statistics.median(took),
                "one_by_one_p95_ms": 1e3 * statistics.quantiles(took, n=20)[18],
                "one_by_one_share_of_floor": each * floor,
                "queued_accepted_per_s": QUEUED / accepted,
                "queued_delivered_per_s": QUEUED / delivered,
                "queued_share_of_floor": QUEUED / delivered * floor,
                "cpu_s_per_1000_one_by_one": cpu_single,
                "cpu_s_per_1000_queued": cpu_queued,
                "start_s": min(start),
                "rss_mib_after": ana.rss(),
                "idle_cpu_share": share,
                **command_line(ana.home),
            }
        finally:
            for daemon in (ana, bo):
                daemon.end()
