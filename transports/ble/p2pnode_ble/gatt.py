"""The D-Bus objects BlueZ asks of a peripheral: one service, two characteristics, one advert.

Nothing in them tells who we are: no name, no token, no readable value.
"""

from collections.abc import Callable
from typing import Annotated, Any

from dbus_fast import PropertyAccess
from dbus_fast.annotations import (
    DBusBool,
    DBusBytes,
    DBusDict,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from p2pnode_ble.air import SERVICE

ROOT = "/org/p2pnode"
SERVICE_PATH = f"{ROOT}/service"
RX_PATH = f"{SERVICE_PATH}/rx"
TX_PATH = f"{SERVICE_PATH}/tx"

Text = DBusStr
Texts = Annotated[list[str], DBusSignature("as")]
Flag = DBusBool
Raw = DBusBytes
Path = DBusObjectPath
Options = DBusDict

# dbus-fast takes D-Bus names from the names of methods, and signatures from their annotations.
# ruff: noqa: N802


class Service(ServiceInterface):
    """The service."""

    def __init__(self) -> None:
        super().__init__("org.bluez.GattService1")

    @dbus_property(access=PropertyAccess.READ)
    def UUID(self) -> Text:
        """Its UUID."""
        return SERVICE

    @dbus_property(access=PropertyAccess.READ)
    def Primary(self) -> Flag:
        """A primary service."""
        return True


class Characteristic(ServiceInterface):
    """RX when `written` is given, else TX."""

    def __init__(self, uuid: str, written: Callable[[bytes, dict[str, Any]], None] | None) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._uuid = uuid
        self._written = written

    @dbus_property(access=PropertyAccess.READ)
    def UUID(self) -> Text:
        """Its UUID."""
        return self._uuid

    @dbus_property(access=PropertyAccess.READ)
    def Service(self) -> Path:
        """Where its service is."""
        return SERVICE_PATH

    @dbus_property(access=PropertyAccess.READ)
    def Flags(self) -> Texts:
        """What may be done with it."""
        return ["notify"] if self._written is None else ["write", "write-without-response"]

    @dbus_property(access=PropertyAccess.READ)
    def Value(self) -> Raw:
        """Nothing, for who reads; what is notified goes by signal alone."""
        return b""

    @dbus_method()
    def WriteValue(self, value: Raw, options: Options) -> None:
        """Take what a central writes."""
        if self._written is not None:
            plain = {name: variant.value for name, variant in options.items()}
            self._written(bytes(value), plain)

    @dbus_method()
    def StartNotify(self) -> None:
        """Take note that somebody listens: nothing is notified unasked anyway."""

    @dbus_method()
    def StopNotify(self) -> None:
        """Take note that nobody listens."""

    def notify(self, raw: bytes) -> None:
        """Notify every subscribed central."""
        self.emit_properties_changed({"Value": raw})


class Advertisement(ServiceInterface):
    """The advertisement: the service's UUID alone."""

    def __init__(self, released: Callable[[], None]) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._released = released

    @dbus_property(access=PropertyAccess.READ)
    def Type(self) -> Text:
        """One that can be connected to."""
        return "peripheral"

    @dbus_property(access=PropertyAccess.READ)
    def ServiceUUIDs(self) -> Texts:
        """All it says."""
        return [SERVICE]

    @dbus_property(access=PropertyAccess.READ)
    def Discoverable(self) -> Flag:
        """Sets the flag without which BlueZ passes over a stranger's advertisement."""
        return True

    @dbus_method()
    def Release(self) -> None:
        """Take note that BlueZ has dropped it."""
        self._released()
