"""What `doctor` tells of Bluetooth. It names the adapter to its owner, but no address."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from p2pnode.errors import TransportUnavailable
from p2pnode.spi.transport import Check
from p2pnode_ble.air import AirDown
from p2pnode_ble.bus import Adapter, adapters, chosen, connect, leave

RFKILL = Path("/sys/class/rfkill")
MAIN_CONF = Path("/etc/bluetooth/main.conf")

OLDEST = (5, 50)
"""BlueZ from which on both roles have a stable D-Bus interface; 5.66 is what was tested."""

VERSION_TIME = 5.0
"""Seconds BlueZ's tool has to tell its version."""


async def diagnose(wanted: str) -> list[Check]:
    """Return the checks. wanted: name of the adapter to use, or empty."""
    checks = [await _version(), _rfkill(RFKILL)]
    try:
        bus = await connect()
        try:
            found = await adapters(bus)
            checks.append(Check("permission", "ok", "this user may talk to BlueZ"))
            adapter = chosen(found, wanted)
        finally:
            await leave(bus)
    except TransportUnavailable as failure:
        return [*checks, Check(_blamed(failure), "fail", failure.why, failure.hint)]
    except AirDown as failure:
        return [*checks, Check("d-bus", "fail", failure.reason, "start dbus again")]
    return [
        *checks,
        Check("adapter", "ok", f"{adapter.name} can do both roles"),
        _powered(adapter),
        _name(adapter),
        _privacy(MAIN_CONF),
    ]


def _blamed(failure: TransportUnavailable) -> str:
    """Return the name of the check an error belongs to."""
    for word, name in (("D-Bus", "d-bus"), ("user", "permission"), ("adapter", "adapter")):
        if word in failure.why:
            return name
    return "service"


async def _version() -> Check:
    tool = shutil.which("bluetoothctl")
    if tool is None:
        return Check("bluez", "fail", "BlueZ is not installed", "apt install bluez")
    try:
        done = await asyncio.to_thread(
            subprocess.run, [tool, "--version"], capture_output=True, timeout=VERSION_TIME
        )
    except (OSError, subprocess.SubprocessError):
        return Check("bluez", "warn", "bluetoothctl does not tell its version")
    return _judged(done.stdout.decode("utf-8", "replace"))


def _judged(text: str) -> Check:
    """Return what a version means."""
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is None:
        return Check("bluez", "warn", "bluetoothctl does not tell its version")
    version = int(numbers[1]), int(numbers[2])
    if version < OLDEST:
        return Check("bluez", "fail", f"BlueZ {numbers[0]} is too old", "upgrade to 5.50 or newer")
    return Check("bluez", "ok", f"BlueZ {numbers[0]}")


def _rfkill(place: Path) -> Check:
    """Return whether a switch, in software or hardware, keeps Bluetooth off."""
    states = []
    for one in sorted(place.glob("rfkill*")):
        try:
            if (one / "type").read_text().strip() == "bluetooth":
                states.append([(one / kind).read_text().strip() for kind in ("soft", "hard")])
        except OSError:  # unplugged while we look
            continue
    if not states:
        return Check("rfkill", "skip", "no switch for Bluetooth is known here")
    if any(hard == "1" for _, hard in states):
        return Check("rfkill", "fail", "a hardware switch keeps Bluetooth off", "switch it on")
    if any(soft == "1" for soft, _ in states):
        return Check("rfkill", "fail", "Bluetooth is blocked", "rfkill unblock bluetooth")
    return Check("rfkill", "ok", "Bluetooth is not blocked")


def _powered(adapter: Adapter) -> Check:
    if adapter.powered:
        return Check("powered", "ok", f"{adapter.name} is switched on")
    return Check("powered", "fail", f"{adapter.name} is switched off", "bluetoothctl power on")


def _name(adapter: Adapter) -> Check:
    """Warn when whoever connects can read the machine's name from the system's own GAP service."""
    hosts = socket.gethostname().lower(), socket.gethostname().partition(".")[0].lower()
    alias = str(adapter.properties.get("Alias", "")).lower()
    if alias and any(host and host in alias for host in hosts):
        return Check(
            "name",
            "warn",
            "whoever connects by Bluetooth can read this machine's name",
            "bluetoothctl system-alias device",
        )
    return Check("name", "ok", "the adapter's name is not this machine's")


def _privacy(conf: Path) -> Check:
    """Warn when the adapter shows everybody one address for ever."""
    try:
        lines: Sequence[str] = conf.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    value = ""
    for line in lines:
        set_to = re.fullmatch(r"\s*Privacy\s*=\s*(\S+)\s*", line)
        value = set_to[1].lower() if set_to else value
    if value == "device":
        return Check("privacy", "ok", "the adapter changes its address")
    return Check(
        "privacy",
        "warn",
        "the adapter's address stays the same: whoever listens can follow this machine",
        f"set Privacy = device under [General] in {conf}, then restart bluetooth",
    )
