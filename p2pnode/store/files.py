"""Small files beside the stores, written so that a power cut leaves them whole or as they were."""

import contextlib
import os
from pathlib import Path

from nacl import utils

from p2pnode import disk
from p2pnode.errors import StoreError, StoreFull

CARRY_PASS = 32
"""Bytes of a carry pass."""

MAX_SHREDDED = 65_536
"""Bytes overwritten at most: more than any secret's file has."""


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, raw: bytes) -> None:
    """Write a file of mode 0600; after a power cut it is whole, or as it was before.

    Raises StoreFull or StoreError.
    """
    draft = draft_of(path)
    try:
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        if error.errno == 28:
            raise StoreFull(f"the disk is full, no {path.name}", hint="Make room") from None
        raise StoreError(f"{path.name} cannot be kept", why=str(error)) from None


def shred(handle: int) -> None:
    """Overwrite an open small file and sync it. On flash this proves nothing. Raises OSError."""
    size = min(max(1, os.fstat(handle).st_size), MAX_SHREDDED)
    os.pwrite(handle, utils.random(size), 0)
    os.fsync(handle)


def draft_of(path: Path) -> Path:
    """Return where `write_whole` writes a file first; a crash may leave it there."""
    return path.with_name(f"{path.name}.new")


def destroy(path: Path) -> None:
    """Overwrite a small file, as far as that goes, and unlink it. Raises OSError."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            shred(handle)
        finally:
            os.close(handle)
    path.unlink(missing_ok=True)


def write_instead(path: Path, raw: bytes) -> None:
    """Write a file of mode 0600 in the place of a secret one; then overwrite the old one's bytes.

    After a power cut the old one is there whole, or the new one is. Raises StoreFull or StoreError.
    """
    try:
        old = os.open(path, os.O_RDWR)
    except OSError as error:
        raise StoreError(f"{path.name} cannot be changed", why=str(error)) from None
    try:
        write_whole(path, raw)
        with contextlib.suppress(OSError):  # the new one counts whatever becomes of the old bytes
            shred(old)
    finally:
        os.close(old)


def carry_pass(path: Path) -> bytes | None:
    """Return the carry pass kept at path; None when there is none, or it is damaged."""
    try:
        found = disk.read(path, CARRY_PASS)
    except OSError:
        return None
    return found if len(found) == CARRY_PASS else None


def new_carry_pass(path: Path) -> bytes:
    """Make a new carry pass, keep it at path and return its 32 bytes.

    Raises StoreFull or StoreError.
    """
    made = utils.random(CARRY_PASS)
    write_whole(path, made)
    return made
