"""One role alone, where bleak works and we have no peripheral: macOS and Windows.

Untested on either: only what bleak has in common on all systems is used. Such a node finds others
and connects to them; nobody finds it. Two of them do not meet.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from bleak import BleakClient, BleakScanner

from p2pnode.errors import TransportUnavailable
from p2pnode.spi.transport import Check
from p2pnode_ble.air import SERVICE, PathEnded, Peripheral, Tell
from p2pnode_ble.central import Backend
from p2pnode_ble.dual import DualAir

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

PATIENCE = 86_400.0
"""Seconds until bleak gives up by itself: never, that is the caller's to decide."""

LACKS = "finds others, but cannot be found: no peripheral role on this system"


class BleakBackend(Backend):
    """bleak on the system's own Bluetooth."""

    def scanner(self, found: "Callable[[BLEDevice, AdvertisementData], None]") -> BleakScanner:
        """Return a scanner for the one service."""
        return BleakScanner(found, [SERVICE])

    def client(self, device: "BLEDevice", gone: Callable[[BleakClient], None]) -> BleakClient:
        """Return a client for a device that was found."""
        return BleakClient(device, gone, timeout=PATIENCE)


class NoPeripheral(Peripheral):
    """The role that is missing."""

    async def open(self, tell: Tell, numbers: "count[int]") -> None:
        """Raise TransportUnavailable: there is none."""
        raise TransportUnavailable(
            "this node cannot be found over Bluetooth",
            why="p2pnode has no peripheral role for this system",
            hint="Meet nodes on Linux with BlueZ: those can be found",
        )

    async def close(self) -> None:
        """Do nothing."""

    async def advertise(self) -> None:
        """Do nothing: who finds us does so by being found."""

    def serves(self, address: str) -> bool:
        """Return False: nobody connects to us."""
        return False

    def size(self, path: int) -> int | None:
        """Return None: no path is of this role."""
        return None

    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        """Raise PathEnded."""
        raise PathEnded

    async def drop(self, path: int) -> None:
        """Do nothing."""


class CentralAir(DualAir):
    """The central role, through bleak or what a test puts in its place."""

    lacks = LACKS

    def __init__(self, backend: Callable[[], Backend] = BleakBackend) -> None:
        super().__init__(NoPeripheral(), backend)

    async def checks(self) -> list[Check]:
        """Say which role there is, and which is not."""
        central = Check("central", "warn", "through bleak; untested on this system")
        try:
            await self._peripheral.open(lambda _: None, count())
        except TransportUnavailable as failure:
            return [central, Check("peripheral", "warn", failure.why, failure.hint)]
        return [central]
