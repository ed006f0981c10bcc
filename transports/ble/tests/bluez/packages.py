"""What the guest needs, from the machine's own Debian sources: unpacked, never installed.

The cache folder holds the packages' files, the kernel, and an initrd that gets as far as mounting
the host's files. It may be deleted at any time.
"""

import fcntl
import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent

FORMAT = "1"
"""Raised when what is in the cache changes."""

WANTED = ("qemu-system-x86", "busybox-static", "bluez", "kmod", "dbus-daemon")
"""Of these and what they depend on, only what this machine lacks is fetched."""

KERNEL = "linux-image-amd64"

INITRD_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console")
"""What it takes to mount the host's files; all other modules are loaded from there."""

NO_DRIVERS = ("gpu", "media", "infiniband", "iio", "scsi", "staging", "net/ethernet")
"""Drivers nothing here can use, most of the kernel package's size."""

MERGED = ("bin", "sbin", "lib", "lib64")
"""Folders that are links into /usr."""

APT_TIME = 300
"""Seconds for one run of apt."""


class Missing(Exception):
    """The guest cannot be had here; `how` says what to do about it."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(what)
        self.how = how


class Cache:
    """A folder with everything the guest is made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.root = self.folder / "root"
        self.kernel = self.folder / "vmlinuz"
        self.initrd = self.folder / "initrd.gz"
        self.libraries = self.root / "usr/lib/x86_64-linux-gnu"
        self._mark = self.folder / "complete"

    def file(self, path: str) -> Path:
        """Return a program as fetched, else as this machine has it. Raises FileNotFoundError."""
        for place in (self.root / path.lstrip("/"), Path(path)):
            if place.exists():
                return place
        raise FileNotFoundError(path)

    def environment(self) -> dict[str, str]:
        """Return the environment in which the fetched programs find their libraries."""
        return {**os.environ, "LD_LIBRARY_PATH": str(self.libraries), "LC_ALL": "C"}

    @property
    def complete(self) -> bool:
        """Whether it can be used as it is."""
        try:
            self.file("/usr/bin/qemu-system-x86_64")
            self.file("/usr/libexec/bluetooth/bluetoothd")
            return self._mark.read_text() == FORMAT
        except OSError:
            return False

    def fill(self) -> None:
        """Fetch and unpack what is missing. Raises Missing."""
        _check_machine()
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / "lock"):
            if not self.complete:
                self._refill()

    def _refill(self) -> None:
        packages = self.folder / "packages"
        for old in (self.root, packages):
            shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            self._mark.unlink()
        packages.mkdir()
        _fetch(packages)
        self.root.mkdir()
        for one in sorted(packages.glob("*.deb")):
            subprocess.run(["dpkg", "-x", one, self.root], check=True)
            self._merge()
        shutil.rmtree(packages)
        (version,) = (one.name for one in (self.root / "usr/lib/modules").iterdir())
        shutil.move(self.root / f"boot/vmlinuz-{version}", self.kernel)
        drivers = self.root / f"usr/lib/modules/{version}/kernel/drivers"
        for useless in (
            *(drivers / one for one in NO_DRIVERS),
            *(self.root / one for one in ("boot", "usr/share/doc", "usr/share/man")),
        ):
            shutil.rmtree(useless, ignore_errors=True)
        self._kmod("depmod", "-b", str(self.root), version)
        self._make_initrd(version)
        self._mark.write_text(FORMAT)

    def _merge(self) -> None:
        """Move what a package has in /bin, /lib … to /usr, as on an installed system."""
        for name in MERGED:
            old, new = self.root / name, self.root / "usr" / name
            new.mkdir(parents=True, exist_ok=True)
            if old.is_dir() and not old.is_symlink():
                shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(old)
            if not old.is_symlink():
                old.symlink_to(f"usr/{name}")

    def _kmod(self, name: str, *words: str) -> str:
        done = subprocess.run(
            [name, *words],
            executable=self.file("/usr/bin/kmod"),
            env=self.environment(),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout

    def _make_initrd(self, version: str) -> None:
        tree = self.folder / "initrd"
        shutil.rmtree(tree, ignore_errors=True)
        for name in ("bin", "dev", "proc", "sys", "modules", "host", "packages", "memory", "new"):
            (tree / name).mkdir(parents=True)
        shutil.copy(HERE / "init.sh", tree / "init")
        (tree / "init").chmod(0o755)
        shutil.copy(self.file("/usr/bin/busybox"), tree / "bin/busybox")
        order: list[str] = []
        for wanted in INITRD_MODULES:
            told = self._kmod(
                "modprobe", "-d", str(self.root), "-S", version, "--show-depends", wanted
            )
            for module in re.findall(r"^insmod (\S+)", told, re.MULTILINE):
                name = Path(module).name
                if name not in order:
                    order.append(name)
                    shutil.copy(module, tree / "modules")
        (tree / "order").write_text("".join(f"{name}\n" for name in order))
        names = [str(one.relative_to(tree)) for one in sorted(tree.rglob("*"))]
        packed = subprocess.run(
            [tree / "bin/busybox", "cpio", "-o", "-H", "newc"],
            cwd=tree,
            input="".join(f"{name}\n" for name in names).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        self.initrd.write_bytes(gzip.compress(packed.stdout, 1))
        shutil.rmtree(tree)


def _check_machine() -> None:
    """Raise Missing where no guest can be made."""
    machine = os.uname()
    if machine.sysname != "Linux" or machine.machine != "x86_64":
        raise Missing(
            f"the guest needs Linux on x86_64, and this is {machine.sysname} on {machine.machine}",
            "run it on such a machine",
        )
    for tool in ("apt-get", "apt-cache", "dpkg", "setpriv"):
        if shutil.which(tool) is None:
            raise Missing(
                f"there is no {tool} here",
                "run it on Debian 12 or newer: kernel, qemu and BlueZ come from its packages",
            )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    """Fetch the packages this machine lacks, and a kernel. Raises Missing."""
    for updated in (False, True):
        if updated:
            if os.geteuid() != 0:
                raise Missing(
                    "apt's lists of packages are missing or too old", "as root: apt-get update"
                )
            _apt("apt-get", "update", "-q")
        names = _lacking()
        fetched = names and _apt(
            "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names, at=folder
        )
        if fetched:
            return
    raise Missing(
        "apt does not find or fetch the packages of the guest",
        "see what this says: apt-get download " + " ".join((*WANTED, KERNEL)),
    )


def _lacking() -> Sequence[str]:
    """Return the names of the packages to fetch; empty when apt does not know."""
    kernel = re.search(
        r"^ *Depends: (linux-image-[0-9]\S*)$",
        _apt("apt-cache", "depends", "--no-recommends", "--no-suggests", KERNEL),
        re.MULTILINE,
    )
    plan = _apt("apt-get", "install", "-s", "--no-install-recommends", *WANTED)
    if kernel is None or not plan:
        return ()
    # "Inst NAME (VERSION" is a package this machine lacks; "Inst NAME [OLD] (NEW" an upgrade.
    lacking = re.findall(r"^Inst (\S+) \(", plan, re.MULTILINE)
    return [*(name for name in lacking if name != "udev"), kernel[1]]


def _apt(*words: str, at: Path | None = None) -> str:
    """Run one of apt's programs; return what it said, or nothing if it failed."""
    done = subprocess.run(
        words,
        check=False,
        cwd=at,
        env={**os.environ, "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        timeout=APT_TIME,
        text=True,
    )
    return (done.stdout or " ") if done.returncode == 0 else ""
