"""What a person may set under `[transports.courier]`."""

import os.path
from typing import Annotated

import msgspec

from p2pnode.spi.transport import Settings

MAX_WATCHED = 16
"""Folders a person may have watched."""


class CourierSettings(Settings, frozen=True):
    """The courier's table.

    watch: folders the node shall look into by itself, as absolute paths.
    max_size: bytes of bundles a folder may hold when this node writes to it; 0 means no limit.
    """

    watch: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_WATCHED)] = ()
    max_size: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words. Raises ValueError."""
        if not all(map(usable, self.watch)):
            raise ValueError("watch lists absolute paths, like /media/stick")


def usable(place: str) -> bool:
    """Return whether a text can be the path of a folder, wherever the node was started."""
    return os.path.isabs(place) and "\0" not in place
