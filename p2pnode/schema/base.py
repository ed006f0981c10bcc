"""What every request and answer is made of."""

from typing import Annotated, Generic, TypeVar

import msgspec

SCHEMA = 1

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding foreign JSON may raise: bad UTF-8 inside of a string has an error of its own."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Page = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Name = Annotated[str, msgspec.Meta(max_length=256)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every request."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every answer and event."""

    schema: int = SCHEMA


A = TypeVar("A", bound=Answer)


class Asks(Request, Generic[A], frozen=True):
    """A request whose answer is an `A`: so clients get typed answers from one `call`."""


class Done(Answer, frozen=True):
    """It is done."""

    done: bool = True
