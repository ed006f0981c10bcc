"""A bare Debian machine for a trial: its own root file system, its own systemd, one network host.

The root file system is made once by debootstrap and kept; a trial works on an overlay above it.
All mounts live in the caller's mount namespace (`unshare --mount`), all processes below one that
dies with the caller.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.namespaces import NetworkHost

ENTER = Path(__file__).with_name("enter.sh")
SUITE = "bookworm"
BARE = "systemd,systemd-sysv,dbus,libpam-systemd"
"""What is on every Debian machine besides the essential packages."""

MIRROR = "http://deb.debian.org/debian"
PATIENCE = 600.0
FRESH = 7 * 86_400.0
"""Seconds a kept root file system is used; then its package lists are too old."""

UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup",
           "--kill-child=SIGKILL", "sh", str(ENTER)]  # fmt: skip


class Failed(Exception):
    """A command in the box ended otherwise than it should."""


def kept_root(cache: Path) -> Path:
    """Return a bare root file system, made by debootstrap unless a fresh one is there."""
    root, done = cache / SUITE, cache / f"{SUITE}.done"
    if done.exists() and time.time() - done.stat().st_mtime < FRESH:
        return root
    shutil.rmtree(root, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    words = ["debootstrap", "--variant=minbase", f"--include={BARE}", SUITE, str(root), MIRROR]
    subprocess.run(words, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    done.touch()
    return root


class Box:
    """The machine. `run` enters it, whether its systemd runs or not."""

    def __init__(self, root: Path, place: Path, host: NetworkHost) -> None:
        self.root = place / "root"
        self.host = host
        self._systemd: subprocess.Popen[bytes] | None = None
        self._group = _cgroups() / f"p2pnode-trial-{os.getpid()}"
        for name in ("upper", "work", "root"):
            (place / name).mkdir()
        options = f"lowerdir={root},upperdir={place}/upper,workdir={place}/work"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True
        )
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")

    def offline(self, *words: str) -> str:
        """Run a command while nothing else runs in the box, on this machine's network."""
        return self._done([*UNSHARE, str(self.root), *words])

    @contextmanager
    def booted(self) -> Iterator[None]:
        """Run the box's systemd on its network host until the context ends."""
        self._group.mkdir()
        join = f'echo $$ > "{self._group}/cgroup.procs"; exec "$@"'
        inner = [*UNSHARE, str(self.root), "/lib/systemd/systemd", "--unit=multi-user.target"]
        words = ["sh", "-c", join, "sh", *self.host.command(inner)]
        self._systemd = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._until_up()
            yield
        finally:
            self._systemd.kill()
            self._systemd.wait()
            self._systemd = None
            self._sweep()

    def command(self, *words: str) -> list[str]:
        """Return a command that runs in the booted box."""
        enter = ["nsenter", "-t", str(self._first()), "-a", "env", "-i", "HOME=/root",
                 "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]  # fmt: skip
        return [*enter, *words]

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command in the booted box; return what it said on stdout and stderr."""
        return self._done(self.command(*words), code)

    def _first(self) -> int:
        """Return the process id, out here, of the box's first process."""
        assert self._systemd is not None
        found = self._systemd.pid
        while not re.search(r"^NSpid:.*\t1$", _proc(found, "status"), re.M):
            below = _proc(found, f"task/{found}/children").split()
            if not below:
                raise Failed("the box has not begun")
            found = int(below[0])
        return found

    def _until_up(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(Failed):
                words = self.command("systemctl", "is-system-running")
                asked = subprocess.run(words, capture_output=True, text=True)
                if asked.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.2)  # a system that boots has nothing to wait on from outside
        raise Failed("the box does not boot")

    def _sweep(self) -> None:
        """Remove the control groups the box's systemd has made, once its processes are gone."""
        end = time.monotonic() + 10
        for folder, _, _ in os.walk(self._group, topdown=False):
            while True:
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.1)

    @staticmethod
    def _done(words: Sequence[str], code: int = 0) -> str:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode != code:
            raise Failed(f"{' '.join(words[-6:])} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout


def _proc(process: int, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text()
    except OSError:
        return ""


def _cgroups() -> Path:
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.is_dir() else Path("/sys/fs/cgroup")
