"""The Bluetooth LE transport: looks for others and is found by them, all the time it runs.

When Bluetooth is switched off, or BlueZ ends, everything over it ends too, and the transport waits,
`degraded`, until it can begin anew.
"""

import platform
from collections.abc import Callable

import trio

from p2pnode.errors import ChannelClosed, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.bridge import Bridge, open_bridge
from p2pnode.spi.transport import Address, Channel, Check, Host, Transport
from p2pnode_ble.air import Air, AirDown
from p2pnode_ble.channel import BleChannel
from p2pnode_ble.pipe import Times
from p2pnode_ble.radio import Radio
from p2pnode_ble.settings import BleSettings

PENDING_INCOMING = 16
"""Channels that wait for the node; more are refused."""

FIRST_RETRY, LAST_RETRY = 2.0, 60.0
"""Seconds until a radio that failed is tried again; doubles."""


class BleTransport(Transport):
    """Bluetooth LE in both roles.

    air: makes the radio to use, for tests; the default is BlueZ on Linux, bleak alone elsewhere.
    """

    name = "ble"
    settings_type = BleSettings

    def __init__(
        self,
        settings: BleSettings,
        *,
        air: Callable[[], Air] | None = None,
        times: Times | None = None,
    ) -> None:
        super().__init__(settings)
        self._wanted = settings
        self._air = air or self._native
        self._times = times or Times()
        self._radio: Radio | None = None

    def _native(self) -> Air:
        try:
            if platform.system() == "Linux":
                from p2pnode_ble.bluez import BluezAir

                return BluezAir(self._wanted.adapter)
            from p2pnode_ble.central_only import CentralAir

            return CentralAir()
        except ImportError as failure:
            raise TransportUnavailable(
                "Bluetooth cannot be used",
                why="bleak or dbus-fast is not installed",
                hint='Install it: pip install "p2pnode[ble]"',
            ) from failure

    # The medium ---------------------------------------------------------------------------------

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled. While Bluetooth is switched off it waits, `degraded`."""
        host.report("starting")
        arriving, arrivals = trio.open_memory_channel[BleChannel](PENDING_INCOMING)
        told = False

        def started() -> None:
            nonlocal told
            if not told:
                told = True
                task_status.started()

        def accept(channel: BleChannel) -> bool:
            try:
                arriving.send_nowait(channel)
            except trio.WouldBlock:
                return False
            return True

        try:
            async with open_bridge() as bridge, trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_over, host, arrivals)
                await self._serve(host, bridge, accept, started)
        except* TransportUnavailable as group:
            raise _only(group) from None
        finally:
            arriving.close()
            arrivals.close()
            host.report("off")

    async def _serve(
        self,
        host: Host,
        bridge: Bridge,
        accept: Callable[[BleChannel], bool],
        started: Callable[[], None],
    ) -> None:
        """Have a radio, and another one when it fails."""
        retry = FIRST_RETRY
        worked = False
        while True:
            air = self._air()
            radio = Radio(air, bridge, host, self._wanted, self._times, accept)

            def ready(radio: Radio = radio, lacks: str = air.lacks) -> None:
                nonlocal retry, worked
                retry, worked, self._radio = FIRST_RETRY, True, radio
                host.report("up", lacks)
                started()

            try:
                await radio.run(ready)
            except AirDown as failure:
                worked = True  # it may again: what is missing from now on is waited for
                host.report("degraded", failure.reason)
            except TransportUnavailable:
                if not worked:
                    raise
                host.report("degraded", "Bluetooth is gone")
            finally:
                self._radio = None
            started()
            await trio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY)

    async def _hand_over(self, host: Host, arrivals: trio.MemoryReceiveChannel[BleChannel]) -> None:
        async for channel in arrivals:
            await host.incoming(channel)

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel to an address that was seen."""
        if self._radio is None:
            await trio.lowlevel.checkpoint()
            raise ChannelClosed
        return await self._radio.dial(address)

    # Lanes --------------------------------------------------------------------------------------

    async def addresses(self, lane: Lane) -> list[Address]:
        """Return nothing: our address changes, and a contact who is near sees us anyway."""
        await trio.lowlevel.checkpoint()
        return []

    async def open(self, lane: Lane) -> None:
        """Do nothing: Bluetooth keeps nothing of a lane."""
        await trio.lowlevel.checkpoint()

    async def close(self, lane: Lane) -> None:
        """Do nothing: Bluetooth keeps nothing of a lane."""
        await trio.lowlevel.checkpoint()

    async def revoke(self, lane: Lane) -> None:
        """Do nothing: Bluetooth keeps nothing of a lane."""
        await trio.lowlevel.checkpoint()

    async def diagnose(self) -> list[Check]:
        """Look at BlueZ, the adapter, its switches, and what it tells of this machine."""
        try:
            air = self._air()
        except TransportUnavailable as failure:
            await trio.lowlevel.checkpoint()
            return [Check("driver", "fail", failure.why, failure.hint)]
        async with open_bridge() as bridge:
            return [Check("driver", "ok", "installed"), *await bridge.run(air.checks)]


def _only(group: BaseExceptionGroup[TransportUnavailable]) -> TransportUnavailable:
    """Return the one error in a group."""
    first = group.exceptions[0]
    return _only(first) if isinstance(first, BaseExceptionGroup) else first
