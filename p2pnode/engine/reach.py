"""Where this node may be reached, and where others are looked for: lanes, addresses, meetings.

Each contact and each code that serves afar has a lane; transports are told which ones to serve, and
contacts where theirs leads.
"""

from collections.abc import Awaitable, Callable

import trio

from p2pnode.engine.dialer import Dialer
from p2pnode.engine.link_task import LinkTask
from p2pnode.engine.owner import Owner
from p2pnode.engine.peers import Peers
from p2pnode.engine.plugged import spared
from p2pnode.engine.transports import Transports
from p2pnode.errors import ChannelClosed, LocalError
from p2pnode.ids import DeviceId, Lane
from p2pnode.protocol import limits
from p2pnode.protocol.link.messages import Addresses
from p2pnode.spi.transport import Address
from p2pnode.turns import asks, effects

LaneEffect = effects.LaneOpened | effects.LaneClosed | effects.LaneRevoked


class Reach:
    """Keeps what transports serve and contacts are told in step. Does nothing unless it runs."""

    def __init__(self, owner: Owner, peers: Peers, dialer: Dialer, transports: Transports) -> None:
        self._owner = owner
        self._peers = peers
        self._dialer = dialer
        self._transports = transports
        self._nursery: trio.Nursery | None = None
        self._changing = trio.Lock()
        self._changes: dict[Lane, Callable[[Lane], Awaitable[None]]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None  # what a last commit still tells has no consequences any more

    # Contacts ----------------------------------------------------------------------------------

    async def told_to(self, lane: bytes) -> Addresses:
        """Return where the holder of a lane may reach this node, for all transports."""
        entries = []
        for one in self._transports.running:
            if one.state != "up" or not lane:
                continue
            addresses = await spared(one.transport, one.transport.addresses(Lane(lane)), [])
            kept = tuple(bytes(address) for address in addresses[: limits.MAX_ADDRESSES])
            if kept:
                entries.append((one.transport.name, kept))
        return Addresses(tuple(entries))

    def anew(self) -> None:
        """Addresses have changed: tell contacts that are here; others hear of it when they come."""
        for link in self._peers.by_device.values():
            if self._nursery is not None:
                self._nursery.start_soon(self._tell, link)

    async def _tell(self, link: LinkTask) -> None:
        try:
            assert link.device is not None  # it is on the list of devices
            await link.tell_addresses(await self._owner.ask(asks.GetLane(link.device.id)))
        except (ChannelClosed, LocalError):
            pass  # the next link tells

    def told(self, device: DeviceId, lane: Lane, name: str, address: bytes) -> None:
        """A contact's device said where a transport reaches it."""
        transport = self._transports.named(name)
        if transport is not None:
            self._dialer.told(transport, Address(address), device, lane)

    def change(self, effect: LaneEffect) -> None:
        """Let transports do something with a lane. What was decided last about it is done last."""
        if self._nursery is None:
            return
        match effect:
            case effects.LaneOpened():
                change = self._open
            case effects.LaneClosed():
                change = self._transports.close
            case effects.LaneRevoked():
                change = self._transports.revoke
        lane = Lane(effect.lane)
        self._changes[lane] = change
        self._nursery.start_soon(self._change, lane)

    async def _change(self, lane: Lane) -> None:
        async with self._changing:
            change = self._changes.pop(lane, None)
            if change is not None:  # else another task has done it
                await change(lane)

    async def _open(self, lane: Lane) -> None:
        await self._transports.open(lane)
        self.anew()

    # Meetings (`pairings.Meeting`) -------------------------------------------------------------

    async def open_meeting(self, lane: Lane, patience: float) -> bytes:
        """Return the place for a code where a transport serves a lane.

        patience: seconds one that is not up yet may take. Raises InvalidInput when none does.
        """
        return await self._transports.meet(lane, patience)

    def close_meeting(self, lane: Lane, after: float) -> None:
        """Serve a meeting's lane no more, after so many seconds."""

        async def close() -> None:
            await trio.sleep(after)
            await self._transports.revoke(lane)

        if self._nursery is not None:
            self._nursery.start_soon(close)

    def seek(self, place: bytes) -> None:
        """Dial the place a code names, on the transports that know such places."""
        for one in self._transports.running:
            if one.transport.codes:
                self._dialer.encountered(one.transport, Address(place), 0.0)

    def seek_no_more(self, place: bytes, after: float) -> None:
        """Give up a place a code named, after so many seconds."""

        async def give_up() -> None:
            await trio.sleep(after)
            for one in self._transports.running:
                self._dialer.lost(one.transport, Address(place))

        if self._nursery is not None:
            self._nursery.start_soon(give_up)
