"""Files in a folder, as FAT allows and a stick that may be pulled out demands.

All functions block: call them in a thread. They raise OSError. A folder is opened for each call, so
none is held while a stick wants to be unmounted; nothing outside of it is ever opened.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from base64 import b32encode
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from p2pnode_courier.bundle import MAX_BUNDLE

MAX_FILES = 2_048
"""Bundles in one folder, and files read in one look."""

MAX_ENTRIES = 65_536
"""Names looked at in one folder; FAT32 allows no more than that."""

WHOLE = ".p2p"
PARTIAL = ".p2t"
OWN_PARTIAL = re.compile(r"[a-z2-7]{8}\.p2t", re.IGNORECASE)

CONSTANT_TIME = 946_684_800 * 10**9
"""2000-01-01, in nanoseconds: the time every file tells."""

ATTEMPTS = 3
"""How often a bundle is begun when somebody sweeps its partial file away."""

_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_NO_SYNC_HERE = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}


class Entry(NamedTuple):
    """A file as the folder shows it; another size or time means that it has to be read again."""

    name: str
    size: int
    changed: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a folder.

    bundles: regular files that may be bundles; partials: names of files somebody began;
    foreign: names that look like a bundle's and cannot be one; stems: our names in use.
    """

    bundles: tuple[Entry, ...]
    partials: tuple[str, ...]
    foreign: int
    stems: frozenset[str]

    @property
    def size(self) -> int:
        """Bytes in all bundles."""
        return sum(entry.size for entry in self.bundles)


def listed(place: str) -> Listing:
    """Look at the first MAX_ENTRIES names of a folder."""
    bundles: list[Entry] = []
    partials: list[str] = []
    stems: set[str] = set()
    foreign = 0
    with _opened(place) as folder, os.scandir(folder) as names:
        for _, found in zip(range(MAX_ENTRIES), names, strict=False):
            lower = found.name.lower()
            if not lower.endswith((WHOLE, PARTIAL)):
                continue
            stems.add(stem(found.name))
            entry = _entry(found.name, folder)
            if lower.endswith(PARTIAL):
                if entry is not None and OWN_PARTIAL.fullmatch(found.name):
                    partials.append(found.name)
            elif entry is None:
                foreign += 1
            else:
                bundles.append(entry)
    return Listing(tuple(sorted(bundles)), tuple(partials), foreign, frozenset(stems))


def read(place: str, entry: Entry) -> bytes | None:
    """Return a file's bytes; None when it is not a regular file of a bundle's size any more."""
    with _opened(place) as folder:
        if _entry(entry.name, folder) is None:
            return None
        file = os.open(entry.name, _READING, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            pieces, left = [], MAX_BUNDLE + 1
            while left > 0 and (piece := os.read(file, left)):
                pieces.append(piece)
                left -= len(piece)
        finally:
            os.close(file)
    return b"".join(pieces) if left > 0 else None


def write(place: str, raw: bytes, stems: Container[str]) -> Entry:
    """Write a new file, durably, under a random name of which `stems` holds none.

    It has its final name only once all of it is written; when it fails, nothing stays behind if
    the medium still answers.
    """
    with _opened(place) as folder:
        for attempt in range(1, ATTEMPTS + 1):
            new = _fresh(stems)
            try:
                _write_once(folder, new, raw)
                break
            except FileNotFoundError:
                # A node elsewhere that shares the folder takes our file for a leftover.
                if attempt == ATTEMPTS:
                    raise
        _sync_folder(folder)
        entry = _entry(new + WHOLE, folder)
        if entry is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return entry


def sweep(place: str, listing: Listing) -> int:
    """Remove what broken-off writers left, as far as the medium lets; return how many files.

    A partial file stays while its writer lives, and while there is a whole file of the same stem:
    after a pull in the middle of a rename both may be the same clusters to FAT.
    """
    whole = {stem(entry.name) for entry in listing.bundles}
    swept = 0
    with _opened(place) as folder:
        for name in listing.partials:
            if stem(name) in whole:
                continue
            with suppress(OSError):
                swept += _remove_unlocked(folder, name)
    return swept


def stem(name: str) -> str:
    """Return a file's name without its ending, as FAT compares it."""
    return name.lower()[: -len(WHOLE)]


@contextmanager
def _opened(place: str) -> Iterator[int]:
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _entry(name: str, folder: int) -> Entry | None:
    """Return what stands under a name if it is a regular file no larger than a bundle, or None.

    Asked before any open, because opening a device or a FIFO does something.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BUNDLE:
        return None
    return Entry(name, found.st_size, (found.st_mtime_ns, found.st_ctime_ns))


def _fresh(stems: Container[str]) -> str:
    while (new := b32encode(secrets.token_bytes(5)).decode().lower()) in stems:
        continue
    return new


def _write_once(folder: int, new: str, raw: bytes) -> None:
    partial = new + PARTIAL
    file = os.open(partial, _CREATING, 0o666, dir_fd=folder)
    try:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells sweepers that we live
        left = memoryview(raw)
        while left:
            left = left[os.write(file, left) :]
        with suppress(OSError):
            os.utime(file, ns=(CONSTANT_TIME, CONSTANT_TIME))
        os.fsync(file)
        os.rename(partial, new + WHOLE, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(partial, dir_fd=folder)
        raise
    finally:
        os.close(file)


def _remove_unlocked(folder: int, name: str) -> bool:
    file = os.open(name, _READING, dir_fd=folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # no locks here; a living writer begins again
    finally:
        os.close(file)
    os.unlink(name, dir_fd=folder)
    return True


def _sync_folder(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as failure:
        if failure.errno not in _NO_SYNC_HERE:
            raise
