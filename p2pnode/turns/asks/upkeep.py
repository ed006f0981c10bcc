"""What the node itself needs as time passes, and what its transports keep."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Collect:
    """What is over goes for good: messages, planned erasures, carried envelopes. Answers whether
    there is more to do at once."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Time has passed: expire what is over, keep the clock.

    examined: everything in custody has been looked at with the vault open (see Examine).
    """

    examined: bool = True


@dataclass(frozen=True, slots=True)
class SavePrivate:
    """A transport keeps something."""

    transport: str
    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class LoadPrivate:
    """A transport asks for what it kept."""

    transport: str
    name: str


@dataclass(frozen=True, slots=True)
class PrivateNames:
    """A transport asks under which names it kept something."""

    transport: str
