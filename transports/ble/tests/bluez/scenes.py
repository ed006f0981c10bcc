"""In the guest: plays scenes and prints what it measured.

    python -m transports.ble.tests.bluez.scenes [SCENE[=TIMES]...]

The status is 0 when all went well.
"""

import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence

import trio

from transports.ble.tests.bluez.daemons import two_daemons_suffer, two_daemons_talk
from transports.ble.tests.bluez.dialling import (
    both_dial,
    killed,
    one_dials,
    restarted,
    switched_off,
    talk,
)
from transports.ble.tests.bluez.doctor import doctor_sees
from transports.ble.tests.bluez.nodes import say

Scene = Callable[[int], Awaitable[None]]

SCENES: dict[str, tuple[Scene, int]] = {
    "talk": (talk, 1),
    "one-dials": (one_dials, 2),
    "both-dial": (both_dial, 2),
    "killed": (killed, 3),
    "switched-off": (switched_off, 3),
    "restarted": (restarted, 3),
    "daemons": (two_daemons_talk, 20),
    "doctor": (doctor_sees, 1),
    "faults": (two_daemons_suffer, 1),
}
"""Every scene by its name, and how often what it is about happens in it: rounds, or messages."""


async def main(asked: Sequence[str]) -> int:
    """Play the scenes asked for, or all; return how many failed."""
    failed = []
    for one in asked or SCENES:
        name, _, times = one.partition("=")
        scene, usual = SCENES[name]
        say(f"-- {name}")
        try:
            await scene(int(times) if times else usual)
        except Exception:  # whatever it is, the other scenes are played
            traceback.print_exc()
            failed.append(name)
    say("all went well" if not failed else "failed: " + ", ".join(failed))
    return len(failed)


if __name__ == "__main__":
    sys.exit(1 if trio.run(main, sys.argv[1:]) else 0)
