"""The Tor transport: keeps a tor running, onion services published, and dials those of others."""

import os
from contextlib import nullcontext, suppress
from typing import ClassVar

import trio

from p2pnode.errors import ChannelClosed, RemoteError, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.transport import Address, Channel, Check, Host, Transport
from p2pnode_tor import diagnosis, process
from p2pnode_tor.address import PORT, OnionAddress, OnionPublic, decode_untrusted, encode
from p2pnode_tor.keys import onion_bytes
from p2pnode_tor.lanes import SHARED
from p2pnode_tor.places import NOWHERE, own_places
from p2pnode_tor.running import Running
from p2pnode_tor.settings import TorSettings

START_PATIENCE = 30.0
"""Seconds the start waits for the Tor network; after that it goes on beside the node's life."""

PUBLISH_PATIENCE = 15.0
"""Seconds `open` waits until others can find a new onion service."""


class TorTransport(Transport):
    """Channels between onion services."""

    name = "tor"
    settings_type = TorSettings
    codes = True
    near = False
    private: ClassVar = {
        "lane-": "keys of the onion service that a contact reaches this node by",
        SHARED: "key of the onion service that further contacts share",
    }

    def __init__(self, settings: TorSettings) -> None:
        super().__init__(settings)
        self._wanted = settings
        self._lanes: dict[Lane, bool] = {}  # whether each is open, oldest first
        self._running: Running | None = None

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve Tor until cancelled; starts within half a minute, connected or not yet."""
        host.report("starting")
        try:
            program = self._program()
            wanted = self._wanted
            places = own_places(wanted.data_directory, host) if program else nullcontext(NOWHERE)
            with places as where:
                running = Running(host, wanted, where, program, self._lanes)
                async with running.begun():
                    self._running = running
                    await running.adopt()
                    with trio.move_on_after(START_PATIENCE):
                        await running.settled.wait()
                    if not running.settled.is_set():
                        running.late()
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
        if held is None or not self._lanes.get(lane):
            return []
        return [encode(OnionAddress(OnionPublic(held.key.public), PORT, held.client))]

    async def open(self, lane: Lane) -> None:
        """Publish an onion service for a lane; while Tor is up, returns when it can be found."""
        await trio.lowlevel.checkpoint()
        self._lanes[lane] = True
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

    async def close(self, lane: Lane) -> None:
        """Withdraw a lane's onion service, or its key to the shared one, and keep both."""
        await trio.lowlevel.checkpoint()
        self._lanes[lane] = False
        if self._running is not None:
            await self._running.close(lane)

    async def revoke(self, lane: Lane) -> None:
        """Withdraw a lane's onion service, or its key to the shared one, and forget both.

        Without `run` the keys are forgotten by the next one: it finds them, and the lane not open.
        """
        await trio.lowlevel.checkpoint()
        self._lanes.pop(lane, None)
        if self._running is not None:
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
