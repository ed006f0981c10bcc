"""The LAN transport: listens, looks for others, and starts over whenever the network changes.

One network, as this machine's interfaces show it, is one epoch: fresh random names, a fresh port
(unless it is set), fresh sockets for multicast DNS. Channels that stand live on across epochs.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from weakref import WeakSet

import trio

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.ids import Lane
from p2pnode.spi.bridge import Bridge, open_bridge
from p2pnode.spi.transport import Address, Channel, Check, Host, Transport
from p2pnode_lan import discovery
from p2pnode_lan.address import IP, Endpoint, decode_untrusted, encode
from p2pnode_lan.channel import LanChannel
from p2pnode_lan.diagnosis import diagnose
from p2pnode_lan.interfaces import Changes, Interface, chosen
from p2pnode_lan.listening import accept, listen, reach
from p2pnode_lan.pace import Pace
from p2pnode_lan.settings import LanSettings

PENDING_INCOMING = 16
"""Accepted channels that wait for the node; more are closed at once."""

SIGHTINGS_UNREAD = 256
"""Hints from multicast DNS that wait to be read; more are dropped and asked again later."""

OWN_NAMES = 64
"""Names of our own, the last ones, that are known as such when an echo of them comes late."""

POLITE_WAIT = 2.0
"""Seconds the node with the higher name leaves the first dial to the other."""

QUIET = 0.5
"""Seconds without a change of the interfaces before the network counts as settled."""

SETTLED_AT_LAST = 3.0
"""Seconds after which it counts as settled all the same."""

FIRST_RETRY, LAST_RETRY = 2.0, 60.0
"""Seconds until something that failed (port taken, multicast broken) is tried again; doubles."""


class LanTransport(Transport):
    """TCP between machines of one local network."""

    name = "lan"
    settings_type = LanSettings

    def __init__(self, settings: LanSettings) -> None:
        super().__init__(settings)
        self._wanted = settings
        self._named = settings.endpoints()
        self._here: tuple[Endpoint, ...] = ()
        self._before: tuple[Endpoint, ...] = ()
        self._channels: WeakSet[LanChannel] = WeakSet()
        self._lanes: set[Lane] = set()
        self._running = False
        self._pace = Pace()
        self._seen: dict[str, Address] = {}
        self._own_names: deque[str] = deque(maxlen=OWN_NAMES)

    # The medium ---------------------------------------------------------------------------------

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the LAN until cancelled. With no network up it waits for one, `degraded`."""
        host.report("starting")
        arriving, arrivals = trio.open_memory_channel[LanChannel](PENDING_INCOMING)
        try:
            async with AsyncExitStack() as stack:
                changes = stack.enter_context(Changes())
                bridge = None
                if self._wanted.discover:
                    discovery.check_installed()
                    bridge = await stack.enter_async_context(open_bridge())
                nursery = await stack.enter_async_context(trio.open_nursery())
                nursery.start_soon(self._hand_over, host, arrivals)
                self._running = True
                while True:
                    interfaces, ready = self._interfaces(), trio.Event()
                    async with trio.open_nursery() as epoch:
                        epoch.start_soon(self._epoch, host, interfaces, arriving, bridge, ready)
                        await ready.wait()
                        task_status.started()
                        task_status = trio.TASK_STATUS_IGNORED
                        await self._changed(changes, interfaces)
                        epoch.cancel_scope.cancel()
        finally:
            self._running = False
            for channel in list(self._channels):
                channel.end()
            arriving.close()
            arrivals.close()
            host.report("off")

    def _interfaces(self) -> list[Interface]:
        by_hand = any(one.ip.is_loopback for one in self._named)
        return chosen(self._wanted.interfaces, loopback=by_hand)

    async def _changed(self, changes: Changes, before: Sequence[Interface]) -> None:
        """Return when the interfaces are, or for a moment were, different from before."""
        ours = {interface.index for interface in before}
        while not ours & await changes.wait() and self._interfaces() == before:
            pass
        with trio.move_on_after(SETTLED_AT_LAST):
            quiet = False
            while not quiet:
                with trio.move_on_after(QUIET) as waiting:
                    await changes.wait()
                quiet = waiting.cancelled_caught

    async def _hand_over(self, host: Host, arrivals: trio.MemoryReceiveChannel[LanChannel]) -> None:
        async for channel in arrivals:
            await host.incoming(channel)

    # One network --------------------------------------------------------------------------------

    async def _epoch(
        self,
        host: Host,
        interfaces: Sequence[Interface],
        arriving: trio.MemorySendChannel[LanChannel],
        bridge: Bridge | None,
        ready: trio.Event,
    ) -> None:
        """Listen, and look for others, on the interfaces as they are now."""
        if not interfaces:
            host.report("degraded", "no network interface is up")
            ready.set()
            return
        listeners = await self._listen(host, interfaces, ready)
        try:
            port = listeners[0].getsockname()[1]
            self._here = tuple(one for each in interfaces for one in each.endpoints(port))
            self._before = self._here
            host.report("up")
            ready.set()
            for peer in self._named:
                if peer not in self._here:
                    host.encountered(encode([peer]))

            def admits(ip: IP, scope: int) -> bool:
                near = self._near(ip, scope, interfaces)
                return near and self._pace.allows(ip, trio.current_time())

            def take(accepted: socket.socket) -> None:
                self._take(accepted, arriving)

            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(accept, listener, admits, take)
                if bridge is not None:
                    await self._discover(host, bridge, interfaces, port)
        finally:
            self._here = ()
            for listener in listeners:
                trio.lowlevel.notify_closing(listener)
                listener.close()

    async def _listen(
        self, host: Host, interfaces: Sequence[Interface], ready: trio.Event
    ) -> list[socket.socket]:
        """Return listeners on all addresses, as soon as the port is free on them."""
        retry = FIRST_RETRY
        while True:
            for port in self._ports(interfaces):
                with suppress(OSError):
                    listeners = listen([one for each in interfaces for one in each.endpoints(port)])
                    if listeners:
                        return listeners
            host.report("degraded", "the port is taken")
            ready.set()
            await trio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY)

    def _ports(self, interfaces: Sequence[Interface]) -> Iterator[int]:
        """Yield the ports to try: a random one is kept while an address of ours stays."""
        if self._wanted.port:
            yield self._wanted.port
            return
        here = {one.ip for each in interfaces for one in each.endpoints(0)}
        if here & {one.ip for one in self._before}:
            yield self._before[0].port
        yield 0

    def _take(self, accepted: socket.socket, arriving: trio.MemorySendChannel[LanChannel]) -> None:
        channel = self._own(accepted)
        try:
            arriving.send_nowait(channel)
        except trio.WouldBlock:
            channel.end()

    def _own(self, connected: socket.socket) -> LanChannel:
        if not self._running:
            connected.close()
            raise ChannelClosed
        channel = LanChannel(connected)
        self._channels.add(channel)
        return channel

    def _near(self, ip: IP, scope: int, interfaces: Sequence[Interface]) -> bool:
        """Say whether an address is on our own networks, or of a peer named by hand."""
        return any(one.ip == ip for one in self._named) or any(
            interface.near(ip, scope) for interface in interfaces
        )

    # Others -------------------------------------------------------------------------------------

    async def _discover(
        self, host: Host, bridge: Bridge, interfaces: Sequence[Interface], port: int
    ) -> None:
        """Announce and follow names until cancelled; what fails is tried again."""
        able = [interface for interface in interfaces if interface.multicast]
        if not able:
            host.report("degraded", "no network interface can multicast")
            return
        retry = FIRST_RETRY
        while True:
            own = discovery.new_instance()
            self._own_names.append(own)
            put: Callable[[discovery.Sighting], None]
            sightings: trio.MemoryReceiveChannel[discovery.Sighting]
            put, sightings = bridge.inbox(SIGHTINGS_UNREAD)
            radio = discovery.Discovery(own, able, port, put)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow, host, own, sightings)
                    await bridge.run(radio.run)
            except* Exception:  # whatever a foreign library fails with
                host.report("degraded", "multicast DNS does not work here")
            finally:
                for address in self._seen.values():
                    host.lost(address)
                self._seen.clear()
            await trio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY)

    async def _follow(
        self, host: Host, own: str, sightings: trio.MemoryReceiveChannel[discovery.Sighting]
    ) -> None:
        with sightings:
            async for sighting in sightings:
                self._sighted(host, own, sighting)

    def _sighted(self, host: Host, own: str, sighting: discovery.Sighting) -> None:
        """Tell the node what changed: an address counts as known while any part of it holds."""
        name, fresh = sighting.instance, sighting.address
        if name in self._own_names:
            if name == own:
                host.report("up")
            return
        known = self._seen.get(name)
        if known and fresh and set(decode_untrusted(known)) & set(decode_untrusted(fresh)):
            return
        if known:
            del self._seen[name]
            host.lost(known)
        if fresh:
            self._seen[name] = fresh
            host.encountered(fresh, after=0.0 if own < name else POLITE_WAIT)

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel to a node on our own networks, or to a peer named by hand."""
        try:
            endpoints = decode_untrusted(address)
        except RemoteError:
            endpoints = []
        interfaces = self._interfaces()
        near = [
            one
            for one in endpoints
            if one not in self._here and self._near(one.ip, one.scope, interfaces)
        ]
        if not self._running or not near:
            await trio.lowlevel.checkpoint()
            raise ChannelClosed
        return self._own(await reach(near))

    # Lanes --------------------------------------------------------------------------------------

    async def addresses(self, lane: Lane) -> list[Address]:
        """Return where we listen, without what has a meaning on this link only."""
        await trio.lowlevel.checkpoint()
        if lane not in self._lanes:
            return []
        told = [one for one in self._here if not one.ip.is_link_local]
        return [encode(told)] if told else []

    async def open(self, lane: Lane) -> None:
        """Let addresses be told for this lane; the LAN keeps nothing else of it."""
        await trio.lowlevel.checkpoint()
        self._lanes.add(lane)

    async def close(self, lane: Lane) -> None:
        """Tell no addresses for this lane until it is opened again."""
        await self.revoke(lane)

    async def revoke(self, lane: Lane) -> None:
        """Tell no more addresses for this lane."""
        await trio.lowlevel.checkpoint()
        self._lanes.discard(lane)

    async def diagnose(self) -> list[Check]:
        """Look at interfaces, multicast, port and neighbours."""
        await trio.lowlevel.checkpoint()
        here = self._here[0].port if self._here else None
        return diagnose(self._wanted, self._interfaces(), here, len(self._seen))
