"""Beginning anew: after a restore, a backup, or with a copy of a device."""

from dataclasses import dataclass

from p2pnode.ids import DeviceId
from p2pnode.protocol.link.messages import Statement
from p2pnode.turns.asks.links import Baseline


@dataclass(frozen=True, slots=True)
class PrepareResets:
    """Give devices of an older vault their reset keys in the form of now."""


@dataclass(frozen=True, slots=True)
class ReturningUp:
    """A link stands with somebody who showed the reset mark of a generation."""

    device: DeviceId
    generation: int


@dataclass(frozen=True, slots=True)
class ReturningStated:
    """What the other side of such a link states."""

    device: DeviceId
    generation: int
    statements: tuple[Statement, ...]
    baseline: Baseline


@dataclass(frozen=True, slots=True)
class StepTwin:
    """A link was proven by the link key of a device that a reset had replaced."""

    twin: int
    proven: int


@dataclass(frozen=True, slots=True)
class TwinMet:
    """A link with such a device stands."""

    twin: int


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup was made that holds all generations of reset keys up to `newest`."""

    newest: int
