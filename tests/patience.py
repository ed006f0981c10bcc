"""How long tests wait for what must come."""

import time
from collections.abc import Callable

PATIENCE = 180.0
"""Seconds until a test that waits for something counts as failed.

A test that passes loses nothing by it, and a busy machine may leave a process unscheduled for many
seconds: whatever waits for processes, sockets or threads takes this, and no shorter time.
"""


def until(holds: Callable[[], object]) -> None:
    """Wait for what happens in another process, which gives no event. Raises AssertionError."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "what was waited for never came"
        time.sleep(0.02)
