"""A stand-in for bluetoothd on a private bus: what our peripheral asks of it, and no radio.

    with fake_bluez(folder, monkeypatch) as bluez: ...

It runs in its own thread and loop, so that what is tested meets it over a real socket.
"""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from dbus_fast import BusType, ErrorType, Message, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import (
    DBusBool,
    DBusDict,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
)
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from tests.patience import PATIENCE

ADAPTER = "/org/bluez/hci0"
DEVICE = f"{ADAPTER}/dev_C0_00_00_00_00_01"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:dir={folder}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    {more}
  </policy>
</busconfig>
"""

DENIED = '<deny send_destination="org.bluez"/>'


# dbus-fast takes D-Bus names from the names of methods.
# ruff: noqa: N802


class Adapter(ServiceInterface):
    """org.bluez.Adapter1"""

    def __init__(self, bluez: "FakeBluez") -> None:
        super().__init__("org.bluez.Adapter1")
        self._bluez = bluez
        self._on = True

    @dbus_property()
    def Powered(self) -> DBusBool:
        return self._on

    @Powered.setter
    def Powered(self, value: DBusBool) -> None:
        self._on = value

    @dbus_property(access=PropertyAccess.READ)
    def Alias(self) -> DBusStr:
        return self._bluez.alias

    @dbus_method()
    def SetDiscoveryFilter(self, properties: DBusDict) -> None:
        pass

    @dbus_method()
    def StartDiscovery(self) -> None:
        self._bluez.note("scan")

    @dbus_method()
    def StopDiscovery(self) -> None:
        self._bluez.note("rest")

    @dbus_method()
    def RemoveDevice(self, device: DBusObjectPath) -> None:
        self._bluez.note(f"remove {device}")


class GattRegistry(ServiceInterface):
    """org.bluez.GattManager1"""

    def __init__(self, bluez: "FakeBluez") -> None:
        super().__init__("org.bluez.GattManager1")
        self._bluez = bluez

    @dbus_method()
    def RegisterApplication(self, application: DBusObjectPath, options: DBusDict) -> None:
        self._bluez.note(f"application {application}")

    @dbus_method()
    def UnregisterApplication(self, application: DBusObjectPath) -> None:
        self._bluez.note(f"no application {application}")


class AdvertRegistry(ServiceInterface):
    """org.bluez.LEAdvertisingManager1"""

    def __init__(self, bluez: "FakeBluez") -> None:
        super().__init__("org.bluez.LEAdvertisingManager1")
        self._bluez = bluez

    @dbus_method()
    def RegisterAdvertisement(self, advertisement: DBusObjectPath, options: DBusDict) -> None:
        if self._bluez.full:
            raise DBusError(ErrorType.FAILED, "no more advertisements")
        self._bluez.note(f"advertisement {advertisement}")

    @dbus_method()
    def UnregisterAdvertisement(self, service: DBusObjectPath) -> None:
        self._bluez.note(f"no advertisement {service}")


class Device(ServiceInterface):
    """org.bluez.Device1: the one central there is, or somebody met before."""

    def __init__(
        self, bluez: "FakeBluez", *, connected: bool = True, paired: bool = False, uuids: str = ""
    ) -> None:
        super().__init__("org.bluez.Device1")
        self._bluez = bluez
        self.connected, self._paired, self._uuids = connected, paired, uuids.split()

    @dbus_property(access=PropertyAccess.READ)
    def Connected(self) -> DBusBool:
        return self.connected

    @dbus_property(access=PropertyAccess.READ)
    def Paired(self) -> DBusBool:
        return self._paired

    @dbus_property(access=PropertyAccess.READ)
    def UUIDs(self) -> Annotated[list[str], DBusSignature("as")]:
        return self._uuids

    @dbus_method()
    def Disconnect(self) -> None:
        self.connected = False
        self._bluez.note("disconnect")


class FakeBluez:
    """What was asked for is in `asked`; everything may be called from any thread."""

    def __init__(self, address: str, *, alias: str = "device", adapter: bool = True) -> None:
        self.alias = alias
        self.full = False
        self.asked: list[str] = []
        self._changed = threading.Condition()
        self._notified: list[bytes] = []
        self._address = address
        self._with_adapter = adapter
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake bluetoothd")
        self._thread.start()

    def note(self, what: str) -> None:
        with self._changed:
            self.asked.append(what)
            self._changed.notify_all()

    def wait_for(self, beginning: str) -> str:
        """Return the first thing asked for, and not yet returned, that begins so."""

        def found() -> str | None:
            return next((one for one in self.asked if one.startswith(beginning)), None)

        with self._changed:
            assert self._changed.wait_for(found, timeout=PATIENCE), (beginning, self.asked)
            what = found()
            assert what is not None
            self.asked.remove(what)
            return what

    def wait_for_notification(self) -> bytes:
        """Return the next value notified on TX."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._notified, timeout=PATIENCE)
            return self._notified.pop(0)

    def run(self, coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def begin(self) -> None:
        self._bus = bus = await MessageBus(self._address, BusType.SYSTEM).connect()
        self.adapter, self.device = Adapter(self), Device(self)
        if self._with_adapter:
            bus.export(ADAPTER, self.adapter)
            bus.export(ADAPTER, GattRegistry(self))
            bus.export(ADAPTER, AdvertRegistry(self))
            bus.export(DEVICE, self.device)
        await bus.request_name("org.bluez")
        rule = "type='signal',interface='org.freedesktop.DBus.Properties'"
        await self._call("org.freedesktop.DBus", "/org/freedesktop/DBus", "AddMatch", "s", [rule])
        bus.add_message_handler(self._signalled)

    def _signalled(self, message: Message) -> None:
        if message.member == "PropertiesChanged" and str(message.path).endswith("/tx"):
            with self._changed:
                self._notified.append(bytes(message.body[1]["Value"].value))
                self._changed.notify_all()

    async def _call(self, to: str, path: str, member: str, signature: str, body: list) -> Any:
        interfaces = {"AddMatch": to, "WriteValue": "org.bluez.GattCharacteristic1"}
        interface = interfaces.get(member)
        reply = await self._bus.call(
            Message(to, path, interface, member, signature=signature, body=body)
        )
        assert reply is not None
        assert not reply.error_name, (reply.error_name, reply.body)
        return reply.body

    async def objects(self, owner: str) -> dict[str, Any]:
        """Return what a program exports, as bluetoothd reads it."""
        message = Message(
            owner, "/org/p2pnode", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
        )
        reply = await self._bus.call(message)
        assert reply is not None
        return reply.body[0]

    async def owner(self) -> str:
        """Return the bus name of the one other program that exports our service."""
        reply = await self._bus.call(
            Message(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames"
            )
        )
        assert reply is not None
        for name in reply.body[0]:
            if name.startswith(":") and name != self._bus.unique_name:
                with_objects = await self._bus.call(
                    Message(
                        name,
                        "/org/p2pnode",
                        "org.freedesktop.DBus.ObjectManager",
                        "GetManagedObjects",
                    )
                )
                assert with_objects is not None
                if not with_objects.error_name and with_objects.body[0]:
                    return name
        raise AssertionError("nobody exports the service")

    async def write(self, owner: str, raw: bytes, **options: Variant) -> None:
        """Write to RX, as bluetoothd does for a central."""
        said = {"device": Variant("o", DEVICE), **options}
        await self._call(owner, "/org/p2pnode/service/rx", "WriteValue", "aya{sv}", [raw, said])

    async def meet(self, number: int, **properties: Any) -> str:
        """Export a device that was met before; return its path."""
        path = f"{ADAPTER}/dev_C0_00_00_00_01_{number:02X}"
        self._bus.export(path, Device(self, **properties))
        return path

    async def change(self, what: ServiceInterface, **properties: Any) -> None:
        """Say that properties have changed."""
        what.emit_properties_changed(properties)

    def stop(self) -> None:
        """Leave the bus, as when bluetoothd ends."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._bus.disconnect)
            self.run(self._bus.wait_for_disconnect())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


@contextmanager
def private_bus(folder: Path, *, more: str = "") -> Iterator[str]:
    """Run a bus of our own; yield its address."""
    config = folder / "bus.conf"
    config.write_text(CONFIG.format(folder=folder, more=more))
    daemon = shutil.which("dbus-daemon")
    assert daemon is not None
    with subprocess.Popen(
        [daemon, f"--config-file={config}", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.terminate()


@contextmanager
def fake_bluez(folder: Path, monkeypatch, **settings: Any) -> Iterator[FakeBluez]:
    """Run a bus with a bluetoothd of sorts, and make it this process's system bus."""
    more = DENIED if settings.pop("denied", False) else ""
    with private_bus(folder, more=more) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        bluez = FakeBluez(address, **settings)
        try:
            bluez.run(bluez.begin())
            yield bluez
        finally:
            bluez.stop()
