"""Runs scenes against a real bluetoothd in an emulated machine: `make test-bluez`.

    python -m transports.ble.tests.bluez [--cache FOLDER] [--logs FOLDER] [--seconds N] [SCENE...]

The status is 0 when all scenes went well, 1 when one did not, 2 when this machine cannot run them,
124 after the time, 125 when the guest itself failed.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from transports.ble.tests.bluez.machine import run
from transports.ble.tests.bluez.packages import Cache, Missing

SECONDS = 900.0
"""For booting and all scenes; far more than two quiet cores need."""

CANNOT_RUN = 2

PROJECT = Path(__file__).parents[4]


def main() -> int:
    """Return the status."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    ask = argparse.ArgumentParser(prog="bluez", description="scenes on a real bluetoothd")
    ask.add_argument("scenes", nargs="*", metavar="SCENE", help="default: all")
    ask.add_argument("--cache", type=Path, default=Path(home) / "p2pnode-bluez")
    ask.add_argument("--logs", type=Path, help="keep the guest's logs and btmon's trace there")
    ask.add_argument("--seconds", type=float, default=SECONDS, help="for the whole run")
    told = ask.parse_args()
    cache, began = Cache(told.cache), time.monotonic()
    try:
        cache.fill()
    except Missing as missing:
        print(f"real BlueZ cannot be tested here: {missing}.", file=sys.stderr)
        print(f"To do: {missing.how}.", file=sys.stderr)
        return CANNOT_RUN
    print(f"packages of the guest: {time.monotonic() - began:.0f} s, in {cache.folder}", flush=True)
    settings = {
        "PYTHON": sys.executable,
        "PROJECT": str(PROJECT),
        "SCENES": " ".join(told.scenes),
        "TRACE": "yes" if told.logs else "",
    }
    status = run(cache, settings, seconds=told.seconds, logs=told.logs)
    print(f"the whole run: {time.monotonic() - began:.0f} s, status {status}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
