"""Writers that are killed. Usage: courier_writer.py FOLDER SEED KILLS

Forks KILLS children, one after the other. Each puts the same parcels into one of the folders in
FOLDER, and dies by SIGKILL at a random call into the operating system; a write may be half done.
Prints how many were killed before they had finished.
"""

import os
import signal
import sys
from pathlib import Path
from random import Random

import trio
from p2pnode_courier import FolderCourier, bundle, folder
from p2pnode_courier.settings import CourierSettings

from transports.courier.tests.courier_stick import parcels

PARCELS = parcels(24)
PLACES = 8


class Dying:
    """`os`, until it kills."""

    def __init__(self, calls: int) -> None:
        self._calls = calls

    def __getattr__(self, name):
        found = getattr(os, name)
        if not callable(found) or name in {"strerror", "close"}:
            return found

        def call(*args, **more):
            self._calls -= 1
            if self._calls <= 0:
                if name == "write":
                    os.write(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return found(*args, **more)

        return call


def main(root: Path, seed: int, kills: int) -> None:
    """Fork, kill, count."""
    bundle.CAPACITIES = (4,)  # small bundles, so that there are many of them
    random = Random(seed)
    killed = 0
    for number in range(kills):
        place = root / str(number % PLACES)
        place.mkdir(exist_ok=True)
        calls = random.randint(1, 50)
        child = os.fork()
        if not child:
            folder.os = Dying(calls)
            trio.run(FolderCourier(CourierSettings()).put, str(place), PARCELS)
            os._exit(0)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    print(killed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
