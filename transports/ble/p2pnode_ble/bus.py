"""BlueZ as seen over the system's D-Bus: calls, the adapter, and what its errors mean for us.

dbus-fast is imported by this module at its top, so it is only imported where it is used.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from p2pnode.errors import P2PNodeError, TransportUnavailable
from p2pnode_ble.air import AirDown

BLUEZ = "org.bluez"
ADAPTER = "org.bluez.Adapter1"
DEVICE = "org.bluez.Device1"
GATT = "org.bluez.GattManager1"
ADVERTISING = "org.bluez.LEAdvertisingManager1"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"

CALL_TIME = 20.0
"""Seconds BlueZ has to answer."""

_DENIED = ("org.freedesktop.DBus.Error.AccessDenied", "org.bluez.Error.NotAuthorized")
_ABSENT = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.Spawn",
)


_KEPT = ("Connected", "Paired", "Bonded", "Trusted")
"""Properties of a device, any of which keeps us from removing it."""

_GENERIC = "00001801-0000-1000-8000-00805f9b34fb"
"""Service every device has, and none advertises: BlueZ knows it from a connection."""

_NOTHING = Variant("as", [])


class BluezError(P2PNodeError):
    """BlueZ, or the bus, has answered with an error; `name` is the error's D-Bus name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def denied(self) -> bool:
        """Whether a permission is missing."""
        return self.name in _DENIED


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter: its D-Bus path, its properties, and the names of its interfaces."""

    path: str
    properties: Mapping[str, Any]
    interfaces: frozenset[str]

    @property
    def name(self) -> str:
        """Its name, like hci0."""
        return self.path.rpartition("/")[2]

    @property
    def powered(self) -> bool:
        """Whether it is switched on."""
        return bool(self.properties.get("Powered"))

    @property
    def able(self) -> bool:
        """Whether it can serve GATT and advertise."""
        return {GATT, ADVERTISING} <= self.interfaces


async def connect() -> MessageBus:
    """Return a connection to the system bus. Raises TransportUnavailable."""
    bus = None
    try:
        bus = MessageBus(bus_type=BusType.SYSTEM)
        return await bus.connect()
    except Exception as failure:  # whatever a foreign library fails with
        if bus is not None:
            bus.disconnect()  # it holds a socket, connected or not
        raise TransportUnavailable(
            "Bluetooth cannot be used",
            why="there is no system D-Bus here",
            hint="Install and start dbus and bluez",
        ) from failure


async def leave(bus: MessageBus) -> None:
    """End a connection to the bus; never raises."""
    if bus.connected:
        bus.disconnect()
        with suppress(Exception):  # it may tell why it was lost: we are leaving anyway
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def call(
    bus: MessageBus,
    path: str,
    interface: str,
    member: str,
    signature: str = "",
    body: Sequence[Any] = (),
    *,
    destination: str = BLUEZ,
) -> list[Any]:
    """Call a method and return what it returns. Raises BluezError, AirDown if the bus is gone."""
    message = Message(
        destination=destination,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=list(body),
    )
    try:
        async with asyncio.timeout(CALL_TIME):
            reply = await bus.call(message)
    except Exception as failure:  # whatever a foreign library fails with
        raise AirDown("the system bus does not answer") from failure
    if reply is None:
        raise BluezError("no-reply")
    if reply.message_type is MessageType.ERROR:
        raise BluezError(reply.error_name or "error")
    return list(reply.body)


async def adapters(bus: MessageBus) -> list[Adapter]:
    """Return all adapters. Raises TransportUnavailable when BlueZ is not there, or refuses."""
    try:
        (objects,) = await call(bus, "/", OBJECTS, "GetManagedObjects")
    except BluezError as failure:
        raise unavailable(failure) from failure
    found = []
    for path, interfaces in sorted(objects.items()):
        if ADAPTER in interfaces:
            plain = {name: value.value for name, value in interfaces[ADAPTER].items()}
            found.append(Adapter(path, plain, frozenset(interfaces)))
    return found


async def knows(bus: MessageBus, device: str) -> bool:
    """Tell whether there is a device with this D-Bus path; never raises."""
    try:
        await call(bus, device, PROPERTIES, "Get", "ss", [DEVICE, "Connected"])
    except (AirDown, BluezError):
        return False
    return True


async def forget(bus: MessageBus, adapter: Adapter, device: str) -> None:
    """Remove a device by its D-Bus path, with all that BlueZ has on disk about it; never raises.

    What BlueZ remembers of its services may be out of date, and BlueZ would go on believing it.
    One that is connected stays, and so does one the person has paired or trusted.
    """
    with suppress(AirDown, BluezError):  # it is gone, then
        (known,) = await call(bus, device, PROPERTIES, "GetAll", "s", [DEVICE])
        if not _kept(known):
            await call(bus, adapter.path, ADAPTER, "RemoveDevice", "o", [device])


async def forget_all(bus: MessageBus, adapter: Adapter) -> None:
    """Remove all devices that somebody was connected to before and nobody needs now; never raises.

    Since 5.66 BlueZ drops them by itself, but only once they were not in range for 30 s.
    """
    with suppress(AirDown, BluezError):
        (objects,) = await call(bus, "/", OBJECTS, "GetManagedObjects")
        for path, interfaces in objects.items():
            known = interfaces.get(DEVICE)
            ours = path.startswith(f"{adapter.path}/") and known is not None
            if ours and not _kept(known) and _GENERIC in known.get("UUIDs", _NOTHING).value:
                await forget(bus, adapter, path)


def _kept(known: Mapping[str, Variant]) -> bool:
    return any(name in known and known[name].value for name in _KEPT)


def chosen(found: Sequence[Adapter], wanted: str) -> Adapter:
    """Return the adapter to use: the wanted one, or the first able one, switched on if possible.

    Raises TransportUnavailable.
    """
    able = [one for one in found if one.able and (not wanted or one.name == wanted)]
    if able:
        return next((one for one in able if one.powered), able[0])
    if any(not wanted or one.name == wanted for one in found):
        why = "the Bluetooth adapter cannot advertise or serve GATT"
        hint = "Use an adapter with Bluetooth LE, and BlueZ 5.50 or newer"
    elif wanted:
        why, hint = f"there is no Bluetooth adapter {wanted}", "Plug it in, or set another adapter"
    else:
        why, hint = "there is no Bluetooth adapter", "Plug one in, or switch it on in the firmware"
    raise TransportUnavailable("Bluetooth cannot be used", why=why, hint=hint)


def unavailable(failure: BluezError) -> TransportUnavailable:
    """Return what an error of BlueZ means for people."""
    if failure.denied:
        why = "the system does not let this user talk to BlueZ"
        hint = "Add the user to the group bluetooth, and log in again"
    elif failure.name.startswith(_ABSENT):
        why = "BlueZ is not running"
        hint = "Install it (apt install bluez), then systemctl enable --now bluetooth"
    else:
        why = f"BlueZ answers {failure.name}"
        hint = "Look at journalctl -u bluetooth"
    return TransportUnavailable("Bluetooth cannot be used", why=why, hint=hint)
