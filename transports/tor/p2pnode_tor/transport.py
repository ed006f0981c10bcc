"""The Tor transport: keeps a tor running, onion services published, and dials those of others."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import platformdirs
import trio

from p2pnode.errors import ChannelClosed, RemoteError, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.transport import Address, Channel, Check, Host, Transport
from p2pnode_tor import diagnosis, process
from p2pnode_tor.address import PORT, OnionAddress, OnionPublic, decode_untrusted, encode
from p2pnode_tor.keys import onion_bytes
from p2pnode_tor.lanes import SHARED
from p2pnode_tor.process import Places
from p2pnode_tor.running import Running
from p2pnode_tor.settings import TorSettings

START_PATIENCE = 30.0
"""Seconds the start waits for the Tor network; after that it goes on beside the node's life."""

PUBLISH_PATIENCE = 15.0
"""Seconds `open` waits until others can find a new onion service."""

DIRECTORY = "directory"
"""Name of the data directory's name in the private store."""


class TorTransport(Transport):
    """Channels between onion services."""

    name = "tor"
    settings_type = TorSettings
    codes = True
    private: ClassVar = {
        "lane-": "keys of the onion service that a contact reaches this node by",
        SHARED: "key of the onion service that further contacts share",
        DIRECTORY: "name of the directory where tor keeps its guards",
    }

    def __init__(self, settings: TorSettings) -> None:
        super().__init__(settings)
        self._wanted = settings
        self._lanes: dict[Lane, None] = {}  # a set that keeps its order
        self._revoked: set[Lane] = set()
        self._running: Running | None = None

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve Tor until cancelled; starts within half a minute, connected or not yet."""
        host.report("starting")
        try:
            program = self._program()
            data = await self._data_directory(host) if program else Path()
            with _private_directory() as sockets, _for_us_alone(data if program else None):
                running = Running(host, self._wanted, Places(data, sockets), program)
                async with running.begun(list(self._lanes), set(self._revoked)):
                    self._running = running
                    self._revoked.clear()
                    with trio.move_on_after(START_PATIENCE):
                        await running.settled.wait()
                    if not running.settled.is_set():
                        running.report("degraded", "still starting")
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._running = None
            host.report("off")

    def _program(self) -> str | None:
        """Return the path of our own tor, None for the system's. Raises TransportUnavailable."""
        mode = self._wanted.mode
        if mode == "off":
            raise TransportUnavailable("switched off", hint='Set mode = "auto" to use Tor')
        if mode == "system":
            return None
        found = process.find(self._wanted.program)
        there = self._wanted.control.startswith("/") and os.access(self._wanted.control, os.W_OK)
        if found is None and (mode == "own" or not there):
            raise TransportUnavailable("tor is not installed", hint="Install it: apt install tor")
        return found

    async def _data_directory(self, host: Host) -> Path:
        """Return where tor keeps its guards, the same each time. Raises TransportUnavailable."""
        if self._wanted.data_directory:
            data = Path(self._wanted.data_directory)
        else:
            name = await host.load(DIRECTORY)
            if name is None:
                name = os.urandom(8).hex().encode()
                await host.save(DIRECTORY, name)
            data = platformdirs.user_state_path("p2pnode") / "tor" / name.decode()
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise TransportUnavailable(
                "tor has no place for its files",
                why=failure.strerror or "",
                hint="Set data_directory under [transports.tor]",
            ) from None
        return data

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel to an onion service that is not one of ours."""
        running, onion = self._running, None
        session = running.session if running is not None else None
        with suppress(RemoteError):
            onion = decode_untrusted(address)
        if (
            running is None
            or session is None
            or not session.health.up
            or onion is None
            or onion.service in running.onions
        ):
            await trio.lowlevel.checkpoint()
            raise ChannelClosed
        stream = await session.dialling.dial(onion, lane)
        if self._running is not running:
            stream.close()
            raise ChannelClosed
        return running.own(stream)

    async def addresses(self, lane: Lane) -> list[Address]:
        """Return the lane's onion service with the one key to it."""
        await trio.lowlevel.checkpoint()
        held = self._running.lanes.held.get(lane) if self._running is not None else None
        if held is None:
            return []
        return [encode(OnionAddress(OnionPublic(held.key.public), PORT, held.client))]

    async def open(self, lane: Lane) -> None:
        """Publish an onion service for a lane; while Tor is up, returns when it can be found."""
        await trio.lowlevel.checkpoint()
        self._lanes[lane] = None
        self._revoked.discard(lane)
        running = self._running
        if running is None:
            return
        onion = await running.serve(lane)
        if onion is not None and running.session is not None and running.session.health.up:
            with trio.move_on_after(PUBLISH_PATIENCE):
                await onion.published.wait()

    async def meet(self, lane: Lane) -> bytes:
        """Publish a passing onion service for whoever scans a code; return its 35 bytes."""
        await trio.lowlevel.checkpoint()
        running = self._running
        if running is None or running.session is None or not running.session.health.up:
            return b""
        onion = await running.meet(lane)
        return onion_bytes(onion.key.public) if onion is not None else b""

    async def revoke(self, lane: Lane) -> None:
        """Withdraw a lane's onion service, or its key to the shared one, and forget both."""
        await trio.lowlevel.checkpoint()
        self._lanes.pop(lane, None)
        if self._running is None:
            self._revoked.add(lane)
        else:
            await self._running.drop(lane)

    async def diagnose(self) -> list[Check]:
        """Look at program, process, bootstrap, clock and onion services."""
        running = self._running
        session = running.session if running is not None else None
        seen = diagnosis.Seen(
            running=running is not None,
            health=session.health if session is not None else None,
            version=session.version if session is not None else "",
            onions=list(running.onions.values()) if running is not None else [],
        )
        return await diagnosis.diagnose(self._wanted, seen)


@contextmanager
def _for_us_alone(data: Path | None) -> Iterator[None]:
    """Keep a data directory from other nodes. Raises TransportUnavailable.

    Tor locks it too, but only after it has listened, and waits in silence.
    """
    if data is None:
        yield
        return
    with (data / "p2pnode.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TransportUnavailable(
                "another node uses tor's data directory",
                hint="Set another data_directory under [transports.tor]",
            ) from None
        yield


@contextmanager
def _private_directory() -> Iterator[Path]:
    """Yield a short-lived directory with a short name, for nobody but us."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    place = runtime if runtime and os.access(runtime, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="p2pnode-tor-", dir=place) as made:
        yield Path(made)
