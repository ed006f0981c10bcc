"""Node time: what this node has lived through, whatever its wall clock says."""

import pytest
import trio

from p2pnode.engine.clock import Clock
from p2pnode.protocol.elapsed import EARLIEST, LONGEST, LONGEST_BELIEVED

DAY = 86_400
NOW = 1_790_000_000


def kept(node: int, wall: int) -> bytes:
    return node.to_bytes(8) + wall.to_bytes(8)


@pytest.mark.parametrize(
    ("then", "wall", "passed"),
    [
        (NOW, NOW + 100, 100),
        (NOW, NOW, 0),
        (NOW, NOW - 5 * DAY, 0),  # set back
        (NOW, 0, 0),  # a Pi that woke up in 1970
        (0, NOW, 0),  # and learnt the date since
        (EARLIEST - 1, NOW, 0),  # never set
        (NOW, NOW + 40 * DAY, LONGEST),
        (NOW, NOW + LONGEST_BELIEVED, LONGEST),
        (NOW, NOW + LONGEST_BELIEVED + 1, 0),
        (NOW, NOW + 3_650 * DAY, 0),  # ten years ahead, or right after ten years behind
        (NOW + 3_650 * DAY, NOW + 3_651 * DAY, DAY),  # always ten years ahead
    ],
)
async def test_time_switched_off_counts_as_far_as_it_can_be_believed(then, wall, passed):
    clock = Clock.resumed(kept(5_000, then), wall=lambda: wall)
    assert clock.now().node == 5_000 + passed
    assert clock.now().wall == wall


async def test_a_wall_clock_that_steps_moves_nothing(autojump_clock):
    walls = iter([NOW, NOW + 9 * DAY, 0, NOW - DAY])
    clock = Clock.resumed(kept(100, NOW), wall=lambda: next(walls))
    seen = []
    for _ in range(3):
        await trio.sleep(10)
        seen.append(clock.now().node)
    assert seen == [110, 120, 130]


@pytest.mark.parametrize("broken", [None, b"", b"short", bytes(17)])
async def test_without_a_kept_clock_time_begins(broken):
    assert Clock.resumed(broken, wall=lambda: NOW).now().node == 0
