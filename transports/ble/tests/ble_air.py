"""A virtual air: nodes with Bumble's controllers in one process, used through the real bleak API.

    air = VirtualAir(seed=1)
    one, two = air.transport(), air.transport()

Controllers, hosts and links come to life in the asyncio thread, when a transport opens its radio.
Notifications overtake each other, as they do on BlueZ, and reach every subscribed central.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from random import Random

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bumble import hci, ll
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, PhysicalTransport
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.link import LocalLink
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
from p2pnode_ble.pipe import Times
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport

from p2pnode.spi.transport import Check
from transports.ble.tests.ble_bleak import client_backend, scanner_backend

MTU = 517
INTERVAL = 20.0
"""Milliseconds between two advertisements."""

OVERTAKING = 0.002
"""Seconds by which one notification may come later than another."""


class VirtualAir(LocalLink):
    """Who hears whom, and all that was advertised: (address, data) by sender's number."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.random = Random(seed)
        self.advertised: list[tuple[int, str, bytes]] = []
        self.deaf: set[frozenset[int]] = set()
        self.dead: set[int] = set()
        self.mtu = MTU
        self.radios: list[VirtualRadio] = []
        self._nodes = count()
        self._heard: asyncio.Future[None] | None = None

    def transport(
        self, settings: BleSettings | None = None, *, times: Times | None = None
    ) -> BleTransport:
        """Return a new node's transport."""
        number = next(self._nodes)
        wanted = settings or BleSettings(power="always")
        return BleTransport(wanted, air=lambda: self._radio(number), times=times)

    def _radio(self, number: int) -> "VirtualRadio":
        radio = VirtualRadio(self, number)
        self.radios.append(radio)
        return radio

    def hears(self, one: Controller, other: Controller) -> bool:
        """Tell whether two controllers are in reach of each other."""
        numbers = {int(one.name), int(other.name)}
        return not numbers & self.dead and frozenset(numbers) not in self.deaf

    async def epoch(self, radio: DualAir) -> None:
        """Let a radio begin an epoch; return when it was heard."""
        before = len(self.advertised)
        await radio.advertise()
        while len(self.advertised) == before:
            self._heard = asyncio.get_running_loop().create_future()
            await self._heard

    # What Bumble asks of a link; it would name the wrong sender once an address has changed.

    def send_advertising_pdu(self, sender_controller, packet) -> None:
        if isinstance(packet, ll.AdvInd):
            seen = int(sender_controller.name), str(packet.advertiser_address), packet.data
            self.advertised.append(seen)
            if self._heard is not None and not self._heard.done():
                self._heard.set_result(None)
        loop = asyncio.get_running_loop()
        for other in self.controllers:
            if other is not sender_controller and self.hears(sender_controller, other):
                loop.call_soon(other.on_ll_advertising_pdu, packet)

    def send_acl_data(self, sender_controller, destination_address, transport, data) -> None:
        assert transport is PhysicalTransport.LE
        connection = sender_controller.le_connections.get(destination_address)
        there = self.find_le_controller(destination_address)
        if connection is None or there is None or not self.hears(sender_controller, there):
            return
        asyncio.get_running_loop().call_soon(
            there.on_link_acl_data, connection.self_address, transport, data
        )

    def send_ll_control_pdu(self, sender_address, receiver_address, packet) -> None:
        here, there = map(self.find_le_controller, (sender_address, receiver_address))
        if here is not None and there is not None and self.hears(here, there):
            asyncio.get_running_loop().call_soon(there.on_ll_control_pdu, sender_address, packet)


class VirtualPeripheral(Peripheral):
    """The peripheral role of one controller."""

    def __init__(self, air: VirtualAir, number: int) -> None:
        self._air = air
        self._number = number
        self.device: Device | None = None
        self._paths: dict[int, Connection] = {}

    async def open(self, tell: Tell, numbers: "count[int]") -> None:
        self._tell, self._numbers = tell, numbers
        controller = Controller(str(self._number), link=self._air)
        # Bumble's controller does not carry these through.
        controller.le_features &= ~(
            hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
        )
        self.controller = controller
        settings = DeviceConfiguration(
            name="",
            address=hci.Address.generate_private_address(),
            advertising_interval_min=INTERVAL,
            advertising_interval_max=INTERVAL,
        )
        self.device = device = Device.from_config_with_hci(settings, controller, controller)
        kind = Characteristic.Properties
        rx = Characteristic(
            RX,
            kind.WRITE | kind.WRITE_WITHOUT_RESPONSE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=self._written),
        )
        self._tx = Characteristic(TX, kind.NOTIFY, Characteristic.READABLE, b"")
        device.add_services([Service(SERVICE, [rx, self._tx])])
        device.gatt_server.max_mtu = self._air.mtu
        device.on(Device.EVENT_CONNECTION, self._connected)
        await device.power_on()

    async def advertise(self) -> None:
        """Advertise under a fresh address."""
        if self.device is None:
            raise AirDown("the radio is off")
        await self.device.stop_advertising()
        address = hci.Address.generate_private_address()
        self.device.random_address = address
        await self.device.send_sync_command(
            hci.HCI_LE_Set_Random_Address_Command(random_address=address)
        )
        await self._go_on()

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
        if path not in self._paths or self.device is None:
            raise PathEnded
        for fragment in fragments:  # to all who have subscribed, as BlueZ does
            await self.device.notify_subscribers(self._tx, fragment)

    async def drop(self, path: int) -> None:
        connection = self._paths.pop(path, None)
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.disconnect()

    async def close(self) -> None:
        device, self.device = self.device, None
        if device is None:
            return
        await device.stop_advertising()
        for path in list(self._paths):
            await self.drop(path)
        await device.power_off()
        self._air.remove_controller(self.controller)

    def fail(self, reason: str) -> None:
        """Let the radio fail, as when Bluetooth is switched off."""
        self._tell(Down(reason))

    def _connected(self, connection: Connection) -> None:
        if connection.role == hci.Role.PERIPHERAL:
            self._task = asyncio.get_running_loop().create_task(self._go_on())

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

    def __init__(self, air: VirtualAir, device: Device) -> None:
        self._air = air
        self._device = device

    def scanner(self, found) -> BleakScanner:
        return BleakScanner(found, [SERVICE], backend=scanner_backend(self._device))

    def client(self, device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
        kind = client_backend(self._device, self._air.mtu, self._late)
        return BleakClient(device, gone, backend=kind)

    def _late(self, deliver: Callable[[], None]) -> None:
        later = self._air.random.random() * OVERTAKING
        asyncio.get_running_loop().call_later(later, deliver)


class VirtualRadio(DualAir):
    """Both roles of one virtual controller."""

    def __init__(self, air: VirtualAir, number: int) -> None:
        self.peripheral = VirtualPeripheral(air, number)
        self.number = number

        def backend() -> Backend:
            assert self.peripheral.device is not None
            return VirtualBackend(air, self.peripheral.device)

        super().__init__(self.peripheral, backend)

    async def checks(self) -> list[Check]:
        """Say that virtual controllers are always well."""
        return [Check("adapter", "ok", "virtual")]
