"""Our D-Bus side, against a stand-in for bluetoothd on a private bus; and life without BlueZ."""

import shutil
from pathlib import Path

import pytest
import trio
from dbus_fast import Variant
from p2pnode_ble.air import SERVICE
from p2pnode_ble.diagnosis import _judged, _privacy, _rfkill
from p2pnode_ble.line import Line
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport
from p2pnode_ble.wire import decode_untrusted

from p2pnode.errors import ChannelClosed, TransportUnavailable
from p2pnode.spi.testing import RecordingHost
from transports.ble.tests.ble_bluez import DEVICE, FakeBluez, fake_bluez, private_bus
from transports.ble.tests.ble_medium import TIMES

on_bus = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="needs dbus-daemon (apt install dbus-daemon)"
)


GENERIC = "00001801-0000-1000-8000-00805f9b34fb"
"""Service that BlueZ knows of whom it was connected to."""


class FakeCentral:
    """Somebody who speaks our protocol to the peripheral through bluetoothd."""

    def __init__(self, bluez: FakeBluez) -> None:
        self._bluez = bluez
        self._line = Line(b"self", times=TIMES)
        self._owner = bluez.run(bluez.owner())
        opened = self._line.open(0.0)
        assert opened is not None
        self.pipe = opened[1]

    def say(self, **options: Variant) -> None:
        while (raw := self._line.outgoing(0.0, 500)) is not None:
            self._bluez.run(self._bluez.write(self._owner, raw, **options))

    def hear(self) -> int:
        """Take one notification; return its size."""
        raw = self._bluez.wait_for_notification()
        self._line.receive_untrusted(decode_untrusted(raw), 0.0)
        return len(raw)


async def in_thread(function, *args):
    return await trio.to_thread.run_sync(function, *args)


@on_bus
async def test_the_whole_life_on_the_bus(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch) as bluez:
        transport, host = BleTransport(BleSettings()), RecordingHost()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            assert host.reports == [("starting", ""), ("up", "")]
            application = await in_thread(bluez.wait_for, "application")
            advertisement = await in_thread(bluez.wait_for, "advertisement")
            await in_thread(bluez.wait_for, "scan")
            central = await in_thread(FakeCentral, bluez)
            await in_thread(lambda: central.say(mtu=Variant("q", 247)))
            far = await host.arrivals.receive()
            await in_thread(central.hear)
            assert central.pipe.established
            central.pipe.put(b"to the peripheral" * 100)
            await in_thread(central.say)
            assert await far.receive() == b"to the peripheral" * 100
            await far.send(b"to the central" * 100)
            sizes = []
            while (frame := central.pipe.take(0.0)) is None:
                sizes.append(await in_thread(central.hear))
            assert frame == b"to the central" * 100
            assert max(sizes) == 500, "a central that wrote so many bytes can be notified of them"
            bluez.device.connected = False
            await in_thread(lambda: bluez.run(bluez.change(bluez.device, Connected=False)))
            with pytest.raises(ChannelClosed):
                await far.receive()
            assert await in_thread(bluez.wait_for, "remove") == f"remove {DEVICE}"
            nursery.cancel_scope.cancel()
        assert f"no {application}" in bluez.asked
        assert f"no {advertisement}" in bluez.asked
        assert "rest" in bluez.asked
        assert host.reports[-1] == ("off", "")


@on_bus
async def test_small_until_more_is_proven(tmp_path, monkeypatch):
    """BlueZ cuts off what does not fit: nothing longer is notified than was seen to fit."""
    with fake_bluez(tmp_path, monkeypatch) as bluez:
        transport, host = BleTransport(BleSettings()), RecordingHost()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            central = await in_thread(FakeCentral, bluez)
            await in_thread(central.say)
            far = await host.arrivals.receive()
            await far.send(bytes(100))
            while central.pipe.take(0.0) is None:
                assert await in_thread(central.hear) <= 20
            nursery.cancel_scope.cancel()
        assert "disconnect" in bluez.asked, "a central that is there is disconnected at the end"
        assert f"remove {DEVICE}" in bluez.asked, "and nothing of it stays on the disk"


@on_bus
async def test_what_bluez_remembers_of_others_goes(tmp_path, monkeypatch):
    """It may be out of date, and then BlueZ would not tell of them any more."""
    with fake_bluez(tmp_path, monkeypatch) as bluez:

        def meet() -> str:
            was_connected = f"{GENERIC} {SERVICE}"
            for number, properties in enumerate(
                [
                    {"connected": True, "uuids": was_connected},
                    {"connected": False, "uuids": was_connected, "paired": True},
                    {"connected": False, "uuids": SERVICE},  # seen, and no more
                ]
            ):
                bluez.run(bluez.meet(number, **properties))
            return bluez.run(bluez.meet(9, connected=False, uuids=GENERIC))

        stale = await in_thread(meet)
        transport, host = BleTransport(BleSettings()), RecordingHost()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            assert [one for one in bluez.asked if one.startswith("remove")] == [f"remove {stale}"]
            nursery.cancel_scope.cancel()


@on_bus
async def test_nothing_on_the_bus_tells_who_we_are(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch) as bluez:
        transport, host = BleTransport(BleSettings()), RecordingHost()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            owner = await in_thread(lambda: bluez.run(bluez.owner()))
            objects = await in_thread(lambda: bluez.run(bluez.objects(owner)))
            nursery.cancel_scope.cancel()
    told = {
        (path.rpartition("/")[2].rstrip("0123456789"), name): variant.value
        for path, interfaces in objects.items()
        for interface in interfaces.values()
        for name, variant in interface.items()
    }
    uuids = {value for (_, name), value in told.items() if name == "UUID"}
    assert len(uuids) == 3
    assert all(SERVICE[:7] in uuid for uuid in uuids)
    rest = {key: value for key, value in told.items() if key[1] != "UUID"}
    assert rest == {
        ("service", "Primary"): True,
        ("rx", "Service"): "/org/p2pnode/service",
        ("rx", "Flags"): ["write", "write-without-response"],
        ("rx", "Value"): b"",
        ("tx", "Service"): "/org/p2pnode/service",
        ("tx", "Flags"): ["notify"],
        ("tx", "Value"): b"",
        ("advertisement", "Type"): "peripheral",
        ("advertisement", "ServiceUUIDs"): [SERVICE],
        ("advertisement", "Discoverable"): True,
    }


@on_bus
async def test_switched_off_and_on_again(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch) as bluez:
        transport, host = BleTransport(BleSettings()), RecordingHost()
        bluez.adapter._on = False
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            assert host.reports[-1] == ("degraded", "Bluetooth is switched off")
            bluez.adapter._on = True
            await host.until(lambda host: host.reports[-1] == ("up", ""))
            bluez.adapter._on = False
            await in_thread(lambda: bluez.run(bluez.change(bluez.adapter, Powered=False)))
            await host.until(lambda host: host.reports[-1][0] == "degraded")
            nursery.cancel_scope.cancel()


@on_bus
async def test_bluez_ends_while_we_run(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch) as bluez:
        transport, host = BleTransport(BleSettings()), RecordingHost()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            await in_thread(bluez.stop)
            await host.until(lambda host: host.reports[-1][0] == "degraded")
            nursery.cancel_scope.cancel()
        assert host.reports[-1] == ("off", "")


@on_bus
async def test_an_adapter_that_takes_no_advertisement(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch) as bluez:
        bluez.full = True
        transport, host = BleTransport(BleSettings()), RecordingHost()
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run, host)
            assert host.reports[-1] == ("degraded", "the adapter takes no advertisement")
            nursery.cancel_scope.cancel()


async def refused(settings: BleSettings, why: str) -> None:
    """The transport cannot run, and says why; so does its diagnosis."""
    host, transport = RecordingHost(), BleTransport(settings)
    with pytest.raises(TransportUnavailable) as caught:
        await transport.run(host)
    assert why in caught.value.why
    assert caught.value.hint
    assert [state for state, _ in host.reports] == ["starting", "off"]
    failed = [check for check in await transport.diagnose() if check.result == "fail"]
    assert why in [check.detail for check in failed][-1]
    assert all(check.fix for check in failed)


async def test_without_a_bus(tmp_path, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")
    await refused(BleSettings(), "no system D-Bus")


@on_bus
async def test_without_bluez(tmp_path, monkeypatch):
    with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        await refused(BleSettings(), "BlueZ is not running")


@on_bus
async def test_without_an_adapter(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch, adapter=False):
        await refused(BleSettings(), "there is no Bluetooth adapter")


@on_bus
async def test_with_another_adapter(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch):
        await refused(BleSettings(adapter="hci7"), "there is no Bluetooth adapter hci7")


@on_bus
async def test_without_permission(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch, denied=True):
        await refused(BleSettings(), "does not let this user")


@on_bus
async def test_a_diagnosis_of_what_is_well(tmp_path, monkeypatch):
    with fake_bluez(tmp_path, monkeypatch):
        checks = {check.name: check for check in await BleTransport(BleSettings()).diagnose()}
        assert {name for name, check in checks.items() if check.result == "ok"} >= {
            "driver",
            "permission",
            "adapter",
            "powered",
            "name",
        }


def test_switches(tmp_path):
    assert _rfkill(tmp_path).result == "skip"
    for number, kind in enumerate(["wlan", "bluetooth"]):
        one = tmp_path / f"rfkill{number}"
        one.mkdir()
        for name, text in (("type", kind), ("soft", "1" if kind == "wlan" else "0"), ("hard", "0")):
            (one / name).write_text(text + "\n")
    assert _rfkill(tmp_path).result == "ok"
    (tmp_path / "rfkill1" / "soft").write_text("1\n")
    assert _rfkill(tmp_path).fix == "rfkill unblock bluetooth"
    (tmp_path / "rfkill1" / "hard").write_text("1\n")
    assert "hardware" in _rfkill(tmp_path).detail


@pytest.mark.parametrize(
    ("text", "result"),
    [("bluetoothctl: 5.66\n", "ok"), ("5.50", "ok"), ("5.43", "fail"), ("what?", "warn")],
)
def test_versions(text, result):
    assert _judged(text).result == result


def test_privacy_is_judged_by_the_configuration(tmp_path: Path):
    conf = tmp_path / "main.conf"
    assert _privacy(conf).result == "warn"
    conf.write_text("[General]\n#Privacy = device\n")
    assert _privacy(conf).result == "warn"
    conf.write_text("[General]\nPrivacy = device\n")
    assert _privacy(conf).result == "ok"
