"""What this process remembers of files it has read, so that it need not read them again."""

from collections.abc import Iterable, Iterator
from struct import Struct

from p2pnode_courier.folder import MAX_FILES, Entry

MAX_TAKEN = 8 * MAX_FILES
"""Files remembered as taken."""

MAX_HELD = MAX_FILES
"""Files of which is remembered what they hold, at most 4.5 KiB each."""

KEY = 16
"""Bytes of hash under which an envelope is remembered."""

_LINE = Struct(f">{KEY}sH")

Line = tuple[bytes, int]
"""An envelope's key and the age it lies there with."""


class Known:
    """Remembers the latest files of all places, by name, size and times."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, Entry], None] = {}
        self._held: dict[tuple[str, Entry], bytes] = {}

    def took(self, place: str, entry: Entry) -> bool:
        """Return whether all parcels of a file were taken, or written by us."""
        return (place, entry) in self._taken

    def taken(self, place: str, entry: Entry) -> None:
        """Remember it."""
        self._taken[place, entry] = None
        if len(self._taken) > MAX_TAKEN:
            del self._taken[next(iter(self._taken))]

    def holds(self, place: str, entry: Entry) -> Iterator[Line] | None:
        """Return what a file holds; None when that is not remembered."""
        lines = self._held.get((place, entry))
        return None if lines is None else _LINE.iter_unpack(lines)

    def held(self, place: str, entry: Entry, lines: Iterable[Line]) -> None:
        """Remember what a file holds."""
        self._held[place, entry] = b"".join(_LINE.pack(*line) for line in lines)
        if len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]
