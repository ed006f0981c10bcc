"""Parcels, and a FAT stick in place of `os`, for tests of the courier.

`Stick` stands for the module `os` in `p2pnode_courier.folder`, over a folder of the real disk. It
has what FAT has: names of 8.3 in upper case, found in any case; times of two seconds; clusters, and
a folder that is full some day; no links, no owners, no sync of folders. It can be pulled out: from
then on every call fails, sectors not synced may be zero or rubbish, and the last rename may have
happened, or not, or half, so that two names stand for the same clusters.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from hashlib import shake_256
from pathlib import Path
from random import Random
from types import SimpleNamespace

from p2pnode.spi.transport import Parcel

LEGAL = re.compile(r"[a-z0-9]{1,8}\.[a-z0-9]{1,3}")
CLUSTER = 32_768
SECTOR = 512
UNKNOWN_TO_FAT = {"link", "symlink", "mkfifo", "mknod", "chmod", "fchmod", "chown", "fchown"}


def envelope(number: int, size: int = 4_096) -> bytes:
    """Return the envelope of a number: SHAKE-256 of it as u64."""
    return shake_256(number.to_bytes(8, "big")).digest(size)


def parcels(count: int, *, first: int = 0, size: int = 4_096) -> list[Parcel]:
    """Return parcels with ages from 0 to 6."""
    return [Parcel(envelope(number, size), number % 7) for number in range(first, first + count)]


class Stick:
    """See above. clusters, entries: how many it has; calls: how many work before it is pulled."""

    def __init__(
        self,
        root: Path,
        *,
        seed: int = 0,
        clusters: int = 100_000,
        entries: int = 512,
        calls: int | None = None,
        read_only: bool = False,
    ) -> None:
        self._root = root
        self._random = Random(seed)
        self._clusters = clusters
        self._entries = entries
        self._calls = calls
        self._read_only = read_only
        self._open: dict[int, str] = {}
        self._unsynced: set[str] = set()
        self._renamed: tuple[str, str] | None = None
        self.pulled = False

    def __getattr__(self, name):
        assert name not in UNKNOWN_TO_FAT, f"FAT has no {name}"
        return getattr(os, name)

    def open(self, path, flags, mode=0o777, *, dir_fd=None):
        self._call()
        if dir_fd is None:
            return os.open(path, flags)
        if flags & os.O_CREAT:
            self._change()
            assert LEGAL.fullmatch(path), path
            if 2 * (len(list(self._root.iterdir())) + 1) > self._entries:
                raise OSError(errno.ENOSPC, "the folder is full")
            self._unsynced.add(path.upper())
        file = os.open(path.upper(), flags, mode, dir_fd=dir_fd)
        self._open[file] = path.upper()
        return file

    def write(self, file, raw):
        self._call()
        size = os.fstat(file).st_size
        others = sum(-(-path.stat().st_size // CLUSTER) for path in self._root.iterdir())
        free = (self._clusters - others + -(-size // CLUSTER)) * CLUSTER - size
        if free <= 0:
            raise OSError(errno.ENOSPC, "no cluster is free")
        self._unsynced.add(self._open[file])
        return os.write(file, raw[: min(free, self._random.randint(1, 100_000))])

    def fsync(self, file):
        self._call()
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "folders cannot be synced")
        self._unsynced.discard(self._open[file])

    def rename(self, old, new, *, src_dir_fd, dst_dir_fd):
        self._call()
        self._change()
        assert LEGAL.fullmatch(new), new
        assert not (self._root / new.upper()).exists(), "nothing is written over"
        os.rename(old.upper(), new.upper(), src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._renamed = old.upper(), new.upper()
        if old.upper() in self._unsynced:
            self._unsynced.add(new.upper())

    def unlink(self, name, *, dir_fd):
        self._call()
        self._change()
        path = self._root / name.upper()
        if path.stat().st_nlink > 1:  # the clusters are free now, and somebody will use them
            path.write_bytes(self._random.randbytes(path.stat().st_size))
        os.unlink(name.upper(), dir_fd=dir_fd)

    def stat(self, name, *, dir_fd, follow_symlinks):
        self._call()
        found = os.stat(name.upper(), dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        when = found.st_mtime_ns // (2 * 10**9) * 2 * 10**9
        return SimpleNamespace(
            st_mode=found.st_mode, st_size=found.st_size, st_mtime_ns=when, st_ctime_ns=when
        )

    def scandir(self, folder):
        self._call()
        return os.scandir(folder)

    def read(self, file, size):
        self._call()
        return os.read(file, min(size, self._random.randint(1, 100_000)))

    def _change(self):
        if self._read_only:
            raise OSError(errno.EROFS, "read-only")

    def _call(self):
        if self._calls is not None:
            self._calls -= 1
            if self._calls < 0:
                self._pull()
                raise OSError(errno.ENODEV, "pulled out")

    def _pull(self):
        if self.pulled:
            return
        self.pulled = True
        if self._renamed is not None:
            old, new = (self._root / name for name in self._renamed)
            how = self._random.choice(["done", "undone", "both"])
            if how == "undone":
                new.rename(old)
            elif how == "both":
                os.link(new, old)
        for name in self._unsynced:
            with suppress(FileNotFoundError):
                self._tear(self._root / name)

    def _tear(self, path):
        raw = path.read_bytes()
        sectors = [raw[at : at + SECTOR] for at in range(0, len(raw), SECTOR)]
        for at, sector in enumerate(sectors):
            lost = [sector, sector, bytes(len(sector)), self._random.randbytes(len(sector))]
            sectors[at] = self._random.choice(lost)
        torn = b"".join(sectors)
        path.write_bytes(torn[: self._random.choice([0, len(torn), len(torn) // 2])])
