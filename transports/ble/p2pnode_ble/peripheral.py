"""The peripheral role on BlueZ: `GattManager1` and `LEAdvertisingManager1` over D-Bus.

BlueZ notifies every subscribed central of every value; the tag in each fragment tells whom it is
for. A central is known from its first write on, and gone when BlueZ says so.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from p2pnode_ble.air import (
    RX,
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
from p2pnode_ble.bus import (
    ADAPTER,
    ADVERTISING,
    BLUEZ,
    DEVICE,
    GATT,
    PROPERTIES,
    Adapter,
    BluezError,
    adapters,
    call,
    chosen,
    connect,
    forget,
    forget_all,
    leave,
    unavailable,
)
from p2pnode_ble.gatt import (
    ROOT,
    RX_PATH,
    SERVICE_PATH,
    TX_PATH,
    Advertisement,
    Characteristic,
    Service,
)
from p2pnode_ble.wire import MAX_FRAGMENT, MIN_FRAGMENT

ATT_HEADER = 3
"""Bytes a notification takes of the connection's MTU."""

GOODBYE_TIME = 5.0
"""Seconds each call at the end may take. BlueZ itself waits for 2 s before it disconnects, and the
service must not go before: the other side would forget it while it still knows us."""

MAX_CENTRALS = 16
"""Centrals known at once; the writes of more are passed over."""

BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"

_SIGNALS = (
    (BLUEZ, f"interface='{PROPERTIES}',member='PropertiesChanged',path_namespace='/org/bluez'"),
    (BUS, f"interface='{BUS}',member='NameOwnerChanged',arg0='{BLUEZ}'"),
)
"""Senders and rules of the signals that tell what has ended."""


@dataclass(slots=True)
class _Central:
    path: int
    device: str
    size: int = MIN_FRAGMENT


class BluezPeripheral(Peripheral):
    """Serves the GATT service on one adapter. `wanted` names it; empty takes the first able one."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self.bus: MessageBus | None = None
        self.adapter: Adapter | None = None
        self._advertised: str | None = None
        self._watching: asyncio.Task[None] | None = None
        self._adverts = count()
        self._by_device: dict[str, _Central] = {}
        self._by_path: dict[int, _Central] = {}
        self._forgetting: set[asyncio.Task[None]] = set()

    async def open(self, tell: Tell, numbers: "count[int]") -> None:
        """Connect to BlueZ and register the service. Raises TransportUnavailable and AirDown."""
        self._tell, self._numbers = tell, numbers
        self.bus = bus = await connect()
        self.adapter = adapter = chosen(await adapters(bus), self._wanted)
        if not adapter.powered:
            raise AirDown("Bluetooth is switched off")
        await forget_all(bus, adapter)
        self._tx = Characteristic(TX, None)
        self._watching = asyncio.create_task(self._watch(bus))
        bus.add_message_handler(self._signalled)
        for sender, rest in _SIGNALS:
            rule = [f"type='signal',sender='{sender}',{rest}"]
            with suppress(BluezError):  # without it, keep-alives and failing calls tell, only later
                await call(bus, BUS_PATH, BUS, "AddMatch", "s", rule, destination=BUS)
        bus.export(SERVICE_PATH, Service())
        bus.export(RX_PATH, Characteristic(RX, self._written))
        bus.export(TX_PATH, self._tx)
        try:
            await call(bus, adapter.path, GATT, "RegisterApplication", "oa{sv}", [ROOT, {}])
        except BluezError as failure:
            if failure.denied:
                raise unavailable(failure) from failure
            raise AirDown("BlueZ does not take the service") from failure

    async def advertise(self) -> None:
        """Take the advertisement back and register a new one. Raises AirDown.

        Where the controller has extended advertising and BlueZ `Privacy = device`, a new one has a
        new address at once; otherwise the kernel changes it in its own time, or never.
        """
        if self.bus is None or self.adapter is None:
            raise AirDown("the radio is off")
        await self._silence()
        path = f"{ROOT}/advertisement{next(self._adverts)}"
        self.bus.export(path, Advertisement(self._released))
        self._advertised = path
        try:
            await call(
                self.bus,
                self.adapter.path,
                ADVERTISING,
                "RegisterAdvertisement",
                "oa{sv}",
                [path, {}],
            )
        except BluezError as failure:
            await self._silence()
            raise AirDown("the adapter takes no advertisement") from failure

    def serves(self, address: str) -> bool:
        """Tell whether a central at this address is connected to us."""
        return any(_address(device) == address for device in self._by_device)

    def size(self, path: int) -> int | None:
        """Return the bytes a notification may have; None for a path of another role."""
        central = self._by_path.get(path)
        return None if central is None else central.size

    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        """Notify of fragments. Raises PathEnded."""
        if path not in self._by_path or self.bus is None or not self.bus.connected:
            raise PathEnded
        try:
            for fragment in fragments:
                self._tx.notify(fragment)
        except Exception as failure:  # whatever a foreign library fails with
            raise PathEnded from failure
        await asyncio.sleep(0)  # the bus writes from the loop

    async def drop(self, path: int) -> None:
        """End a connection; never raises."""
        central = self._by_path.pop(path, None)
        if central is None:
            return
        del self._by_device[central.device]
        if self.bus is not None:
            with suppress(Exception):  # it is gone, then
                async with asyncio.timeout(GOODBYE_TIME):
                    await call(self.bus, central.device, DEVICE, "Disconnect")
                    await self._forget(central.device)

    async def close(self) -> None:
        """Unregister everything and leave the bus; never raises."""
        bus, adapter = self.bus, self.adapter
        if bus is None:
            return
        await asyncio.gather(*(self.drop(path) for path in list(self._by_path)), *self._forgetting)
        with suppress(Exception):  # what is gone needs no goodbye
            async with asyncio.timeout(GOODBYE_TIME):
                await self._silence()
                if adapter is not None:
                    await call(bus, adapter.path, GATT, "UnregisterApplication", "o", [ROOT])
        self.bus = None
        await leave(bus)
        if self._watching is not None:
            self._watching.cancel()

    async def _forget(self, device: str) -> None:
        if self.bus is not None and self.adapter is not None:
            await forget(self.bus, self.adapter, device)

    async def _watch(self, bus: MessageBus) -> None:
        """Tell when the bus itself is gone."""
        with suppress(Exception):  # why does not matter
            # Shielded: the bus hands the same future to all who wait, and a cancel would end it.
            await asyncio.shield(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        self._tell(Down("the system bus is gone"))

    async def _silence(self) -> None:
        path, self._advertised = self._advertised, None
        if path is None or self.bus is None or self.adapter is None:
            return
        with suppress(BluezError):  # BlueZ may have dropped it already
            await call(
                self.bus, self.adapter.path, ADVERTISING, "UnregisterAdvertisement", "o", [path]
            )
        self.bus.unexport(path)

    def _released(self) -> None:
        if self._advertised is not None:
            self._tell(Down("the advertisement was dropped"))

    def _written(self, raw: bytes, options: dict[str, Any]) -> None:
        device = str(options.get("device", ""))
        central = self._by_device.get(device)
        if central is None:
            if len(self._by_device) >= MAX_CENTRALS:
                return
            central = _Central(next(self._numbers), device)
            self._by_device[device] = self._by_path[central.path] = central
            self._tell(Joined(central.path, _address(device)))
        # What BlueZ cannot send whole it cuts off, silently: believe only what is proven.
        reported = int(options.get("mtu", 0)) - ATT_HEADER
        central.size = min(max(central.size, reported, len(raw)), MAX_FRAGMENT)
        self._tell(Arrived(central.path, raw))

    def _signalled(self, message: Message) -> None:
        """Take a signal of BlueZ or the bus."""
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.body[:1] == [BLUEZ]:
            self._tell(Down("BlueZ has ended"))
        elif message.member == "PropertiesChanged" and message.path is not None:
            interface, changed = message.body[0], message.body[1]
            central = self._by_device.get(message.path)
            if interface == DEVICE and central is not None and _is_false(changed, "Connected"):
                del self._by_device[message.path], self._by_path[central.path]
                self._tell(Ended(central.path))
                task = asyncio.create_task(self._forget(message.path))
                self._forgetting.add(task)
                task.add_done_callback(self._forgetting.discard)
            ours = self.adapter is not None and message.path == self.adapter.path
            if interface == ADAPTER and ours and _is_false(changed, "Powered"):
                self._tell(Down("Bluetooth is switched off"))


def _is_false(changed: dict[str, Any], name: str) -> bool:
    return name in changed and not changed[name].value


def _address(device: str) -> str:
    """Return the address in a device's D-Bus path, as bleak tells addresses."""
    return device.rpartition("/dev_")[2].replace("_", ":")
