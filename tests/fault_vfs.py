"""A file layer for SQLite that loses power or fills up at a chosen write, or cannot read a place.

Between two syncs a disk may keep any of the writes, in any order, whole or torn; `cut` undoes a
seeded choice of them. WAL needs `locking_mode=EXCLUSIVE` here (the log's index is then in memory).
"""

from functools import cache
from random import Random
from typing import Any

import apsw


class _File(apsw.VFSFile):
    def __init__(self, vfs: "FaultVFS", name: Any, flags: list[int]) -> None:
        super().__init__(vfs.base_vfs, name, flags)
        self.vfs = vfs
        self.unsynced: list[tuple[int, bytes, int]] = []
        vfs.files.append(self)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - named by SQLite
        self.vfs.read += amount
        if any(offset <= place < offset + amount for place in self.vfs.unreadable):
            raise apsw.IOError("bad sector")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        size = super().xFileSize()
        old = super().xRead(min(len(data), size - offset), offset) if offset < size else b""
        self.vfs.tick()
        self.unsynced.append((offset, old, size))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.vfs.tick()
        self.unsynced.clear()

    def undo_some(self, random: Random) -> None:
        for offset, old, size in reversed(self.unsynced):
            fate = random.random()
            if fate >= 0.5:
                continue
            half = len(old) // 2
            if fate < 0.15 and old[half:]:
                super().xWrite(old[half:], offset + half)
            elif fate >= 0.15:
                if old:
                    super().xWrite(old, offset)
                if size < super().xFileSize() and fate < 0.3:
                    super().xTruncate(size)


class FaultVFS(apsw.VFS):
    """One disk. `arm` says at which write or sync from now on it fails, and how; `unreadable` are
    offsets at which no read of any file succeeds."""

    def __init__(self, name: str, base: str = "") -> None:
        super().__init__(name, base)
        self.name = name
        self.base_vfs = base
        self.files: list[_File] = []
        self.read = 0
        self.unreadable: set[int] = set()
        self.ticks = 0
        self.dead = False
        self._at = -1
        self._cut = False
        self._random = Random(0)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802
        return _File(self, name, flags)

    def arm(self, at: int, *, cut: bool, seed: int = 0) -> None:
        """Fail at the `at`-th write or sync: by a power cut, or by a full disk once."""
        self.files.clear()
        self.ticks, self._at, self._cut, self.dead = 0, at, cut, False
        self._random = Random(seed)

    @property
    def struck(self) -> bool:
        return 0 <= self._at <= self.ticks

    def tick(self) -> None:
        self.ticks += 1
        if self.dead:
            raise apsw.IOError("no power")
        if self.ticks != self._at:
            return
        if not self._cut:
            raise apsw.FullError("disk full")
        self.dead = True
        for file in self.files:
            file.undo_some(self._random)
        raise apsw.IOError("power cut")


@cache
def fault_disk(name: str) -> FaultVFS:
    """Return the disk of this name, which stays as long as the process.

    The encrypting layer above is made once for a name and keeps a bare pointer to what is below it:
    a disk that had gone, and another of its name, crashed the process.
    """
    return FaultVFS(name, "unix")
