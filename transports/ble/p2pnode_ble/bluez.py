"""The air through BlueZ: bleak as central, our own D-Bus objects as peripheral."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bleak import BleakClient, BleakScanner
from dbus_fast.aio import MessageBus

from p2pnode.spi.transport import Check
from p2pnode_ble.air import SERVICE, AirDown
from p2pnode_ble.bus import Adapter, forget, knows
from p2pnode_ble.central import Backend
from p2pnode_ble.diagnosis import diagnose
from p2pnode_ble.dual import DualAir
from p2pnode_ble.peripheral import BluezPeripheral

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData


PATIENCE = 86_400.0
"""Seconds until bleak gives up by itself: never, as it would end a connection others may use."""


class BluezBackend(Backend):
    """bleak on one of BlueZ's adapters. bus: where BlueZ is asked what bleak does not."""

    def __init__(self, adapter: Adapter, bus: MessageBus) -> None:
        self._adapter = adapter
        self._bus = bus

    def scanner(self, found: "Callable[[BLEDevice, AdvertisementData], None]") -> BleakScanner:
        """Return a scanner for the one service."""
        return BleakScanner(found, [SERVICE], bluez={"adapter": self._adapter.name})

    def client(self, device: "BLEDevice", gone: Callable[[BleakClient], None]) -> BleakClient:
        """Return a client for a device that was found."""
        return BleakClient(device, gone, timeout=PATIENCE, bluez={"adapter": self._adapter.name})

    async def knows(self, device: "BLEDevice") -> bool:
        """Tell whether BlueZ has not dropped a device, by itself or because we asked it to."""
        return await knows(self._bus, device.details["path"])

    async def forget(self, device: "BLEDevice") -> None:
        """Remove a device nobody is connected to, unless the person has paired or trusted it."""
        await forget(self._bus, self._adapter, device.details["path"])


class BluezAir(DualAir):
    """Both roles on the adapter of that name; empty takes the first able one."""

    def __init__(self, adapter: str) -> None:
        peripheral = BluezPeripheral(adapter)
        self._wanted = adapter

        def backend() -> Backend:
            if peripheral.adapter is None or peripheral.bus is None:
                raise AirDown("the radio is off")
            return BluezBackend(peripheral.adapter, peripheral.bus)

        super().__init__(peripheral, backend)

    async def checks(self) -> list[Check]:
        """Look at BlueZ, the adapter, and what this machine tells of itself."""
        return await diagnose(self._wanted)
