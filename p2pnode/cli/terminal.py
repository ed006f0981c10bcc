"""What the command line says and asks: data on stdout, talk on stderr, nothing that can lie."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from p2pnode.config import Home, find_home
from p2pnode.errors import Denied, InvalidInput, LocalError, StoreError
from p2pnode.lines import as_json, clean, clean_lines

if TYPE_CHECKING:
    from p2pnode.client import BlockingClient
    from p2pnode.schema import Answer

__all__ = [
    "Terminal",
    "ago",
    "as_daemon",
    "clean",
    "clean_lines",
    "moment",
    "read_line",
    "read_stdin",
]

ASKED = 3
"""How often a question is asked before what was typed is taken for no answer."""


class Terminal:
    """The flags every verb shares, and the way to say, ask and call."""

    def __init__(self) -> None:
        self.home_name: str | None = None
        self.json = False
        self.plain = bool(os.environ.get("NO_COLOR")) or not shows_everything()
        self.quiet = False
        self.patience = 30.0

    @property
    def home(self) -> Home:
        """The home that --home, P2PNODE_HOME or XDG names, or the machine's."""
        return find_home(self.home_name)

    @property
    def own_home(self) -> Home:
        """The same, for what makes or runs a node: the machine's only when it is named."""
        return find_home(self.home_name, own=True)

    def client(self, patience: float | None = None) -> "BlockingClient":
        """Return a client of the home's daemon. patience: seconds to wait for long work."""
        from p2pnode.client import BlockingClient

        return BlockingClient(self.home.socket, patience=patience or self.patience)

    def line(self, text: str = "") -> None:
        """Write one line of data to stdout, and flush it. The text must be clean."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def record(self, value: "Answer | dict[str, Any]") -> None:
        """Write one JSON object to stdout, as one line, and flush it. JSON is always UTF-8."""
        if isinstance(sys.stdout, io.TextIOWrapper) and not _is_utf8(sys.stdout):
            sys.stdout.reconfigure(encoding="utf-8")
        self.line(as_json(value))

    def show(self, value: "Answer | dict[str, Any]", text: str) -> None:
        """Write the answer as JSON when that is asked for, else the text."""
        if self.json:
            self.record(value)
        else:
            self.line(text)

    def talk(self, text: str) -> None:
        """Say something to the person, on stderr, unless --quiet."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def ask(self, question: str) -> str | None:
        """Ask on stderr and read a line from stdin; None at its end. Raises InvalidInput."""
        sys.stderr.write(question + " ")
        sys.stderr.flush()
        answer = read_line()
        return answer.strip() if answer else None

    def confirmed(self, question: str) -> bool | None:
        """Ask for y or n, again for anything else; None when stdin ends or three were neither."""
        for _ in range(ASKED):
            answer = self.ask(f"{question} [y/n]")
            if answer is None:
                break
            if answer.casefold() in {"y", "yes"}:
                return True
            if answer.casefold() in {"n", "no"}:
                return False
        return None

    def sure(self, question: str) -> bool:
        """Ask before what cannot be undone. Raises InvalidInput where nobody can answer."""
        if self.json:
            raise InvalidInput("nobody can be asked with --json", hint="Add --yes")
        answer = self.confirmed(question)
        if answer is None:
            self.talk("")
            raise InvalidInput("nobody said y or n; nothing was done", hint="Or add --yes")
        if not answer:
            self.talk("Nothing was done.")
        return answer

    def failed(self, error: LocalError) -> None:
        """Say on stderr what went wrong, why, and what to do next."""
        if self.json:
            told = {"error": error.code, "what": error.what, "why": error.why, "hint": error.hint}
            sys.stderr.write(as_json(told) + "\n")
        else:
            sys.stderr.write(f"p2pnode: {clean(str(error))}\n")
        sys.stderr.flush()


@contextmanager
def as_daemon(home: Home) -> Iterator[None]:
    """Add to the error of a daemon that may not read or write a path, whose permissions count."""
    try:
        yield
    except (Denied, StoreError) as error:
        hinted = error.hint and not isinstance(error, Denied)
        if not home.shared or hinted or str(home.socket) in error.what:  # it was not reached
            raise
        hint = "The machine's node does it: name one in /mnt or /media of its user, p2pnode"
        raise type(error)(error.what, why=error.why, hint=hint) from None


def shows_everything() -> bool:
    """Tell whether stdout takes all of Unicode; else have it escape what it lacks, as stderr does:
    what somebody wrote must not end a command."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return True
    sys.stdout.reconfigure(errors="backslashreplace")
    return _is_utf8(sys.stdout)


def _is_utf8(stream: io.TextIOWrapper) -> bool:
    return codecs.lookup(stream.encoding).name == "utf-8"


def read_stdin(limit: int) -> str:
    """Return what stdin holds, without one trailing newline. Raises InvalidInput over the limit."""
    raw = sys.stdin.buffer.read(limit + 2)
    raw = raw[:-1] if raw.endswith(b"\n") else raw
    if len(raw) > limit:
        raise InvalidInput(f"the text is longer than {limit} bytes", hint="Send it in parts")
    return _text(raw)


def read_line() -> str:
    """Return the next line of stdin with its end, "" when there is none. Raises InvalidInput."""
    # Not through sys.stdin itself, whose way with what is no text depends on the locale.
    return _text(sys.stdin.buffer.readline())


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            "what stdin holds is not UTF-8 text", hint="Only text can be sent"
        ) from None


def ago(seconds: float) -> str:
    """Return a duration as people say it, in one unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(at: int) -> str:
    """Return a wall-clock time (seconds since 1970) as a caption."""
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
