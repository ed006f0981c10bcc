"""Clients that wait for something to happen, and warnings worth showing in `status`."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from p2pnode.errors import LocalError
from p2pnode.schema import Event

BUFFER = 1_024
"""Events a client may fall behind by; after that it reads them from the vault again."""

MAX_WARNINGS = 16
"""Different warnings kept since the start."""


class Listeners:
    """Tells stored events to whoever listens; keeps the latest warnings."""

    def __init__(self) -> None:
        self._sending: set[trio.MemorySendChannel[Event]] = set()
        self._warnings: dict[str, str] = {}
        self.newest = -1
        """Cursor of the newest event told since the start; -1 before the first."""

    @property
    def warnings(self) -> list[str]:
        """The latest warnings, oldest first."""
        return list(self._warnings.values())

    def tell(self, event: Event) -> None:
        """Hand an event to every listener; one that does not keep up is cut off."""
        self.newest = max(self.newest, event.cursor)
        for sending in list(self._sending):
            try:
                sending.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._sending.discard(sending)
                sending.close()

    def warn(self, error: LocalError) -> None:
        """Keep a warning; the same kind is kept once."""
        if error.code in self._warnings or len(self._warnings) < MAX_WARNINGS:
            self._warnings[error.code] = error.what

    def calm(self, kind: type[LocalError]) -> None:
        """Drop the warning of a kind: it is so no more."""
        self._warnings.pop(kind.code, None)

    @contextmanager
    def listening(self) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        """Give a channel of the events stored from now on; it ends when they came too fast."""
        sending, receiving = trio.open_memory_channel[Event](BUFFER)
        self._sending.add(sending)
        try:
            yield receiving
        finally:
            self._sending.discard(sending)
            sending.close()
            receiving.close()
