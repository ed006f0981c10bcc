"""Envelopes in files."""

from typing import Annotated

import msgspec

from p2pnode.schema.base import Answer, Asks, Name


class WriteCourier(Asks["CourierWritten"], frozen=True):
    """Write envelopes to a folder: own mail, then what is carried.

    place: absolute path. contact: own mail to this one alone. max_size: bytes, 0 for no limit.
    """

    place: Annotated[str, msgspec.Meta(max_length=4_096)]
    contact: Name = ""
    max_size: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class CourierWritten(Answer, frozen=True):
    """What was added to the folder; what it held already is not counted."""

    envelopes: int
    bytes: int


class ReadCourier(Asks["CourierRead"], frozen=True):
    """Take in the envelopes in a folder (absolute path)."""

    place: Annotated[str, msgspec.Meta(max_length=4_096)]


class CourierRead(Answer, frozen=True):
    """Envelopes found, those new here, those of them that were for us, those there was no room
    for."""

    found: int
    new: int
    opened: int
    refused: int
