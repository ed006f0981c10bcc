"""A whole Tor network on loopback: three directory authorities and two relays, no internet.

    from transports.tor.tests import tor_network
    private_network = tor_network.private_network  # a fixture: one network for the whole session

    TorTransport(TorSettings(mode="own", options=private_network.options, …))

Every tor here ends by itself when this process does, and none of them ever leaves 127.0.0.1, or the
virtual host that `TorNetwork(host)` puts them on.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.namespaces import NetworkHost
from tests.patience import PATIENCE
from tests.ports import free_port

AUTHORITIES, RELAYS = 3, 2

VOTES_EVERY = 5
"""Seconds between the first consensuses; they come at multiples of it on the wall clock."""

HEAD_START = 1.7
"""Seconds before such a moment at which the network best starts: too late for the votes then under
way, and early enough that all relays are known to the next ones."""

_EVERYWHERE = """\
TestingTorNetwork 1
AssumeReachable 1
PathsNeededToBuildCircuits 0.25
"""

_RELAY = """\
SocksPort 0
ExitRelay 0
ExitPolicy reject *:*
MaxMemInQueues 256 MB
NumCPUs 1
"""

_AUTHORITY = f"""\
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@example.org
TestingV3AuthInitialVotingInterval {VOTES_EVERY}
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 20
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 2
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteExit *
TestingMinExitFlagThreshold 0
"""


def missing() -> str:
    """Say what this machine lacks, "" when nothing."""
    lacks = [name for name in ("tor", "tor-gencert") if shutil.which(name) is None]
    return f"not installed: {', '.join(lacks)} (apt install tor)" if lacks else ""


class Control:
    """A control connection of a test's own: commands, and events. Made by `controlling`."""

    def __init__(self, line: socket.socket) -> None:
        self._socket = line
        self._rest = b""
        self._heard: deque[list[str]] = deque()

    def ask(self, command: str) -> list[str]:
        """Return the lines of an answer, without their numbers."""
        self._socket.settimeout(PATIENCE)
        self._socket.sendall(f"{command}\r\n".encode())
        while (answer := self._next())[0].startswith("650"):
            self._heard.append(answer)
        assert answer[-1].startswith("250"), (command, answer)
        return [line[4:] if line[:3] == "250" else line for line in answer]

    def events(self, end: float | None = None) -> Iterator[list[str]]:
        """Yield the events asked for, each as its lines; waits for them, until a monotonic time."""
        while True:
            if not self._heard:
                self._socket.settimeout(
                    PATIENCE if end is None else max(end - time.monotonic(), 0.001)
                )
                try:
                    self._heard.append(self._next())
                except TimeoutError:
                    assert end is not None, "tor says nothing"
                    return
            yield self._heard.popleft()

    def forget(self) -> None:
        """Pass over the events that have come so far."""
        self.ask("GETINFO version")
        self._heard.clear()

    def until(self, *words: str) -> str:
        """Return the first line of the next event that has all these words in it."""
        return next(told[0] for told in self.events() if all(word in told[0] for word in words))

    def _next(self) -> list[str]:
        """Return one answer or event: it ends with a line that has a space after its number.

        Raises TimeoutError, and keeps what came before it.
        """
        while True:
            lines, at, quoting = [], 0, False
            while (end := self._rest.find(b"\r\n", at)) >= 0:
                line = self._rest[at:end].decode("ascii", "replace")
                lines.append(line)
                at = end + 2
                if quoting:
                    quoting = line != "."
                elif line[3:4] == "+":
                    quoting = True
                elif line[3:4] == " ":
                    self._rest = self._rest[at:]
                    return lines
            fresh = self._socket.recv(1 << 16)
            assert fresh, "tor has gone"
            self._rest += fresh


@contextmanager
def controlling(path: Path) -> Iterator[Control]:
    """Connect to a tor's control socket, with the cookie beside it if there is one."""
    cookie = path.with_name("cookie")
    secret = cookie.read_bytes().hex() if cookie.exists() else ""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        control = Control(line)
        control.ask(f"AUTHENTICATE {secret}".rstrip())
        yield control


@dataclass(eq=False)
class Tor:
    """One tor of the network: a process that takes commands on `control`, and its last words."""

    home: Path
    prefix: Sequence[str] = ()
    process: "subprocess.Popen[str] | None" = None
    words: deque[str] = field(default_factory=lambda: deque(maxlen=30))
    ready: threading.Event = field(default_factory=threading.Event)
    reader: threading.Thread | None = None
    connected: threading.Event = field(default_factory=threading.Event)

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self.home / "control"

    def start(self, configuration: str) -> None:
        """Run it; returns before it is ready."""
        common = (
            f"DataDirectory {self.home}\nNickname {self.home.name}\nLog notice stdout\n"
            f"ControlPort unix:{self.control}\nSafeLogging 0\nShutdownWaitLength 0\n"
            f"__OwningControllerProcess {os.getpid()}\n"
        )
        (self.home / "torrc").write_text(common + configuration)
        self.process = subprocess.Popen(
            [*self.prefix, "tor", "-f", self.home / "torrc", "--defaults-torrc", "/dev/null"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, name=f"log of {self.home.name}")
        self.reader.start()

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout as log:
            for line in log:
                self.words.append(line)
                if "Opened Control listener connection (ready)" in line:
                    self.ready.set()
                if "Bootstrapped 100%" in line:
                    self.connected.set()

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.reader is not None:
            self.reader.join()


class TorNetwork:
    """The network, once `start` has returned; on loopback, or on a virtual host of its own."""

    def __init__(self, host: NetworkHost | None = None) -> None:
        self.address = host.ipv4 if host is not None else "127.0.0.1"
        self.root = Path(tempfile.mkdtemp(prefix="tor-net-"))
        self.ports: frozenset[int] = frozenset()
        prefix = host.command([]) if host is not None else ()
        self.core = [
            Tor(self.root / name, prefix)
            for name in [f"authority{n}" for n in range(AUTHORITIES)]
            + [f"relay{n}" for n in range(RELAYS)]
        ]
        self.guests: list[Tor] = []
        self.options: tuple[str, ...] = ()
        self.seconds = 0.0

    def start(self) -> None:
        """Make keys, start all, and wait until every authority's consensus lists every relay."""
        began = time.monotonic()
        ports = [free_port() for _ in range(len(self.core) + AUTHORITIES)]
        directories = ports[len(self.core) :]
        self.ports = frozenset(ports)
        authorities = self.core[:AUTHORITIES]
        for tor in self.core:
            tor.home.mkdir(mode=0o700)
        known = make_keys(authorities, self.address, ports[:AUTHORITIES], directories)
        self.options = (*_EVERYWHERE.splitlines(), *known)
        shared = "".join(f"{line}\n" for line in self.options)
        # The protocol is tied to the wall clock, and starting anywhere costs up to one round more.
        time.sleep((VOTES_EVERY - HEAD_START - time.time()) % VOTES_EVERY)
        for number, tor in enumerate(self.core):
            lines = shared + self._relay(ports[number])
            if number < AUTHORITIES:
                lines += _AUTHORITY + f"DirPort {self.address}:{directories[number]}\n"
            tor.start(lines)
        with ExitStack() as stack:
            controls = []
            for tor in authorities:
                assert tor.ready.wait(PATIENCE), "".join(tor.words)
                controls.append(stack.enter_context(controlling(tor.control)))
                controls[-1].ask("SETEVENTS NEWCONSENSUS")
            for control in controls:
                for told in control.events():
                    if sum("HSDir" in one for one in told if one[:2] == "s ") == len(self.core):
                        break
        self.seconds = time.monotonic() - began

    def _relay(self, port: int) -> str:
        """Return the lines of a relay that listens on this port."""
        here = f"Address {self.address}\nOutboundBindAddress {self.address}\n"
        return here + _RELAY + f"ORPort {self.address}:{port}\n"

    def guest(self, *options: str) -> Tor:
        """Start one more tor with these lines, as the system's tor would be one."""
        tor = Tor(self.root / f"guest{len(self.guests)}")
        tor.home.mkdir(mode=0o700)
        self.guests.append(tor)
        tor.start("".join(f"{line}\n" for line in (*self.options, *options)))
        assert tor.ready.wait(PATIENCE), "".join(tor.words)
        return tor

    def bridge(self) -> str:
        """Start an obfs4 bridge and return its line, as a provider would hand it out."""
        onion_port, port = free_port(), free_port()
        tor = Tor(self.root / "bridge")
        tor.home.mkdir(mode=0o700)
        self.guests.append(tor)
        lines = (
            *self.options,
            "BridgeRelay 1",
            "PublishServerDescriptor 0",
            "ExtORPort auto",
            "ServerTransportPlugin obfs4 exec /usr/bin/obfs4proxy",
            f"ServerTransportListenAddr obfs4 127.0.0.1:{port}",
        )
        tor.start(self._relay(onion_port) + "".join(f"{line}\n" for line in lines))
        assert tor.connected.wait(PATIENCE), "".join(tor.words)
        written = (tor.home / "pt_state" / "obfs4_bridgeline.txt").read_text()
        found = re.search(r"cert=\S+ iat-mode=\d", written)
        assert found is not None
        identity = (tor.home / "fingerprint").read_text().split()[1]
        return f"obfs4 127.0.0.1:{port} {identity} {found[0]}"

    def stop(self) -> None:
        """End all and remove what they wrote."""
        for tor in [*self.guests, *self.core]:
            tor.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def make_keys(
    authorities: Sequence[Tor], address: str, ports: Sequence[int], directories: Sequence[int]
) -> list[str]:
    """Make the authorities' keys, side by side; return the lines that make others trust them."""
    making = []
    for tor in authorities:
        keys = tor.home / "keys"
        keys.mkdir(mode=0o700)
        command = ["tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12"]
        for option, name in (("-i", "identity_key"), ("-s", "signing_key"), ("-c", "certificate")):
            command += [option, str(keys / f"authority_{name}")]
        making.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in making:
        _, failure = process.communicate("not a secret\n", timeout=PATIENCE)
        assert process.returncode == 0, failure
    lines = []
    for tor, port, directory in zip(authorities, ports, directories, strict=True):
        certificate = (tor.home / "keys" / "authority_certificate").read_text()
        identity = re.search(r"^fingerprint (\w+)", certificate, re.MULTILINE)
        assert identity is not None
        lines.append(
            f"DirAuthority {tor.home.name} orport={port} no-v2 v3ident={identity[1]}"
            f" {address}:{directory} {relay_fingerprint(tor, port)}"
        )
    return lines


def relay_fingerprint(tor: Tor, port: int) -> str:
    """Make a relay's identity and return its fingerprint; no network is touched."""
    command = ["tor", "-f", "/dev/null", "--ignore-missing-torrc", "--quiet"]
    command += ["--defaults-torrc", "/dev/null"]
    command += ["--TestingTorNetwork", "1", "--Nickname", tor.home.name]
    # With no authority named at all, tor would take the real ones.
    command += ["--DirAuthority", f"none 127.0.0.1:1 {'0' * 40}"]
    command += ["--DataDirectory", str(tor.home), "--ORPort", str(port), "--list-fingerprint"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.partition(" ")[2].replace(" ", "").strip()


@contextmanager
def network_on_loopback() -> Iterator[TorNetwork]:
    """Run a network while in the context."""
    network = TorNetwork()
    try:
        network.start()
        yield network
    finally:
        network.stop()


_network: TorNetwork | None = None


@pytest.fixture(scope="session")
def private_network() -> Iterator[TorNetwork]:
    """The one network of this test session; skips where tor is not installed."""
    global _network  # noqa: PLW0603 - modules that import the fixture get one each
    if missing():
        pytest.skip(missing())
    mine = _network is None
    if _network is None:
        _network = TorNetwork()
    network = _network
    try:
        if mine:
            network.start()
        yield network
    finally:
        if mine:
            _network = None
            network.stop()
