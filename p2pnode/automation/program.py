"""Running somebody's program for the daemon: what may be run, in what surroundings, how long.

Never through a shell. The program gets a session of its own, none of the daemon's files and no
environment but what is named here; its output is dropped, because it may repeat what it was given.
It ends with the daemon or its time, and so does everything it started that stayed in its session.
A daemon that is killed outright cannot see to that: then the time of a processor it may use does.
"""

import os
import pwd
import resource
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import trio

PATH = "/usr/local/bin:/usr/bin:/bin"

MAX_FILE = 1 << 30
"""Bytes of a file that a program may write."""

MAX_OPEN = 256
"""Files it may have open."""

REAPED_WITHIN = 2.0
"""Seconds a killed program may take to be gone; one that hangs in the kernel is left to it."""


class Unfit(NamedTuple):
    """Why a program must not be run, as a constant, and what would mend it."""

    why: str
    fix: str


def unfit(path: str) -> Unfit | None:
    """Return why a program must not be run, None when it may.

    Whoever can write to it, or put another one in its place, could act as this user.
    """
    try:
        place = Path(path).resolve(strict=True)
        if not stat.S_ISREG(place.stat().st_mode):
            return Unfit("it is no file", "name a program")
        for one in (place, place.parent):
            if one.stat().st_uid not in {0, os.getuid()}:
                return Unfit(
                    "it, or the folder it lies in, belongs to another user",
                    "chown it to the user the daemon runs as, or to root",
                )
        for one in (place, *place.parents):
            mode = one.stat().st_mode
            # in a folder with the sticky bit, like /tmp, only owners replace what is theirs
            if mode & stat.S_IWOTH and not (one != place and mode & stat.S_ISVTX):
                return Unfit("it, or a folder above it, can be written by everyone", "chmod o-w it")
    except (OSError, RuntimeError):  # the latter of links in a circle
        return Unfit("it is not there", "check its path in config.toml")
    if not os.access(place, os.X_OK):
        return Unfit("it may not be executed", "chmod u+x on it")
    return None


def surroundings(home: Path, more: Sequence[str] = ()) -> dict[str, str]:
    """Return a program's whole environment: enough to find this node, and no secret.

    more: names of the daemon's own variables that are handed on where they are set.
    """
    try:
        own = pwd.getpwuid(os.getuid())
        name, place = own.pw_name, own.pw_dir
    except KeyError:
        name, place = str(os.getuid()), "/"
    found = {"PATH": PATH, "HOME": place, "USER": name, "LOGNAME": name, "LANG": "C.UTF-8"}
    for variable in ("LANG", "XDG_RUNTIME_DIR", *more):
        if os.environ.get(variable):
            found[variable] = os.environ[variable]
    return {**found, "P2PNODE_HOME": str(home)}


async def run_program(
    argv: Sequence[str], given: bytes, *, environment: Mapping[str, str], patience: float
) -> int | None:
    """Run a program with `given` on its stdin; return its exit code (-N: signal N ended it).

    None: it took longer than `patience` seconds and was killed. Raises OSError when it cannot be
    started.
    """
    home = environment["HOME"]
    process = await trio.lowlevel.open_process(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=home if os.access(home, os.X_OK) else "/",
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        with suppress(ProcessLookupError, PermissionError):  # over already, or of another user
            _limit(process.pid, patience)
        with _ending(process.pid) as descriptor, trio.move_on_after(patience) as time:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_feed, process.stdin, given)
                await trio.lowlevel.wait_readable(descriptor)
                nursery.cancel_scope.cancel()
    finally:
        # Before it is reaped: until then its number, and so that of its group, is nobody else's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.move_on_after(REAPED_WITHIN) as last:
            last.shield = True
            await process.stdin.aclose()
            await process.wait()
    return None if time.cancelled_caught else process.returncode


def _limit(pid: int, patience: float) -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, int(patience) + 1),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_NOFILE, MAX_OPEN),
    ):
        _, hard = resource.prlimit(pid, what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, what, (bound, bound))


async def _feed(stdin: trio.abc.SendStream, given: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it need not read
        await stdin.send_all(given)
    await stdin.aclose()


@contextmanager
def _ending(pid: int) -> Iterator[int]:
    """Give a descriptor that can be read once a child has ended, which is not reaped by that."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
