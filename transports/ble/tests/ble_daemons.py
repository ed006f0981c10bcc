"""Real daemons whose only medium is Bluetooth LE on a virtual air in a process of its own.

They find their transport as they find any: an installed plug-in (`air`), made here for the time of
a test, which is the real Bluetooth LE transport with a virtual controller for an adapter.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bumble.transport import open_transport
from bumble.transport.common import Transport, TransportSink, TransportSource
from p2pnode_ble.air import AirDown
from p2pnode_ble.pipe import Times
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport

from tests.daemons import Daemon
from transports.ble.tests.ble_virtual import OFF, Hci, VirtualRadio

ROOT = Path(__file__).parents[3]

QUICK = Times(resend=0.5, resend_at_most=2.0, keep_alive=1.0, silent=4.0, opening=4.0)
"""For tests in real time; everything else is as it is in use."""


class AirSettings(BleSettings, frozen=True):
    """adapter_socket: where the hub serves the controller."""

    adapter_socket: str = ""


class AirTransport(BleTransport):
    """The plug-in."""

    name = "air"
    settings_type = AirSettings

    def __init__(self, settings: AirSettings) -> None:
        super().__init__(
            settings,
            air=lambda: VirtualRadio(BehindSocket(settings.adapter_socket)),
            times=QUICK,
        )


class Guarded(TransportSink):
    """A sink that says so when there is nobody behind it."""

    def __init__(self, sink: TransportSink) -> None:
        self._sink = sink
        self.lost = False

    def on_packet(self, packet: bytes) -> None:
        if self.lost:
            raise ConnectionResetError
        self._sink.on_packet(packet)


class BehindSocket(Hci):
    """A controller behind a Unix socket."""

    interval = 100.0

    def __init__(self, place: str) -> None:
        self._place = place
        self.random = Random()
        self._way: Transport | None = None

    async def open(self, lost: Callable[[], None]) -> tuple[TransportSource, TransportSink]:
        try:
            self._way = way = await open_transport(f"unix-client:{self._place}")
        except OSError:
            raise AirDown(OFF) from None
        sink = Guarded(way.sink)

        def gone(_: object) -> None:
            sink.lost = True
            if self._way is not None:
                lost()

        way.source.terminated.add_done_callback(gone)
        return way.source, sink

    async def close(self) -> None:
        way, self._way = self._way, None
        if way is not None:
            await way.close()


class Hub:
    """The hub's process; see `ble_hub.py` for what it can be told."""

    def __init__(self, place: Path, nodes: int) -> None:
        self.place = place
        words = [sys.executable, "-m", "transports.ble.tests.ble_hub", str(place), str(nodes)]
        self._process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == "ready"

    def tell(self, *command: Any) -> Any:
        """Give a command; return its answer when it has happened."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        assert self._process.returncode == 0


@contextmanager
def air_of(tmp_path: Path, *names: str) -> Iterator[tuple[Hub, list[Daemon]]]:
    """Yield a hub and daemons on it, configured and not yet made; node n is names[n]."""
    plugin = tmp_path / "plugin" / "p2pnode_virtual_air-0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: p2pnode-virtual-air\nVersion: 0\n"
    )
    (plugin / "entry_points.txt").write_text(
        "[p2pnode.transports]\nair = transports.ble.tests.ble_daemons:AirTransport\n"
    )
    place = tmp_path / "air"
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{plugin.parent}:{ROOT}")
        hub = Hub(place, len(names))
        try:
            yield hub, [Daemon(tmp_path, name) for name in names]
        finally:
            hub.close()


def configure(hub: Hub, *daemons: Daemon) -> None:
    """Let daemons have Bluetooth and nothing else."""
    for number, daemon in enumerate(daemons):
        daemon.home.config.write_text(
            "[transports]\nlan = false\ncourier = false\ntor = false\nble = false\n"
            f'[transports.air]\npower = "always"\nadapter_socket = "{hub.place / str(number)}"\n'
            '[privacy]\norigin = "fast"\n'
        )
