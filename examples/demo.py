"""Two people, two nodes, one LAN: from `init` to a message that survives a crash.

Runs real daemons, each in a home of its own. As root, with iproute2, they live on two virtual
hosts joined by a cable and find each other by multicast DNS; otherwise on this machine's loopback,
where each is told the other's address. Everything is removed at the end. Exits 1 on any failure.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

P2PNODE = [sys.executable, "-m", "p2pnode"]
PATIENCE = 180
"""Seconds any one step may take."""

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say(text: str, *, code: str = "0") -> None:
    """Print a line, coloured on a terminal."""
    print(f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text, flush=True)


def title(text: str) -> None:
    """Print what comes next."""
    say(f"\n{text}", code="1")


def system(*words: str) -> None:
    """Run a system command; its output appears only when it fails."""
    subprocess.run(words, check=True, capture_output=True, text=True)


class Person:
    """Somebody with a node."""

    def __init__(self, name: str, home: Path, host: str | None, settings: str) -> None:
        self.name = name
        self.home = home
        self.host = host
        self.settings = settings
        self.daemon: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        """Return a p2pnode command in this person's home."""
        return [*P2PNODE, "--home", str(self.home), *words]

    def does(self, *words: str, show: bool = True) -> str:
        """Run a command, show it as this person would see it, and return what it printed."""
        if show:
            shown = " ".join(f'"{word}"' if " " in word else word for word in words)
            say(f"{self.name}$ p2pnode {shown}", code="36")
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if show:
            for line in done.stdout.splitlines():
                say(f"    {line}")
        if done.returncode:
            raise SystemExit(f"{done.stderr}\np2pnode {words[0]} ended with {done.returncode}")
        return done.stdout

    def makes_home(self) -> None:
        """Create the identity, and settings where this machine needs them."""
        self.does("init", "--name", self.name, "--no-passphrase")
        if self.settings:
            (self.home / "config.toml").write_text(self.settings)

    def starts(self) -> None:
        """Start the daemon and wait until it is ready."""
        say(f"{self.name}$ p2pnode run &", code="36")
        inside = ["ip", "netns", "exec", self.host] if self.host else []
        self.daemon = subprocess.Popen(
            [*inside, *self.command("run")], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.does("wait-ready", "--timeout", str(PATIENCE), show=False)

    def ends(self, number: signal.Signals) -> None:
        """Stop the daemon with a signal."""
        if self.daemon is not None:
            self.daemon.send_signal(number)
            self.daemon.wait(PATIENCE)
            self.daemon = None


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Make two virtual hosts joined by a cable; both go at the end."""
    mark = secrets.token_hex(3)
    hosts = (f"p2pdemo-{mark}-ana", f"p2pdemo-{mark}-bo")
    try:
        for host in hosts:
            system("ip", "netns", "add", host)
        first, second = hosts
        system(
            "ip", "link", "add", "eth0", "netns", first,
            "type", "veth", "peer", "name", "eth0", "netns", second,
        )  # fmt: skip
        for number, host in enumerate(hosts, 1):
            inside = ("ip", "-n", host)
            system(*inside, "addr", "add", f"10.77.1.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                system(*inside, "link", "set", device, "up")
            system(*inside, "route", "add", "default", "dev", "eth0")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", host], capture_output=True, check=False)


def on_loopback() -> tuple[str, str]:
    """Return settings with which two nodes of one machine find each other."""
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        ports = a.getsockname()[1], b.getsockname()[1]
    made = [
        f'[transports.lan]\ndiscover = false\ninterfaces = ["lo"]\n'
        f'port = {ports[own]}\npeers = ["127.0.0.1:{ports[1 - own]}"]\n'
        for own in (0, 1)
    ]
    return made[0], made[1]


def people(stack: ExitStack, place: Path) -> tuple[Person, Person]:
    """Return ana and bo, on two virtual hosts if this machine allows it."""
    hosts: tuple[str | None, str | None] = (None, None)
    settings = ("", "")
    try:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise OSError("needs root and iproute2")
        hosts = stack.enter_context(two_hosts())
        say("Two virtual hosts, joined by a cable. They find each other by multicast DNS.")
    except (OSError, subprocess.CalledProcessError):
        settings = on_loopback()
        say("Two nodes on this machine's loopback. Each is told the other's address, because")
        say("virtual hosts with multicast need root and iproute2.")
    ana = Person("ana", place / "ana", hosts[0], settings[0])
    bo = Person("bo", place / "bo", hosts[1], settings[1])
    for person in (ana, bo):
        stack.callback(person.ends, signal.SIGKILL)
    return ana, bo


def lines(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """Yield the JSON lines a command prints."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def pair(shower: Person, joiner: Person) -> None:
    """Let one show a code and the other join it; both compare the words."""
    say(f"{shower.name}$ p2pnode pair show", code="36")
    with (
        subprocess.Popen(
            shower.command("pair", "show", "--json", "--accept", "--quiet"),
            stdout=subprocess.PIPE,
            text=True,
        ) as shows,
    ):
        told = lines(shows)
        code = str(next(told)["uri"])
        say(f"    {code}")
        say(f"{joiner.name}$ p2pnode pair join {code[:24]}…", code="36")
        joined = [
            json.loads(line)
            for line in joiner.does(
                "pair", "join", code, "--json", "--accept", "--quiet", show=False
            ).split("\n")
            if line
        ]
        shown = [next(told), next(told)]
    for person, steps in ((shower, shown), (joiner, joined)):
        words = " ".join(
            f"{word} {emoji}"
            for word, emoji in zip(steps[0]["words"], steps[0]["emoji"], strict=True)
        )
        say(f"    {person.name} sees  {words}")
    if shown[0]["words"] != joined[0]["words"]:
        raise SystemExit("the words differ")
    say("    They read the words to each other: the same. Both say yes.")
    for person, steps in ((shower, shown), (joiner, joined)):
        say(f"    {person.name}: paired with {steps[-1]['contact']}")


def received(person: Person) -> list[str]:
    """Let somebody read what has come; wait for the first message."""
    out = person.does("recv", "--json", "--timeout", str(PATIENCE), show=False)
    found = [json.loads(line) for line in out.splitlines()]
    say(f"{person.name}$ p2pnode recv", code="36")
    for message in found:
        say(f"    {message['from']}: {message['text']}")
    return [message["text"] for message in found]


def expect(found: Sequence[str], wanted: Sequence[str]) -> None:
    """End the demo when something is lost, doubled or wrong."""
    if list(found) != list(wanted):
        raise SystemExit(f"expected {wanted}, but it was {found}")


def story(ana: Person, bo: Person) -> None:
    """Tell it."""
    title("1. Two people make their identities. No server, no account, no number.")
    ana.makes_home()
    bo.makes_home()

    title("2. Their nodes run.")
    ana.starts()
    bo.starts()

    title("3. They pair: ana shows a code, bo scans it.")
    pair(ana, bo)

    title("4. A message each way.")
    ana.does("send", "bo", "power is out, meet at 6", "--wait", "delivered")
    expect(received(bo), ["power is out, meet at 6"])
    bo.does("send", "ana", "I bring candles", "--wait", "delivered")
    expect(received(ana), ["I bring candles"])

    title("5. bo's node goes off. ana writes all the same; then her node is killed outright.")
    bo.ends(signal.SIGTERM)
    sent = ana.does("send", "bo", "bring the radio too", "--json", show=False)
    message = str(json.loads(sent)["id"])
    say('ana$ p2pnode send bo "bring the radio too"', code="36")
    say(f"    queued {message}")
    ana.ends(signal.SIGKILL)
    say("    (SIGKILL: no goodbye, no clean-up)")

    title("6. ana's node is back, then bo's. The message arrives, once.")
    ana.starts()
    bo.starts()
    expect(received(bo), ["bring the radio too"])
    history = [
        json.loads(line)["text"]
        for line in bo.does("history", "ana", "--json", show=False).splitlines()
    ]
    expect(history, ["power is out, meet at 6", "I bring candles", "bring the radio too"])

    title("7. What happened to it, and how ana's node is.")
    until = time.monotonic() + PATIENCE
    while '"delivered"' not in ana.does("why", message[:8], "--json", show=False):
        if time.monotonic() > until:
            raise SystemExit("the receipt did not come")
        time.sleep(0.1)
    ana.does("why", message[:8])
    ana.does("status")


def main() -> None:
    """Run the demo, and clean up whatever happens."""
    began = time.monotonic()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p2pnode-demo-")))
        with suppress(KeyboardInterrupt):
            story(*people(stack, place))
            title(f"All of it held, in {time.monotonic() - began:.0f} seconds.")
            return
    raise SystemExit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
