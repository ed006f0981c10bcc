"""The event log: what happened to this node, on stderr, without saying to whom.

A line is an event and fields: constants, counts, and tags. A tag stands for a contact, the same one
until the process ends, and for nobody afterwards: it is a hash under a salt that lives in memory
alone. No level lets texts, names, keys or addresses through. `identifiers` does, for an hour at
most. What other libraries log is cut down to where they said it, since they name hosts and
addresses.
"""

import json
import logging
import os
import re
import secrets
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from hashlib import blake2b
from pathlib import PurePath
from traceback import extract_tb
from types import TracebackType
from typing import Literal, TextIO

Level = Literal["debug", "info", "warning", "error"]

IDENTIFIERS_LAST = 3_600.0
"""Seconds after which names and texts are withheld again, whatever the settings say."""

WINDOW = 60.0
"""Seconds in which lines that say the same are counted together."""

BURST = {logging.DEBUG: 100}
"""Lines that say the same in one window, by level; `FEW` where nothing stands here."""

FEW = 10

MOST_LINES = 300
"""Lines in an hour, of all kinds: nobody outside can fill a disk with our log. Not at debug, where
somebody is looking."""

HOUR = 3_600.0

MAX_KEYS = 512
"""Different lines whose repeats are counted at once; each further one is dropped and counted."""

CLOSED = "log identifiers.off"

MAX_SHOWN = 400
"""Characters of a text that `identifiers` lets through."""

_SLUG = re.compile(r"[a-z][a-z0-9]{0,23}([-_.][a-z0-9]{1,24}){0,4}")
_PHRASE = re.compile(r"(?!.*\d{4})[A-Za-z0-9 ,;%()'-]{1,80}")
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_SALT = secrets.token_bytes(32)


class Tag(str):
    """A short name for somebody, which says nothing outside of this process."""

    __slots__ = ()


class Plain(str):
    """Text of the program's own making: a version, a constant, a place in the code."""

    __slots__ = ()


class Private(str):
    """Text that names somebody or something: left out unless `identifiers` lets it through."""

    __slots__ = ()


Field = int | float | str
"""What stands in a line. A plain string must be a slug, such as a reason or a transport's name."""


def tag(identity: bytes, kind: str = "c") -> Tag:
    """Return the tag of somebody or something until this process ends."""
    return Tag(f"{kind}:{blake2b(identity, key=_SALT, digest_size=2).hexdigest()}")


def phrase(text: str) -> Plain | Private:
    """Return a transport's word on its state, withheld unless it is made of plain words."""
    return Plain(text) if _PHRASE.fullmatch(text) else Private(text)


def traced(error: BaseException) -> Plain:
    """Return where an unexpected error arose, for a log: kinds and lines, never its text.

    The text of an error may hold what a peer or a client sent, or an address.
    """
    if isinstance(error, BaseExceptionGroup):
        return Plain("; ".join(sorted({traced(one) for one in error.exceptions})))
    frames = extract_tb(error.__traceback__)[-3:]
    path = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in frames)
    return Plain(f"{type(error).__name__} at {path}")


class EventLog:
    """Says events under one of our own names: `EventLog("engine").info("link.up", link=3)`."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(f"p2pnode.{name}")

    def debug(self, event: str, **fields: Field) -> None:
        """Say what only somebody who looks for a fault wants to know."""
        self._say(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Field) -> None:
        """Say what happens rarely and is worth knowing afterwards."""
        self._say(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Say what may want somebody's attention."""
        self._say(logging.WARNING, event, fields)

    def fault(self, event: str, **fields: Field) -> None:
        """Say, at level error, what went wrong here."""
        self._say(logging.ERROR, event, fields)

    def _say(self, level: int, event: str, fields: dict[str, Field]) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, event, extra={"fields": fields})


class Journal(logging.Handler):
    """Writes the lines. journald: stderr is read by journald, which wants a priority and keeps the
    time itself. now: monotonic seconds."""

    def __init__(
        self,
        stream: TextIO,
        *,
        journald: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._journald = journald
        self._now = now
        self._open_until = -1.0
        self._windows: dict[str, _Window] = {}
        self._beyond = 0
        self._swept = now()
        self._hour, self._lines = now(), 0

    def configure(self, level: Level, *, identifiers: bool) -> None:
        """Choose what is said from now on; identifiers: for an hour, counted from now."""
        number = getattr(logging, level.upper())
        logging.getLogger("p2pnode").setLevel(number)
        logging.getLogger().setLevel(logging.INFO if number == logging.DEBUG else logging.WARNING)
        with self.lock or nullcontext():
            was, self._open_until = self.open, -1.0
            if identifiers:
                self._open_until = self._now() + IDENTIFIERS_LAST
                self._write(logging.WARNING, f"log identifiers.on seconds={IDENTIFIERS_LAST:.0f}")
            elif was:
                self._write(logging.WARNING, CLOSED)

    @property
    def open(self) -> bool:
        """Whether names and texts are let through now."""
        return self._now() < self._open_until

    def sweep(self) -> None:
        """Say how often what was counted together happened; call it now and then."""
        with self.lock or nullcontext():
            if self._open_until >= 0 and not self.open:
                self._open_until = -1.0
                self._write(logging.WARNING, CLOSED)
            self._sweep(self._now())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        try:
            own = record.name.startswith("p2pnode.")
            if not own and record.levelno < logging.getLogger().level:
                return  # a library that chose its own level
            level = _known_level(record.levelno)
            key, rest = self._words(record)
            now = self._now()
            if now - self._swept >= WINDOW:
                self._sweep(now)
            window = self._windows.get(key)
            if window is None:
                if len(self._windows) >= MAX_KEYS:
                    self._beyond += 1
                    return
                window = self._windows[key] = _Window(now, level)
            window.count += 1
            if window.count <= BURST.get(level, FEW):
                self._write_bounded(level, key + rest, now)
        except Exception:
            # Lose the line: a defect here must not end the node, nor print what it was given.
            self._beyond += 1

    def _sweep(self, now: float) -> None:
        self._swept = now
        for key, window in list(self._windows.items()):
            if now - window.began >= WINDOW:
                del self._windows[key]
                more = window.count - BURST.get(window.level, FEW)
                if more > 0:
                    self._write_bounded(window.level, f"... {more} more: {key}", now)
        if self._beyond:
            self._write(logging.WARNING, f"... {self._beyond} more of other kinds")
            self._beyond = 0

    def _words(self, record: logging.LogRecord) -> tuple[str, str]:
        """Return what a line says, and its fields that differ from one like it to the next."""
        if not record.name.startswith("p2pnode."):
            return _foreign(record), self._said(record)
        name = record.name.removeprefix("p2pnode.")
        fields: dict[str, Field] | None = record.__dict__.get("fields")
        if fields is None:  # from below this module, with constants alone
            return f"{name} {record.getMessage()}", ""
        same, differing = [], []
        for field, value in fields.items():
            if value == "":
                continue
            if isinstance(value, Private):
                if self.open:
                    differing.append(f" {field}={_quoted(value)}")
            elif isinstance(value, Tag):
                differing.append(f" {field}={value}")
            elif isinstance(value, str):
                same.append(f" {field}={_constant(value)}")
            else:
                shown = f"{value:.3g}" if isinstance(value, float) else str(value).lower()
                differing.append(f" {field}={shown}")
        return f"{name} {record.msg}{''.join(same)}", "".join(differing)

    def _said(self, record: logging.LogRecord) -> str:
        return f" said={_quoted(record.getMessage())}" if self.open else ""

    def _write_bounded(self, level: int, line: str, now: float) -> None:
        if now - self._hour >= HOUR:
            left_out = self._lines - MOST_LINES
            self._hour, self._lines = now, 0
            if left_out > 0:
                self._write(logging.WARNING, f"... {left_out} more in the hour before")
        self._lines += 1
        if self._lines <= MOST_LINES or logging.getLogger("p2pnode").level <= logging.DEBUG:
            self._write(level, line)

    def _write(self, level: int, line: str) -> None:
        if self._journald:
            text = f"<{_PRIORITY[level]}>{line}\n"
        else:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            text = f"{at} {logging.getLevelName(level).lower():7} {line}\n"
        with suppress(OSError, ValueError):  # a full disk, or nobody reads any more
            self._stream.write(text)
            self._stream.flush()


class _Window:
    """Lines that say the same, from one moment on."""

    __slots__ = ("began", "count", "level")

    def __init__(self, began: float, level: int) -> None:
        self.began = began
        self.level = level
        self.count = 0


def log_to_stderr(level: Level, *, identifiers: bool = False) -> Journal:
    """Send our own events to stderr, and nothing else there that somebody else's code makes up."""
    journal = Journal(sys.stderr, journald=_is_journal(sys.stderr.fileno()))
    root = logging.getLogger()
    root.handlers = [journal]
    logging.lastResort = None
    logging.raiseExceptions = False
    take_over()
    journal.configure(level, identifiers=identifiers)
    return journal


def take_over() -> None:
    """Say in the log, without its text, what Python would print: errors that nobody caught."""
    sys.excepthook = _crashed
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_crashed
    warnings.showwarning = _warned


def _is_journal(descriptor: int) -> bool:
    """Tell whether systemd's journal reads what is written there."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _known_level(level: int) -> int:
    return max((one for one in _PRIORITY if one <= level), default=logging.DEBUG)


def _constant(text: str) -> str:
    """Return a text that may stand in a line; what is no slug and not our own is left out."""
    if isinstance(text, Plain):
        return text if _SLUG.fullmatch(text) else _quoted(text)
    return text if _SLUG.fullmatch(text) else "withheld"


def _quoted(text: str) -> str:
    return json.dumps(text[:MAX_SHOWN])


def _foreign(record: logging.LogRecord) -> str:
    """Return who spoke and where in its code, as far as those are names of modules."""
    package = record.name.partition(".")[0]
    name = package if package in sys.modules else "another"
    place = f"{PurePath(record.pathname).name}:{record.lineno}"
    return f"library.spoke name={name} level={record.levelname.lower()} at={place}"


_errors = EventLog("errors")


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _errors.fault("crashed", at=traced(error), text=Private(error))


def _thread_crashed(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        _errors.fault("thread.crashed", at=traced(found.exc_value), text=Private(found.exc_value))


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    if found.exc_value is not None:
        _errors.fault("ignored", at=traced(found.exc_value), text=Private(found.exc_value))


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    place = Plain(f"{PurePath(filename).name}:{lineno}")
    _errors.warning("python.warned", kind=Plain(category.__name__), at=place, text=Private(message))
