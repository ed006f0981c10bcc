"""Boots the guest: Debian's kernel in an emulated machine, over this machine's own files.

The guest sees all files of the host and can change none of them; what it writes is gone with it.
One small folder carries its settings in, and its status and logs out.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from transports.ble.tests.bluez.packages import Cache

MEMORY = 1024
"""MiB."""

RIG_FAILED = 125
TIMED_OUT = 124

LAST_LINES = 30


def _share(name: str, folder: Path, *, writable: bool = False) -> list[str]:
    """Return qemu's words for a folder the guest can mount."""
    path = str(folder).replace(",", ",,")  # a comma would end the value
    how = "" if writable else ",readonly=on"
    return [
        "-fsdev",
        f"local,id={name},path={path},security_model=none,multidevs=remap{how}",
        "-device",
        f"virtio-9p-pci,fsdev={name},mount_tag={name}",
    ]


def _qemu(cache: Cache, rig: Path) -> list[str]:
    return [
        *("setpriv", "--pdeathsig", "KILL"),  # it ends with us, however we end
        str(cache.file("/usr/bin/qemu-system-x86_64")),
        *("-L", str(cache.root / "usr/share/qemu"), "-L", str(cache.root / "usr/share/seabios")),
        *("-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(MEMORY)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{rig / 'logs/console.log'}"),
        *("-kernel", str(cache.kernel), "-initrd", str(cache.initrd)),
        *("-append", "console=ttyS0 quiet panic=-1 no_timer_check"),
        *("-device", "virtio-serial-pci", "-chardev", "stdio,id=said,signal=off"),
        *("-device", "virtserialport,chardev=said,nr=1"),
        *_share("host", Path("/")),
        *_share("packages", cache.root),
        *_share("rig", rig, writable=True),
    ]


def run(cache: Cache, settings: Mapping[str, str], *, seconds: float, logs: Path | None) -> int:
    """Boot, print what the scenes print, and return their status.

    settings: shell variables for the guest. seconds: for all of it; logs: where to keep them.
    """
    with tempfile.TemporaryDirectory(prefix="p2pnode-bluez-") as name:
        rig = Path(name)
        (rig / "logs").mkdir()
        shutil.copy(Path(__file__).with_name("guest.sh"), rig)
        lines = [f"{key}={shlex.quote(value)}\n" for key, value in settings.items()]
        (rig / "settings").write_text("".join(lines))
        complaint = rig / "logs/qemu.log"
        with (
            complaint.open("w") as said,
            subprocess.Popen(
                _qemu(cache, rig),
                env=cache.environment(),
                stdin=subprocess.PIPE,  # at its end the guest's port would take no more
                stderr=said,
            ) as machine,
        ):
            try:
                machine.wait(seconds)
                status = _status(rig)
            except subprocess.TimeoutExpired:
                print(f"the guest was ended after {seconds:.0f} s", file=sys.stderr)
                status = TIMED_OUT
            finally:
                machine.kill()
        if status:
            _tell(rig)
        if logs is not None:
            shutil.copytree(rig / "logs", logs, dirs_exist_ok=True)
    return status


def _status(rig: Path) -> int:
    try:
        return int((rig / "status").read_text())
    except (OSError, ValueError):
        return RIG_FAILED


def _tell(rig: Path) -> None:
    """Print the ends of what may explain a failure."""
    for log in sorted((rig / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        if lines:
            print(f"--- {log.name}", *lines[-LAST_LINES:], sep="\n", file=sys.stderr)
