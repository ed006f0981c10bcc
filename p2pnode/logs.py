"""Logs that give nobody away: our own, on stderr, with constants and counts alone."""

import logging
import sys
from pathlib import PurePath
from traceback import extract_tb


def log_to_stderr(level: str) -> None:
    """Send our own logs to stderr. Other libraries' are dropped: they name hosts and addresses."""
    out = logging.StreamHandler(sys.stderr)
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
