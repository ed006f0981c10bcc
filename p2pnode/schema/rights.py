"""One's own data: export and erasure."""

from typing import Annotated, Literal

import msgspec

from p2pnode.schema.base import Answer, Asks, Name


class Export(Asks["Exported"], frozen=True):
    """Write everything that is kept about this node's person, and by it, into one archive.

    path: absolute; the daemon writes it. replace: a file that is there already may be replaced.
    """

    path: Annotated[str, msgspec.Meta(max_length=4_096)]
    replace: bool = False


class Exported(Answer, frozen=True):
    """Where the archive is, its size, and how much of what people look for is in it."""

    path: str
    bytes: int
    contacts: int
    messages: int


class Erase(Asks["Erasures"], frozen=True):
    """Erase a contact, only the conversation with it, or all of this node.

    now: without the grace period of a day, in which it can be cancelled. settings: for all, also
    config.toml.
    """

    what: Literal["contact", "conversation", "all"]
    contact: Name = ""
    now: bool = False
    settings: bool = False


class CancelErasures(Asks["Erasures"], frozen=True):
    """Cancel what is planned: of a contact, or everything."""

    contact: Name = ""


class GetErasures(Asks["Erasures"], frozen=True):
    """Ask what is planned."""


class Erasing(Answer, frozen=True):
    """A planned erasure, and in how many seconds it comes."""

    what: Literal["contact", "conversation", "all"]
    contact: str
    left: float


class Erasures(Answer, frozen=True):
    """What is planned now; cancelled: how many were until this call. locked: of what is planned in
    the vault nothing can be told or cancelled until it is open."""

    erasing: list[Erasing]
    cancelled: int = 0
    locked: bool = False
