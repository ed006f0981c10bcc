"""The time a turn runs at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """node: seconds this node has lived through, which never goes back and by which everything
    expires; wall: Unix seconds of its clock, which may be wrong and is only ever a caption."""

    node: int
    wall: int
