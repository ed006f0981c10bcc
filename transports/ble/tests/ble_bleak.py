"""bleak's two backend classes on a Bumble host, so that the real `BleakScanner` and `BleakClient`
run above virtual controllers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt import Characteristic
from bumble.hci import HCI_LE_Create_Connection_Cancel_Command

UUIDS = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
WRITE = Characteristic.Properties.WRITE_WITHOUT_RESPONSE
NOTIFY = Characteristic.Properties.NOTIFY


REACH_TIME = 5.0
"""Seconds an attempt to connect may take."""

GIVE_UP_TIME = 1.0
"""Seconds ending one may take."""


def text_of(uuid) -> str:
    """Return a UUID as bleak writes it."""
    return uuid.to_hex_str("-").lower()


def scanner_backend(device: Device) -> type[BaseBleakScanner]:
    """Return a scanner class for one host."""

    class Scanner(BaseBleakScanner):
        def __init__(self, detection_callback, service_uuids, scanning_mode, **_) -> None:
            super().__init__(detection_callback, service_uuids)

        async def start(self) -> None:
            self.seen_devices = {}
            device.on(Device.EVENT_ADVERTISEMENT, self._heard)
            await device.start_scanning(active=True, legacy=True)

        async def stop(self) -> None:
            device.remove_listener(Device.EVENT_ADVERTISEMENT, self._heard)
            await device.stop_scanning(legacy=True)

        def _heard(self, advertisement: Advertisement) -> None:
            uuids = [text_of(one) for one in advertisement.data.get(UUIDS) or []]
            if not self.is_allowed_uuid(uuids):
                return
            seen = AdvertisementData(
                local_name=None,
                manufacturer_data={},
                service_data={},
                service_uuids=uuids,
                tx_power=None,
                rssi=advertisement.rssi,
                platform_data=(advertisement,),
            )
            address = str(advertisement.address)
            found = self.create_or_update_device(
                address, address, None, advertisement.address, seen
            )
            self.call_detection_callbacks(found, seen)

    return Scanner


def client_backend(
    device: Device, mtu: int, late: Callable[[Callable[[], None]], None]
) -> type[BaseBleakClient]:
    """Return a client class for one host. late: calls what it is given, a little later."""

    class Client(BaseBleakClient):
        def __init__(self, address_or_ble_device, **settings) -> None:
            super().__init__(address_or_ble_device, **settings)
            self._target = address_or_ble_device.details
            self._connection: Connection | None = None

        @property
        def name(self) -> str:
            return ""

        @property
        def mtu_size(self) -> int:
            return 23  # what it says on BlueZ

        @property
        def is_connected(self) -> bool:
            return self._connection is not None

        async def connect(self, *_, **__) -> None:
            self._connection = connection = await self._reached()
            connection.on(Connection.EVENT_DISCONNECTION, self._gone)
            peer = Peer(connection)
            await peer.request_mtu(mtu)
            self.services = BleakGATTServiceCollection()
            for service in await peer.discover_services():
                known = BleakGATTService(service, service.handle, text_of(service.uuid))
                self.services.add_service(known)
                for one in await service.discover_characteristics():
                    flags = [name for bit, name in FLAGS.items() if one.properties & bit]
                    self.services.add_characteristic(
                        BleakGATTCharacteristic(
                            one,
                            one.handle,
                            text_of(one.uuid),
                            flags,
                            lambda: connection.att_mtu - 3,
                            known,
                        )
                    )

        async def _reached(self) -> Connection:
            """Return a connection; given up, there is neither one nor an attempt at one."""
            reaching = asyncio.create_task(device.connect(self._target, timeout=REACH_TIME))
            try:
                return await asyncio.shield(reaching)
            except asyncio.CancelledError:
                with suppress(Exception):  # the adapter may be gone
                    async with asyncio.timeout(GIVE_UP_TIME):
                        await device.send_sync_command(HCI_LE_Create_Connection_Cancel_Command())
                        await (await reaching).disconnect()
                reaching.cancel()
                raise

        def _gone(self, _: int) -> None:
            self._connection = None
            if self._disconnected_callback is not None:
                self._disconnected_callback()

        async def disconnect(self) -> None:
            if self._connection is not None:
                await self._connection.disconnect()

        async def write_gatt_char(self, characteristic, data, response) -> None:
            if self._connection is None:
                raise BleakError("not connected")
            await characteristic.obj.write_value(bytes(data), with_response=response)

        async def start_notify(self, characteristic, callback, **_) -> None:
            def notified(value: bytes) -> None:
                late(lambda: callback(bytearray(value)))

            await characteristic.obj.subscribe(notified)

        async def stop_notify(self, characteristic) -> None:
            raise BleakError("the virtual air has none of this")

        async def pair(self, *_, **__) -> None:
            raise BleakError("the virtual air has none of this")

        async def unpair(self) -> None:
            raise BleakError("the virtual air has none of this")

        async def read_gatt_char(self, characteristic, **_) -> bytearray:
            raise BleakError("the virtual air has none of this")

        async def read_gatt_descriptor(self, descriptor, **_) -> bytearray:
            raise BleakError("the virtual air has none of this")

        async def write_gatt_descriptor(self, descriptor, data) -> None:
            raise BleakError("the virtual air has none of this")

    return Client


FLAGS = {WRITE: "write-without-response", NOTIFY: "notify"}
