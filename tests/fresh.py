"""Fresh choices for every test that makes any: python -m tests.fresh --seconds 300 [--seed N]

Runs the property tests with new examples, the tests that draw, and those in virtual time with their
tasks in another order, again and again, each time with another seed. When one fails, the command
that shows it again is printed; exit 1. Words after `--` go to pytest: what to run, and how.
"""

import argparse
import os
import subprocess
import sys
import time
from random import SystemRandom

import pytest

DRAWING = ("chance", "autojump_clock")
"""The fixtures by which a test says that it does."""

HASH_SEEDS = 2**32
"""How many PYTHONHASHSEED can have."""


def draws(item: pytest.Item) -> bool:
    """Say whether a test makes choices that a seed decides."""
    test, wants = getattr(item, "obj", None), getattr(item, "fixturenames", ())
    return getattr(test, "is_hypothesis_test", False) or any(one in DRAWING for one in wants)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, where this module is a plug-in of pytest, what draws nothing."""
    items[:] = [item for item in items if draws(item)]


def run(seed: int, words: list[str]) -> int:
    """Run the tests with one seed; return the exit code."""
    surroundings = {**os.environ, "TEST_SEED": str(seed), "PYTHONHASHSEED": str(seed % HASH_SEEDS)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.fresh"]
    return subprocess.run(
        [*command, f"--hypothesis-seed={seed}", *words], env=surroundings
    ).returncode


def main() -> int:
    """Run seeds until the time is over; return the exit code."""
    asked = argparse.ArgumentParser(prog="python -m tests.fresh")
    asked.add_argument("--seconds", type=float, default=300, help="no further seed begins after it")
    asked.add_argument("--seed", type=int, help="this one alone; random when not given")
    asked.add_argument("words", nargs="*", help="for pytest")
    chosen = asked.parse_args()
    seed = first = chosen.seed if chosen.seed is not None else SystemRandom().randrange(2**31)
    end = time.monotonic() + chosen.seconds
    while seed == first or (chosen.seed is None and time.monotonic() < end):
        print(f"seed {seed}", flush=True)
        if run(seed, chosen.words):
            print(f"Again: make random SEED={seed}")
            return 1
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
