"""Where tests take their random choices from: the same ones in every run, but in `make random`.

Whoever runs the suite to learn whether a change is sound must not draw lots. Fresh choices are made
where somebody looks for defects: TEST_SEED=N makes other ones, and N again the same.
"""

import os
from random import Random

import trio

FIXED = 20_261_121
"""What `make test` draws from."""

SEED = int(os.environ.get("TEST_SEED") or FIXED)

FRESH = bool(os.environ.get("TEST_SEED"))
"""Whether hypothesis looks for new examples as well."""


def source(name: str) -> Random:
    """Return the random source of the test with this name."""
    return Random(f"{SEED} {name}")


def arrange(name: str) -> None:
    """Let trio's tasks take their turns in an order that the seed and the test's name decide.

    trio shuffles them by a source of its own; where all is in virtual time, that is the only chance
    there is.
    """
    scheduling = trio._core._run
    scheduling._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduling._r.seed(f"{SEED} {name}")
