"""The README's ten minutes word for word: its commands are typed, and its output is what comes.

Two people on two hosts of a switch, each with a home directory and nothing in it but the file
`secret`. Every line the README shows must come, in its order; parts that differ between two runs
(names of messages, codes, times) may differ, and are used where the README uses them again. Lines
it leaves out (the QR code) may come too.
"""

import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.namespaces import Network, networks
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
network = pytest.fixture(networks)

VARIES = {
    "uri": r"P2PNODE:[A-Z2-7]+",
    "message": r"\b[a-z2-7]{26}\b",
    "fingerprint": r"\b[A-Z2-7]{4}(?: [A-Z2-7]{4}){12}\b",
    "minute": r"\d{4}-\d\d-\d\d \d\d:\d\d",
    "time": r"\d+:\d\d(?=\. )",
    "span": r"\b\d+(?:\.\d+)? (?:s|min)\b",
}
"""What differs between two runs, and what it looks like."""

MOVED = ", 1 out, 0 in"
"""What a link has carried; where both sides have dialled, it may have been the one that went."""

LASTING = 26
"""Characters of the names that come again, in commands too: a message's, a code, a fingerprint."""

PROGRAM = f"""
import sys
from p2pnode import __main__, daemon
daemon.FIRST_LOOK = {PATIENCE}
sys.argv[0] = 'p2pnode'
__main__.main()
"""
"""The command, of whose node the first line comes when its transports are up: on a slow machine it
may say how far they are instead."""

_VARIES = re.compile("|".join(f"(?P<{name}>{shape})" for name, shape in VARIES.items()))
_WORDS = re.compile(r"(?<=As words     )[a-z ]+|(?<=Compare:  ).+")
_COMMAND = re.compile(r"(ana|bo)\$ (p2pnode .*)")


class Person:
    """Somebody at a terminal."""

    def __init__(self, net: Network, host: str, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self._host = net[host]
        self._open: list[tuple[subprocess.Popen[bytes], int]] = []
        home.mkdir()
        (home / "secret").write_text("a long passphrase\n")

    def types(self, line: str) -> "Screen":
        """Start a command line, as a shell would."""
        ours, theirs = pty.openpty()
        shell = f'p2pnode() {{ exec "{sys.executable}" -c "{PROGRAM}" "$@"; }}; {line}'
        kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
        process = self._host.popen(
            ["bash", "-c", shell],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.home,
            start_new_session=True,
            env={**kept, "HOME": str(self.home), "TERM": "dumb", "LANG": "C.UTF-8"},
        )
        os.close(theirs)
        return Screen(process, ours)


class Screen:
    """What a command shows on its terminal."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self.shown = ""
        self._terminal = terminal
        self._raw = b""
        self._from = 0

    def until(self, wanted: re.Pattern[str]) -> re.Match[str]:
        """Wait until something is shown, after what was waited for before."""
        end = time.monotonic() + PATIENCE
        while (found := wanted.search(self.shown, self._from)) is None:
            if not self._reads(end - time.monotonic()):
                pytest.fail(f"{wanted.pattern!r} never came. Shown: {self.shown}")
        self._from = found.end()
        return found

    def answers(self, text: str) -> None:
        """Type a line."""
        os.write(self._terminal, f"{text}\n".encode())

    def closes(self) -> None:
        """Read the rest, and see that it ended well."""
        while self._reads(PATIENCE):
            pass
        assert self.process.wait(PATIENCE) == 0, self.shown
        os.close(self._terminal)

    def stops(self) -> None:
        """Press Ctrl-C's signal, where it still runs."""
        self.process.send_signal(signal.SIGINT)
        self.closes()

    def _reads(self, seconds: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._terminal, selectors.EVENT_READ)
            if not selector.select(max(0, seconds)):
                return False
        try:
            fresh = os.read(self._terminal, 65_536)
        except OSError:  # a terminal whose last process has gone says so by this
            return False
        self._raw += fresh
        self.shown = self._raw.decode(errors="replace").replace("\r", "")
        return bool(fresh)


def tour() -> list[str]:
    """Return the README's indented lines from its ten minutes."""
    text = (ROOT / "README.md").read_text()
    part = text.partition("## Ten minutes\n")[2].partition("\n## ")[0]
    return [line[4:] for line in part.splitlines() if line.startswith("    ")]


def pattern(line: str, home: Path) -> tuple[re.Pattern[str], list[str]]:
    """Return what a line may look like, and its parts that may differ."""
    line = _WORDS.sub("\0", line.replace(f"/home/{home.name}", str(home)))
    parts: list[str] = []
    shape, at = "", 0
    for varies in _VARIES.finditer(line):
        shape += re.escape(line[at : varies.start()]) + f"({VARIES[str(varies.lastgroup)]})"
        parts.append(varies[0])
        at = varies.end()
    shape += re.escape(line[at:]).replace(re.escape(MOVED), r"(?:, \d+ out, \d+ in)?")
    return re.compile(shape.replace("\0", "[^\n]+").replace(r"\ ", " ")), parts


def test_the_readme_s_ten_minutes_are_what_happens(network, tmp_path):
    net = network("a", "b")
    people = {
        name: Person(net, host, name, tmp_path / name) for host, name in (("a", "ana"), ("b", "bo"))
    }
    known: dict[str, str] = {}
    nodes: list[Screen] = []
    pairing: list[Screen] = []
    asking: list[Screen] = []
    screen, home = None, tmp_path / "ana"
    before = people["bo"].types("p2pnode init --name bo --passphrase-file secret")
    before.closes()
    commands = 0
    for line in tour():
        command = _COMMAND.fullmatch(line)
        if command is None:
            assert screen is not None
            asked = line.endswith("[y/n] y")
            wanted, parts = pattern(line.removesuffix(" y") if asked else line, home)
            found = screen.until(wanted)
            for part, told in zip(parts, found.groups(), strict=True):
                if len(part) >= LASTING:
                    assert known.setdefault(part, told) == told, line
                    known[part[:8]] = told[:8]
            for one in asking:  # only now, for what came last was that its yes is waited for
                one.answers("y")
            asking = []
            if asked:
                asking = [one for one in pairing if one is not screen]
                for one in asking:
                    one.until(re.compile(r"\[y/n\]"))
                screen.answers("y")
            continue
        commands += 1
        name, words = command.groups()
        for old, new in known.items():
            words = words.replace(old, new)
        if " run" in words:
            nodes.append(people["bo"].types(words))
            nodes[-1].until(re.compile("Ready in"))
        if screen is not None and screen not in (*nodes, *pairing):
            screen.closes()
        home = people[name].home
        screen = people[name].types(words)
        if " run" in words:
            nodes.append(screen)
        if " pair " in words:
            pairing.append(screen)
    assert screen is not None
    screen.closes()
    assert commands >= 9
    for one in pairing:
        one.closes()
    for one in nodes:
        one.stops()
