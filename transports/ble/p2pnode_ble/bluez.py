"""The air through BlueZ: bleak as central, our own D-Bus objects as peripheral."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bleak import BleakClient, BleakScanner

from p2pnode.spi.transport import Check
from p2pnode_ble.air import SERVICE, AirDown
from p2pnode_ble.central import Backend
from p2pnode_ble.diagnosis import diagnose
from p2pnode_ble.dual import DualAir
from p2pnode_ble.peripheral import BluezPeripheral

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData


class BluezBackend(Backend):
    """bleak on one of BlueZ's adapters."""

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter

    def scanner(self, found: "Callable[[BLEDevice, AdvertisementData], None]") -> BleakScanner:
        """Return a scanner for the one service."""
        return BleakScanner(found, [SERVICE], bluez={"adapter": self._adapter})

    def client(self, device: "BLEDevice", gone: Callable[[BleakClient], None]) -> BleakClient:
        """Return a client for a device that was found."""
        return BleakClient(device, gone, bluez={"adapter": self._adapter})


class BluezAir(DualAir):
    """Both roles on the adapter of that name; empty takes the first able one."""

    def __init__(self, adapter: str) -> None:
        peripheral = BluezPeripheral(adapter)
        self._wanted = adapter

        def backend() -> Backend:
            if peripheral.adapter is None:
                raise AirDown("the radio is off")
            return BluezBackend(peripheral.adapter.name)

        super().__init__(peripheral, backend)

    async def checks(self) -> list[Check]:
        """Look at BlueZ, the adapter, and what this machine tells of itself."""
        return await diagnose(self._wanted)
