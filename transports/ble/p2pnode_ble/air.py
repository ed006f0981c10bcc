"""What the transport asks of a Bluetooth stack, and what it is told by it.

The same transport runs on BlueZ and, in tests, on virtual controllers. Everything here lives in the
asyncio thread. A path is one connection seen from one role; its number is never used again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, TypeAlias

from p2pnode.errors import P2PNodeError
from p2pnode.spi.transport import Check

SERVICE = "3c2f9d64-7f0a-4d57-9c1e-52a8b1e6d093"
"""The one service; the same everywhere, and all that an advertisement says."""

RX = "3c2f9d65-7f0a-4d57-9c1e-52a8b1e6d093"
"""Characteristic a central writes fragments to, without response."""

TX = "3c2f9d66-7f0a-4d57-9c1e-52a8b1e6d093"
"""Characteristic that notifies centrals of fragments."""


class AirDown(P2PNodeError):
    """The radio does not work just now; `reason` is short, constant, and names nobody."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PathEnded(P2PNodeError):
    """One connection failed or could not be made; the radio itself may be well."""


class Overtaken(PathEnded):
    """The other side has connected to us while we tried: its path is there, or about to be."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """Somebody advertises the service at this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A central at this address has begun to write to us."""

    path: int
    address: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """Foreign bytes came over a path."""

    path: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A path is gone, as far as the stack tells."""

    path: int


@dataclass(frozen=True, slots=True)
class Down:
    """The whole radio is gone: switched off, unplugged, or its service ended."""

    reason: str


Event: TypeAlias = Sighted | Joined | Arrived | Ended | Down
Tell: TypeAlias = Callable[[Event], None]


class Peripheral(ABC):
    """The role that is found: advertises, is written to, notifies."""

    @abstractmethod
    async def open(self, tell: Tell, numbers: "count[int]") -> None:
        """Offer the service. Raises TransportUnavailable and AirDown."""

    @abstractmethod
    async def close(self) -> None:
        """Take everything back; never raises; may be called again."""

    @abstractmethod
    async def advertise(self) -> None:
        """Begin to advertise anew, under a fresh address where the stack can. Raises AirDown."""

    @abstractmethod
    def serves(self, address: str) -> bool:
        """Tell whether a central at this address is connected to us."""

    @abstractmethod
    def size(self, path: int) -> int | None:
        """Return the bytes a notification may have; None for a path of another role."""

    @abstractmethod
    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        """Notify of fragments. Raises PathEnded."""

    @abstractmethod
    async def drop(self, path: int) -> None:
        """End a connection; never raises."""


class Air(ABC):
    """Both roles of one adapter. lacks: what is missing here for good, told with the state."""

    lacks: ClassVar[str] = ""

    @abstractmethod
    async def open(self, tell: Tell) -> None:
        """Switch on. Raises TransportUnavailable (for good) and AirDown (for now)."""

    @abstractmethod
    async def close(self) -> None:
        """End all paths and take everything back; never raises; may be called again."""

    @abstractmethod
    async def advertise(self) -> None:
        """Begin to advertise anew, under a fresh address where the stack can. Raises AirDown."""

    @abstractmethod
    async def scan(self, wanted: bool) -> None:
        """Begin or stop to look for others. Raises AirDown."""

    @abstractmethod
    async def connect(self, address: str) -> int:
        """Return a path to an address that was sighted. Raises PathEnded."""

    @abstractmethod
    def size(self, path: int) -> int:
        """Return the bytes a fragment on a path may have now. Raises PathEnded."""

    @abstractmethod
    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        """Send fragments; waits while the stack is busy. Raises PathEnded."""

    @abstractmethod
    async def drop(self, path: int) -> None:
        """End a path; never raises."""

    @abstractmethod
    async def checks(self) -> list[Check]:
        """Say what is well with the adapter and what is not; works without `open`."""
