"""Scene of `p2pnode doctor`: each thing that can be wrong with BlueZ is made wrong, and found."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from p2pnode.errors import TransportUnavailable
from transports.ble.tests.bluez.dialling import end_bluetoothd, powered, start_bluetoothd
from transports.ble.tests.bluez.nodes import ADAPTERS, running, say

CONFIG = """[transports]
lan = false
courier = false
ble = { adapter = "%s" }
"""
POLICY = Path("/etc/dbus-1/system.d/zz-nobody.conf")
DENY = """<busconfig><policy user="nobody"><deny send_destination="org.bluez"/></policy></busconfig>
"""
NOBODY = "65534"
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # Whoever runs this may have the project where nobody else can read it.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)

WELL = dict.fromkeys(
    ("driver", "bluez", "rfkill", "permission", "adapter", "powered", "name"), "pass"
)


def doctor(adapter: str = ADAPTERS[0]) -> dict[str, tuple[str, str]]:
    """Return what `doctor`, run by an ordinary user, says of Bluetooth: (result, fix) by name."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        (Path(folder) / "config.toml").write_text(CONFIG % adapter)
        done = subprocess.run(
            [*AS_NOBODY, sys.executable, "-m", "p2pnode", "--home", folder, "doctor", "--json"],
            check=False,
            capture_output=True,
            text=True,
        )
    found = json.loads(done.stdout)["findings"]
    told = {one["name"]: (one["result"], one["fix"]) for one in found if one["area"] == "ble"}
    assert told, found
    assert all(fix for result, fix in told.values() if result in ("warn", "fail")), told
    return told


def check(what: str, told: dict[str, tuple[str, str]], **expected: str) -> None:
    """Compare the results of some checks, and print them."""
    results = {name: result for name, (result, _) in told.items()}
    assert {name: results.get(name) for name in expected} == expected, (what, told)
    say(f"{what}: " + ", ".join(f"{name} {told[name]}" for name in expected))


def switches(blocked: bool) -> None:
    """Block Bluetooth, or not, as `rfkill` does."""
    for one in Path("/sys/class/rfkill").glob("rfkill*"):
        (one / "soft").write_text("1" if blocked else "0")


def forbid(forbidden: bool) -> None:
    """Let the bus's policies forbid an ordinary user to talk to BlueZ, or not."""
    if forbidden:
        POLICY.write_text(DENY)
    else:
        POLICY.unlink()
    pid = Path("/run/dbus.pid").read_text().strip()
    subprocess.run(["kill", "-HUP", pid], check=True)


async def until_on(adapters: Sequence[str]) -> None:
    """Wait until BlueZ has the adapters on, as a transport sees it.

    A bluetoothd that was started is not on the bus at once.
    """
    while True:
        try:
            async with running(*adapters) as nodes:
                for node in nodes:
                    await node.reported("up")
        except* TransportUnavailable:
            await trio.sleep(1)
        else:
            return


async def doctor_sees(_: int) -> None:
    """Make things wrong, one after the other."""
    check("all is well", await asked(), **WELL, privacy="warn")
    check("another adapter", await asked("hci7"), adapter="fail")
    await powered(ADAPTERS[0], False)
    check("switched off", await asked(), adapter="pass", powered="fail")
    await powered(ADAPTERS[0], True)
    switches(blocked=True)
    check("blocked", await asked(), rfkill="fail", powered="fail")
    switches(blocked=False)
    await powered(ADAPTERS[0], True)
    forbid(True)
    check("a policy forbids it", await asked(), permission="fail")
    forbid(False)
    await end_bluetoothd()
    check("bluetoothd has ended", await asked(), service="fail")
    await start_bluetoothd()
    await until_on(ADAPTERS)
    check("all is well again", await asked(), **WELL)


async def asked(adapter: str = ADAPTERS[0]) -> dict[str, tuple[str, str]]:
    """Ask without holding up the loop."""
    return await trio.to_thread.run_sync(doctor, adapter)
