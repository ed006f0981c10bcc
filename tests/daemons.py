"""Real daemons for end-to-end tests: each a process with a home of its own, maybe on a host."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from p2pnode import schema
from p2pnode.client import BlockingClient
from p2pnode.config import Home
from p2pnode.errors import LocalError
from tests.namespaces import NetworkHost
from tests.patience import PATIENCE
from tests.ports import free_port

P2PNODE = [sys.executable, "-m", "p2pnode"]
HOST_NAME = "canary-host-name-2b7d"


class Daemon:
    """A home and, while it runs, its daemon. `passphrase`: None keeps the key in the clear."""

    def __init__(
        self, root: Path, name: str, *, host: NetworkHost | None = None, passphrase: str = ""
    ) -> None:
        self.name = name
        self.home = Home(root / name)
        self.host = host
        self.log = root / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.secret: list[str] = []
        if passphrase:
            file = root / f"{name}.passphrase"
            file.write_text(passphrase + "\n")
            file.chmod(0o600)
            self.secret = ["--passphrase-file", str(file)]

    def command(self, *words: str) -> list[str]:
        """Return a p2pnode command in this home."""
        return [*P2PNODE, "--home", str(self.home.root), *words]

    def cli(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """Run a verb, check its exit code, and return what it printed on stdout."""
        done = subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def lines(self, *words: str, code: int = 0) -> list[Any]:
        """Run a verb with --json and return its objects."""
        out = self.cli(*words, "--json", code=code)
        return [json.loads(line) for line in out.splitlines()]

    def init(self) -> dict[str, Any]:
        """Make the home."""
        secret = self.secret or ["--no-passphrase"]
        made: dict[str, Any] = self.lines("init", "--name", self.name, *secret)[0]
        return made

    def start(self, *, locked: bool = False) -> "Daemon":
        """Run the daemon and wait until it is ready."""
        self.launch(locked=locked)
        self.ready()
        return self

    def launch(self, *, locked: bool = False) -> None:
        """Run the daemon; locked: without the secret that opens its vault."""
        words = self.command("run", *(["--locked"] if locked else self.secret))
        if self.host is not None:
            # A host name of its own, which must not show anywhere.
            rename = f"echo {HOST_NAME} > /proc/sys/kernel/hostname; exec " + '"$@"'
            words = self.host.command(["unshare", "--uts", "sh", "-c", rename, "sh", *words])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=log)

    def ready(self, *, alive: bool = True) -> None:
        """Wait until the daemon answers and its transports have started.

        alive: fail at once when the process has ended; False while somebody else restarts it.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with self.client() as client:
                    if client.call(schema.GetReady(timeout=PATIENCE)).ready:
                        return
            except LocalError:
                if alive:
                    assert self.process is not None
                    assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < end, self.log.read_text()
                # A socket that is not there yet gives no event to wait for.
                time.sleep(0.02)

    def client(self) -> BlockingClient:
        """Return a client of the local API."""
        return BlockingClient(self.home.socket)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process = None
        if code not in (0, -number):
            print(f"{self.name} ended with {code}:\n{self.log.read_text()[-8_000:]}")
        return code

    def kill(self) -> None:
        """Kill it without any warning."""
        self.end(signal.SIGKILL)


@contextmanager
def homes(*daemons: Daemon) -> Iterator[None]:
    """Make the homes; at the end nothing runs any more."""
    try:
        for daemon in daemons:
            daemon.init()
        yield
    finally:
        for daemon in daemons:
            if daemon.process is not None:
                daemon.kill()


def by_hand(*daemons: Daemon) -> None:
    """Let daemons on loopback know each other's addresses."""
    ports = [free_port() for _ in daemons]
    for own, daemon in enumerate(daemons):
        peers = [f"127.0.0.1:{port}" for other, port in enumerate(ports) if other != own]
        daemon.home.config.write_text(
            f'[transports.lan]\ndiscover = false\ninterfaces = ["lo"]\n'
            f"port = {ports[own]}\npeers = {json.dumps(peers)}\n"
        )


def pair(shower: Daemon, joiner: Daemon) -> list[list[dict[str, Any]]]:
    """Pair through the command line; return the JSON lines of both sides."""
    with subprocess.Popen(
        shower.command("pair", "show", "--json", "--accept"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as shows:
        assert shows.stdout is not None
        first = json.loads(shows.stdout.readline())
        joined = joiner.lines("pair", "join", first["uri"], "--accept")
        shown = [first, *(json.loads(line) for line in shows.stdout)]
        assert shows.wait() == 0
    assert shown[1]["words"] == joined[0]["words"]
    assert [step["event"] for step in shown] == ["code", "compare", "paired"]
    assert [step["event"] for step in joined] == ["compare", "paired"]
    return [shown, joined]


def texts(daemon: Daemon, contact: str) -> list[tuple[str, str]]:
    """Return (author or "", text) of a whole conversation in its order."""
    found: list[tuple[str, str]] = []
    before = ""
    with daemon.client() as client:
        while True:
            page = client.call(schema.GetHistory(contact=contact, limit=500, before=before))
            found = [(one.from_, one.text) for one in page.messages] + found
            if len(page.messages) < 500:
                return found
            before = page.messages[0].id


@contextmanager
def paired(one: Daemon, other: Daemon) -> Iterator[None]:
    """Make two homes, and run their nodes on loopback as contacts."""
    with homes(one, other):
        by_hand(one, other)
        one.start()
        other.start()
        pair(one, other)
        yield


def delivered(daemon: Daemon, ids: Sequence[str]) -> None:
    """Wait until all these messages are delivered."""
    with daemon.client() as client:
        for message in ids:
            client.call(schema.WaitState(id=message, state="delivered", timeout=PATIENCE))


def canaries(made: dict[str, Any]) -> list[bytes]:
    """Return the ways an identity could show in bytes: account, device, fingerprint."""
    from base64 import b32decode

    found: list[bytes] = []
    for text in (made["account"], made["device"], made["fingerprint"].replace(" ", "")):
        raw = b32decode(text.upper() + "=" * (-len(text) % 8))
        found += [raw, text.encode(), text.upper().encode(), raw.hex().encode()]
    return [*found, made["fingerprint"].encode()]


def files_below(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every regular file below a directory with its bytes, but for those that just go."""
    for place, _, names in os.walk(root):
        for name in names:
            path = Path(place) / name
            with suppress(FileNotFoundError):
                if path.is_file():
                    yield path, path.read_bytes()
