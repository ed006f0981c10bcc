"""Plain files: read without ever waiting for what stands in their place, and written whole or not
at all."""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path


def read(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; one more than `most` where it has more than that.

    A named pipe, a device or a folder under its name is refused at once: a pipe into which nobody
    writes would hold whoever opens it for ever. Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(handle)


def write(path: Path, raw: bytes, *, private: bool = True, replace: bool = True) -> None:
    """Write a file under its name once all of it is there: what fails half-way leaves no trace,
    and an older file as it was.

    private: a new file has mode 0600; one that is replaced keeps its mode. A link to a file stays
    one. What is no file, such as /dev/stdout, is written to as it is. Raises OSError,
    FileExistsError without `replace` where something has the name.
    """
    if not replace and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        found = None
    if found is not None and not stat.S_ISREG(found):
        with path.open("wb") as file:
            file.write(raw)
        return
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{secrets.token_hex(8)}.part")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(draft, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            if found is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(found))
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
