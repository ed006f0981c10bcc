"""The log as it is written, for tests that look at its lines."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from p2pnode.logs import Journal


class Written:
    """A journal whose lines are kept, and whose time the test sets."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.now = 100.0
        self.journal = Journal(self.stream, journald=True, now=lambda: self.now)

    def lines(self) -> list[str]:
        """Return what was written since this was asked last."""
        found = self.stream.getvalue().splitlines()
        self.stream.truncate(0)
        self.stream.seek(0)
        return found


@contextmanager
def journals() -> Iterator[Written]:
    """Write everything that is logged to a journal of the test's own: a pytest fixture."""
    root, own = logging.getLogger(), logging.getLogger("p2pnode")
    before = root.handlers, root.level, own.level
    made = Written()
    root.handlers = [made.journal]
    try:
        yield made
    finally:
        root.handlers = before[0]
        root.setLevel(before[1])
        own.setLevel(before[2])
