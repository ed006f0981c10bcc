"""Logs that give nobody away: our own, on stderr, with constants and counts alone."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import PurePath
from traceback import extract_tb

MOST_LINES = 300
"""Lines of log in a span; what comes beyond is counted, and told when the span is over."""

SPAN = 3_600.0
"""Seconds of such a span."""


class Bounded(logging.Filter):
    """Lets so many lines through in a span: nobody outside can fill a disk with our log.

    clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._began = clock()
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line goes out; the first of a new span tells how many did not."""
        if self._clock() - self._began >= SPAN:
            left_out = self._lines - MOST_LINES
            self._began, self._lines = self._clock(), 0
            if left_out > 0:
                record.msg = f"({left_out} lines were left out before this one) {record.msg}"
        self._lines += 1
        return self._lines <= MOST_LINES


def log_to_stderr(level: str) -> None:
    """Send our own logs to stderr. Other libraries' are dropped: they name hosts and addresses."""
    out = logging.StreamHandler(sys.stderr)
    out.addFilter(Bounded())
    out.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logging.getLogger().handlers = [logging.NullHandler()]
    own = logging.getLogger("p2pnode")
    own.handlers = [out]
    own.propagate = False
    own.setLevel(level.upper())
    logging.raiseExceptions = False


def traced(error: BaseException) -> str:
    """Return where an unexpected error arose, for a log: kinds and lines, never its text.

    The text of an error may hold what a peer or a client sent, or an address.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(sorted({traced(one) for one in error.exceptions}))
    frames = extract_tb(error.__traceback__)[-3:]
    path = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {path}"
