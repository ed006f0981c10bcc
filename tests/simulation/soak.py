"""Fresh seeds for real nodes: python -m tests.simulation.soak --seconds 300 [--seed N]

Makes scenarios at random, with everything that may go wrong in them, and runs real nodes through
them. What must always hold and did not is printed with the command that shows it again; exit 1.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

LONGEST = 600
"""Seconds a town may take; they take a few."""

KINDS = ("waypoint", "community", "workday", "bus")


def scenario(seed: int) -> str:
    """Return a small town in trouble, from the seed alone."""
    chance = Random(seed)

    def sometimes(value: float) -> float:
        return round(value, 3) if chance.random() < 0.4 else 0.0

    return f"""title = "Soak {seed}"
nodes = {chance.randrange(4, 20)}
days = {chance.choice((0.5, 1, 2))}
seed = {seed}
real = true
[mobility]
kind = "{chance.choice(KINDS)}"
area = [{chance.randrange(200, 900)}, {chance.randrange(200, 900)}]
places = {chance.randrange(1, 5)}
step = 120
[friends]
each = {chance.randrange(2, 7)}
[traffic]
messages = {chance.randrange(20, 120)}
to_hour = {chance.randrange(2, 30)}
lifetime = {chance.randrange(4)}
[link]
bandwidth = {chance.choice((2_000, 9_000, 50_000, 500_000))}
lost = {sometimes(chance.random() / 2)}
reordered = {sometimes(chance.random() / 2)}
duplicated = {sometimes(chance.random() / 4)}
[carry]
max_mb = {chance.choice((0.1, 0.4, 2, 50))}
[privacy]
origin = "{chance.choice(("fast", "balanced", "hide"))}"
[faults]
droppers = {sometimes(chance.random() / 3)}
flooders = {sometimes(chance.random() / 3)}
flood_per_hour = {chance.randrange(1, 500)}
off = {sometimes(chance.random() / 2)}
off_hours = {chance.choice((0.2, 1, 5))}
clock_error = {chance.choice((0, 10_000, 2_000_000_000))}
clock_steps = {sometimes(8)}
clocks = "{chance.choice(("right", "right", "wrong"))}"
crashes = {sometimes(chance.random() * 12)}
"""


def run(seed: int, place: Path) -> list[str]:
    """Run one seed and return what broke."""
    file = place / f"soak-{seed}.toml"
    file.write_text(scenario(seed))
    words = [sys.executable, "-m", "p2pnode", "simulate", str(file), "--only", "real", "--json"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return [f"it does not come to an end (within {LONGEST} s)"]
    if done.returncode == 0:
        return []
    try:
        broken: list[str] = json.loads(done.stdout.splitlines()[0])["broken"]
    except (ValueError, IndexError, KeyError):
        broken = []
    return broken or [done.stderr.strip()]


def main() -> int:
    """Run seeds until the time is over; return the exit code."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=300)
    asked.add_argument("--seed", type=int)
    chosen = asked.parse_args()
    first = chosen.seed if chosen.seed is not None else SystemRandom().randrange(2**31)
    end = time.monotonic() + chosen.seconds
    seed = first
    with TemporaryDirectory() as place:
        while seed == first or (chosen.seed is None and time.monotonic() < end):
            broken = run(seed, Path(place))
            if broken:
                print(f"seed {seed}: {broken[0]}")
                print(f"Again: make soak SEED={seed}")
                return 1
            seed += 1
    print(f"{seed - first} towns, seeds {first} to {seed - 1}: everything held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
