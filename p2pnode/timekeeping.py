"""Who keeps this machine's clock, as far as it shows without a network and without any right.

A machine without a clock of its own, as most Raspberry Pis are, goes on at a start where it was
switched off, until something sets it.
"""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

SECONDS_APART = 86_400
"""A hardware clock further from the system's than this was never set, or has no battery. Some run
on local time, which is up to 14 hours off."""

UNSYNCHRONISED = 0x40
"""Bit of a kernel clock's status: nothing disciplines it (STA_UNSYNC, linux/timex.h)."""

Keeper = Literal["network", "network before", "hardware", "nobody", "unknown"]
"""network: it is being disciplined. network before: it was set so since the machine started.
hardware: only the machine's own clock keeps it."""


class _Timex(ctypes.Structure):
    """The beginning of the kernel's struct timex (adjtimex(2)); the rest is room for it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def kernel_synchronised() -> bool | None:
    """Return whether something disciplines the kernel's clock; None where it does not say (not
    Linux, or a service that may not ask)."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    state = _Timex()  # modes 0: only look
    if ask(ctypes.byref(state)) < 0:
        return None
    return not state.status & UNSYNCHRONISED


def keeper(
    root: Path = Path("/"),
    kernel: Callable[[], bool | None] = kernel_synchronised,
    wall: Callable[[], float] = time.time,
) -> Keeper:
    """Return who keeps the clock. root: where /run and /sys lie."""
    disciplined = kernel()
    if disciplined:
        return "network"
    set_before = (root / "run/systemd/timesync/synchronized").exists()
    if set_before:
        return "network before"
    clocks = list((root / "sys/class/rtc").glob("rtc*/since_epoch"))
    if any(_agrees(clock, wall()) for clock in clocks):
        return "hardware"
    watched = (root / "run/systemd/timesync").exists()
    return "nobody" if disciplined is False or watched else "unknown"


def _agrees(clock: Path, now: float) -> bool:
    try:
        return abs(int(clock.read_text()) - now) < SECONDS_APART
    except (OSError, ValueError):
        return False
