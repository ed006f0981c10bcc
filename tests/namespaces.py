"""A small LAN on one machine: hosts (Linux network namespaces) on a virtual switch.

    network = pytest.fixture(networks)

    def test_something(network):
        net = network("a", "b")
        process = net["a"].popen([sys.executable, "-c", "…"])
        net["a"].cut()          # the switch drops all from and to it; its link stays up
        net["a"].heal()
        net["a"].down()         # it loses its link itself

Host number N has 10.77.0.N and fd77::N on eth0, and multicast works. Nothing leads out. Names are
unique for each network, and a run that was killed is swept up by the next one: each network holds
a lock for as long as its process lives. Needs root and iproute2.
"""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import pytest

PREFIX = "p2pn"
LOCKS = Path("/run/p2pnode-tests")
SWITCH = "switch"

END_TIME = 5.0
"""Seconds what runs in a host has to end before it is killed."""

_SETTINGS = """
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/eth0/dad_transmits
echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down
"""
"""Addresses are usable at once, and the given IPv6 ones stay while the link is down."""


def _run(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class NetworkHost:
    """One host of a network."""

    def __init__(self, net: "Network", name: str, number: int) -> None:
        self.name = name
        self.namespace = f"{net.name}-{name}"
        self.ipv4 = f"10.77.0.{number}"
        self.ipv6 = f"fd77::{number:x}"
        self._net = net
        self._port = f"p-{name}"

    def command(self, words: Sequence[str]) -> list[str]:
        """Return a command that runs in this host; it becomes the words, so signals reach them."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def run(self, words: Sequence[str]) -> str:
        """Run to its end and return what it printed. Raises RuntimeError when it fails."""
        return _run(*self.command(words))

    def popen(self, words: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process in this host; the network ends it at the latest."""
        process = subprocess.Popen(self.command(words), **options)
        self._net.processes.append(process)
        return process

    def cut(self) -> None:
        """Let the switch drop everything from and to this host; no link goes down."""
        _run("bridge", "-n", self._net.switch, "link", "set", "dev", self._port, "state", "0")

    def heal(self) -> None:
        """Undo `cut`."""
        _run("bridge", "-n", self._net.switch, "link", "set", "dev", self._port, "state", "3")

    def down(self) -> None:
        """Take its own link down."""
        self._ip("link", "set", "eth0", "down")

    def up(self) -> None:
        """Bring its own link up."""
        self._ip("link", "set", "eth0", "up")
        for family in ("-4", "-6"):
            self._ip(family, "route", "replace", "default", "dev", "eth0")

    def add_address(self, address: str) -> None:
        """Give it another address, as "10.77.0.99/24"."""
        self._ip("addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))

    def remove_address(self, address: str) -> None:
        """Take an address away."""
        self._ip("addr", "del", address, "dev", "eth0")

    def _ip(self, *words: str) -> None:
        _run("ip", "-n", self.namespace, *words)

    def make(self) -> None:
        """Build it and plug it into the switch."""
        switch = self._net.switch
        _run("ip", "netns", "add", self.namespace)
        self._ip("link", "set", "lo", "up")
        _run("ip", "link", "add", "eth0", "netns", self.namespace, "type", "veth",
             "peer", "name", self._port, "netns", switch)  # fmt: skip
        self.run(["sh", "-c", _SETTINGS])
        _run("ip", "-n", switch, "link", "set", self._port, "master", "br0", "up")
        self.add_address(f"{self.ipv4}/24")
        self.add_address(f"{self.ipv6}/64")
        self.up()


class Network:
    """Hosts by name, on one switch; use as a context."""

    def __init__(self, *names: str) -> None:
        self.name = f"{PREFIX}{secrets.token_hex(4)}"
        self.switch = f"{self.name}-{SWITCH}"
        self.hosts = {name: NetworkHost(self, name, number) for number, name in enumerate(names, 1)}
        self.processes: list[subprocess.Popen[Any]] = []
        self._lock: IO[bytes] | None = None

    def __getitem__(self, name: str) -> NetworkHost:
        return self.hosts[name]

    def __enter__(self) -> Self:
        with _sweeping():
            _sweep()
            self._lock = _lock(self.name)
        assert self._lock is not None
        try:
            _run("ip", "netns", "add", self.switch)
            # Without snooping multicast reaches every host although nobody queries for members.
            _run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge",
                 "mcast_snooping", "0")  # fmt: skip
            _run("ip", "-n", self.switch, "link", "set", "br0", "up")
            for host in self.hosts.values():
                host.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        _remove(self.name)
        for process in self.processes:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        if self._lock is not None:
            self._lock.close()


@contextmanager
def _sweeping() -> Iterator[None]:
    """Keep runs beside this one from sweeping: a lock that has just been made is nobody's yet."""
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    place = os.open(LOCKS, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def sweep() -> None:
    """Remove the networks of runs that ended without doing it."""
    with _sweeping():
        _sweep()


def _sweep() -> None:
    for path in LOCKS.iterdir():
        lock = _lock(path.name)
        if lock is not None:
            with lock:
                _remove(path.name)


def _lock(name: str) -> IO[bytes] | None:
    """Return an open lock on a network's name; None while somebody else holds it."""
    opened = (LOCKS / name).open("ab")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.close()
        return None
    return opened


def _remove(name: str) -> None:
    for line in _run("ip", "netns", "list").splitlines():
        namespace = line.split()[0]
        if namespace.startswith(f"{name}-"):
            for number in (signal.SIGTERM, signal.SIGKILL):
                _end(namespace, number)
            _run("ip", "netns", "delete", namespace)
    (LOCKS / name).unlink(missing_ok=True)


def _end(namespace: str, number: signal.Signals) -> None:
    """Send a signal to all processes in a namespace; return when they are gone or time is over."""
    for word in _run("ip", "netns", "pids", namespace).split():
        try:
            os.kill(int(word), number)
        except ProcessLookupError:
            continue
    end = time.monotonic() + END_TIME
    while _living(namespace) and time.monotonic() < end:
        time.sleep(0.02)


def _living(namespace: str) -> bool:
    """Say whether anything runs there still; what only waits to be reaped does not count."""
    for word in _run("ip", "netns", "pids", namespace).split():
        try:
            state = Path(f"/proc/{word}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            return True
    return False


def networks() -> Iterator[Callable[..., Network]]:
    """Be the body of a fixture that makes networks for one test, called with hosts' names."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made: list[Network] = []

    def make(*names: str) -> Network:
        net = Network(*names)
        net.__enter__()
        made.append(net)
        return net

    yield make
    for net in made:
        net.__exit__()
