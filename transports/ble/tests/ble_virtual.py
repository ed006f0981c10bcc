"""Both roles of one virtual controller, wherever it is: Bumble as the host below the real bleak.

Notifications overtake each other, as they do on BlueZ, and reach every subscribed central.
"""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from random import Random

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bumble import hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.transport.common import TransportSink, TransportSource
from p2pnode_ble.air import (
    RX,
    SERVICE,
    TX,
    AirDown,
    Arrived,
    Down,
    Ended,
    Joined,
    PathEnded,
    Peripheral,
    Tell,
)
from p2pnode_ble.central import Backend
from p2pnode_ble.dual import DualAir

from p2pnode.spi.transport import Check
from transports.ble.tests.ble_bleak import client_backend, scanner_backend

MTU = 517
OVERTAKING = 0.002
"""Seconds by which one notification may come later than another."""

OFF = "Bluetooth is switched off"

for name, module in list(sys.modules.items()):
    # Bumble colours what it would log, if it did: a quarter of its time.
    if name.startswith("bumble.") and hasattr(module, "color"):
        setattr(module, "color", lambda text, *_: text)  # noqa: B010


class Hci(ABC):
    """The way to one controller.

    mtu: what is asked for. interval: milliseconds between two advertisements.
    """

    mtu: int = MTU
    interval: float = 20.0
    random: Random

    @abstractmethod
    async def open(self, lost: Callable[[], None]) -> tuple[TransportSource, TransportSink]:
        """Return where its events come from and commands go to; lost: called should it go away.

        Raises AirDown.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of it."""


class VirtualPeripheral(Peripheral):
    """The peripheral role of one controller."""

    def __init__(self, controller: Hci) -> None:
        self._hci = controller
        self.device: Device | None = None
        self._lost = False
        self._paths: dict[int, Connection] = {}

    async def open(self, tell: Tell, numbers: "count[int]") -> None:
        self._tell, self._numbers = tell, numbers
        source, sink = await self._hci.open(self._gone)
        settings = DeviceConfiguration(
            name="",
            address=hci.Address.generate_private_address(),
            advertising_interval_min=self._hci.interval,
            advertising_interval_max=self._hci.interval,
        )
        self.device = device = Device.from_config_with_hci(settings, source, sink)
        kind = Characteristic.Properties
        rx = Characteristic(
            RX,
            kind.WRITE | kind.WRITE_WITHOUT_RESPONSE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=self._written),
        )
        self._tx = Characteristic(TX, kind.NOTIFY, Characteristic.READABLE, b"")
        device.add_services([Service(SERVICE, [rx, self._tx])])
        device.gatt_server.max_mtu = self._hci.mtu
        device.on(Device.EVENT_CONNECTION, self._connected)
        await self._asked(device.power_on())

    async def advertise(self) -> None:
        """Advertise under a fresh address."""
        if self.device is None or self._lost:
            raise AirDown(OFF)
        address = hci.Address.generate_private_address()
        await self._asked(self.device.stop_advertising())
        self.device.random_address = address
        command = hci.HCI_LE_Set_Random_Address_Command(random_address=address)
        await self._asked(self.device.send_sync_command(command))
        await self._asked(self._go_on())

    async def _asked(self, work) -> None:
        """Do what needs the controller. Raises AirDown when it is gone."""
        try:
            await work
        except Exception:
            if self._lost:
                raise AirDown(OFF) from None
            raise

    async def _go_on(self) -> None:
        uuids = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        parts = [(AdvertisingData.FLAGS, b"\x06"), (uuids, bytes(UUID(SERVICE)))]
        assert self.device is not None
        await self.device.start_advertising(advertising_data=bytes(AdvertisingData(parts)))

    def serves(self, address: str) -> bool:
        return any(str(one.peer_address) == address for one in self._paths.values())

    def size(self, path: int) -> int | None:
        connection = self._paths.get(path)
        return None if connection is None else min(connection.att_mtu - 3, 500)

    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        if path not in self._paths or self.device is None or self._lost:
            raise PathEnded
        for fragment in fragments:  # to all who have subscribed, as BlueZ does
            await self.device.notify_subscribers(self._tx, fragment)

    async def drop(self, path: int) -> None:
        connection = self._paths.pop(path, None)
        if connection is not None and not self._lost:
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.disconnect()

    async def close(self) -> None:
        device, self.device = self.device, None
        if device is None:
            return
        with suppress(Exception):  # it may go away at any moment
            if not self._lost:
                await device.stop_advertising()
                for path in list(self._paths):
                    await self.drop(path)
                await device.power_off()
        await self._hci.close()

    def fail(self, reason: str) -> None:
        """Let the radio fail, as when Bluetooth is switched off."""
        self._tell(Down(reason))

    def _gone(self) -> None:
        self._lost = True
        self.fail(OFF)

    def _connected(self, connection: Connection) -> None:
        if connection.role == hci.Role.PERIPHERAL:
            self._task = asyncio.get_running_loop().create_task(self._stay_visible())

    async def _stay_visible(self) -> None:
        with suppress(Exception):  # as above
            await self._go_on()

    def _written(self, connection: Connection, raw: bytes) -> None:
        path = next((n for n, one in self._paths.items() if one is connection), None)
        if path is None:
            path = next(self._numbers)
            self._paths[path] = connection

            def gone(_: int) -> None:
                if self._paths.pop(path, None) is not None:
                    self._tell(Ended(path))

            connection.on(Connection.EVENT_DISCONNECTION, gone)
            self._tell(Joined(path, str(connection.peer_address)))
        self._tell(Arrived(path, bytes(raw)))


class VirtualBackend(Backend):
    """bleak on a virtual controller."""

    def __init__(self, controller: Hci, device: Device) -> None:
        self._hci = controller
        self._device = device

    def scanner(self, found) -> BleakScanner:
        return BleakScanner(found, [SERVICE], backend=scanner_backend(self._device))

    def client(self, device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
        kind = client_backend(self._device, self._hci.mtu, self._late)
        return BleakClient(device, gone, backend=kind)

    def _late(self, deliver: Callable[[], None]) -> None:
        later = self._hci.random.random() * OVERTAKING
        asyncio.get_running_loop().call_later(later, deliver)


class VirtualRadio(DualAir):
    """Both roles of one virtual controller."""

    def __init__(self, controller: Hci) -> None:
        self.peripheral = VirtualPeripheral(controller)

        def backend() -> Backend:
            assert self.peripheral.device is not None
            return VirtualBackend(controller, self.peripheral.device)

        super().__init__(self.peripheral, backend)

    async def checks(self) -> list[Check]:
        """Say that virtual controllers are always well."""
        return [Check("adapter", "ok", "virtual")]
