"""What stands while the transport runs: a tor, kept alive, and the onion services it publishes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from weakref import WeakSet

import trio

from p2pnode.ids import Lane
from p2pnode.spi.transport import Host, TransportState
from p2pnode_tor.channel import TorChannel
from p2pnode_tor.control import CommandFailed, ControlLost, ControlRefused
from p2pnode_tor.health import Health
from p2pnode_tor.keys import OnionKey, new_secret
from p2pnode_tor.lanes import Held, Lanes
from p2pnode_tor.onions import Onion
from p2pnode_tor.places import Places
from p2pnode_tor.process import TorFailed
from p2pnode_tor.session import Session, own_session, system_session
from p2pnode_tor.settings import TorSettings

PENDING_INCOMING = 16
"""Accepted channels that wait for the node; more are closed at once."""

FIRST_RETRY, LAST_RETRY = 0.5, 60.0
"""Seconds until a tor that has gone is started, or looked for, again; doubles."""

STEADY = 60.0
"""Seconds a tor must have lived for its end to count as the first."""


class Running:
    """One run. program: the path of our own tor, None where the system's is used.

    wanted: the lanes there are, and whether each is open, as they change.
    """

    def __init__(
        self,
        host: Host,
        settings: TorSettings,
        places: Places,
        program: str | None,
        wanted: Mapping[Lane, bool],
    ) -> None:
        self.session: Session | None = None
        self._health = Health()
        self._been_up = False
        self._returned = trio.Event()
        self.lanes = Lanes(settings.max_onions)
        self.onions: dict[str, Onion] = {}
        self._meetings: dict[Lane, Onion] = {}
        self.settled = trio.Event()
        self._host = host
        self._settings = settings
        self._places = places
        self._program = program
        self._wanted = wanted
        self._late = False
        self._told: tuple[TransportState, str] | None = None
        self._changing = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._channels: WeakSet[TorChannel] = WeakSet()
        self._arriving, self._arrivals = trio.open_memory_channel[tuple[TorChannel, Lane | None]](
            PENDING_INCOMING
        )

    @asynccontextmanager
    async def begun(self) -> AsyncIterator[None]:
        """Run while in the context."""
        with self._arriving, self._arrivals:
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    try:
                        nursery.start_soon(self._hand_over)
                        nursery.start_soon(self._keep_tor)
                        yield
                    finally:
                        self._nursery = None
                        nursery.cancel_scope.cancel()
            finally:
                for channel in list(self._channels):
                    channel.end()

    def late(self) -> None:
        """Tor takes long to connect: go on beside the node's life, and say so."""
        self._late = True
        self.report(*self._health.state())

    def report(self, state: TransportState, detail: str = "") -> None:
        """Tell the node what is new."""
        if state == "starting" and self._late:
            state, detail = "degraded", f"still starting, {detail}"
        if self._told != (state, detail):
            self._told = (state, detail)
            self._host.report(state, detail)
        if state in {"up", "degraded"}:
            self.settled.set()

    # Channels -----------------------------------------------------------------------------------

    def own(self, stream: trio.socket.SocketType) -> TorChannel:
        """Return a channel over a stream, which ends with this run."""
        channel = TorChannel(stream)
        self._channels.add(channel)
        return channel

    def _take(self, stream: trio.socket.SocketType, lane: Lane | None) -> None:
        channel = self.own(stream)
        try:
            self._arriving.send_nowait((channel, lane))
        except trio.WouldBlock:
            channel.end()

    async def _hand_over(self) -> None:
        async for channel, lane in self._arrivals:
            await self._host.incoming(channel, lane)

    # Lanes --------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Serve the lanes that are open and hold the closed; forget what is kept for others."""
        async with self._changing:
            await self.lanes.forget_others(self._host, self._wanted)
        for lane in list(self._wanted):
            if self._wanted.get(lane):
                await self.serve(lane)
                continue
            async with self._changing:
                if lane in self._wanted:
                    await self.lanes.hold(self._host, lane)

    async def serve(self, lane: Lane) -> Onion | None:
        """Let a lane's contact in; None when there is no room, no time, or no wish any more."""
        async with self._changing:
            if not self._wanted.get(lane):
                return None
            held = await self.lanes.hold(self._host, lane)
            if held is None or self._nursery is None:
                return None
            onion = self.onions.get(held.key.service)
            if onion is not None and lane in onion.clients:
                return onion
            if onion is None:
                onion = Onion(held.key, shared=held.shared)
                await onion.listen(self._places.sockets if self._program else None)
                self.onions[held.key.service] = onion
                if not self._start(onion):
                    return None
            onion.clients[lane] = held.client
            await self._publish(onion)
            return onion

    def _start(self, onion: Onion) -> bool:
        """Begin to accept, unless the run has ended meanwhile."""
        if self._nursery is None:
            onion.close()
            return False
        self._nursery.start_soon(onion.accept, self._take)
        return True

    async def meet(self, lane: Lane) -> Onion | None:
        """Let in whoever knows the name of a passing service; None when the run is over."""
        async with self._changing:
            onion = Onion(OnionKey(new_secret()), shared=False)
            await onion.listen(self._places.sockets if self._program else None)
            if not self._start(onion):
                return None
            self.onions[onion.key.service] = self._meetings[lane] = onion
            onion.clients[lane] = b""
            await self._publish(onion)
            return onion

    async def drop(self, lane: Lane) -> None:
        """Let a lane's contact in no more, and forget the keys."""
        async with self._changing:
            meeting = self._meetings.pop(lane, None)
            if meeting is not None:
                meeting.clients.clear()
                meeting.close()
                del self.onions[meeting.key.service]
                await self._publish(meeting)
                await self._cut(meeting)
                return
            await self._shut(lane, await self.lanes.drop(self._host, lane))

    async def close(self, lane: Lane) -> None:
        """Let a lane's contact in no more, until it is served again; keep the keys."""
        async with self._changing:
            if not self._wanted.get(lane):
                await self._shut(lane, self.lanes.held.get(lane))

    async def _shut(self, lane: Lane, held: Held | None) -> None:
        """Withdraw the service of these keys, or from the shared one this lane's client."""
        onion = self.onions.get(held.key.service) if held is not None else None
        if onion is None or onion.clients.pop(lane, None) is None:
            return
        if not onion.clients:
            onion.close()
            del self.onions[onion.key.service]
        await self._publish(onion)
        await self._cut(onion)

    async def _publish(self, onion: Onion) -> None:
        """Tell tor how a service is now. A tor that is gone is told when it is back."""
        if self.session is None:
            return
        with suppress(ControlLost):
            if onion.clients:
                await onion.publish(self.session.control)
            else:
                await onion.withdraw(self.session.control)

    async def _cut(self, onion: Onion) -> None:
        """End what stands with a service's visitors."""
        if self.session is not None:
            with suppress(ControlLost):
                await onion.cut(self.session.control)

    # Tor ----------------------------------------------------------------------------------------

    async def _keep_tor(self) -> None:
        """Have a tor, again and again, until cancelled."""
        retry = FIRST_RETRY
        while True:
            began = trio.current_time()
            reasons: list[str] = []
            try:
                await self._with_tor()
            except* TorFailed as group:
                reasons.append(str(_first(group)))
            except* ControlRefused:
                reasons.append("misconfigured: tor lets us in by no cookie we can read")
            except* ControlLost:
                reasons.append("tor has stopped" if self._program else "no tor takes commands")
            except* CommandFailed:
                reasons.append("misconfigured: tor refuses a command")
            self.report("degraded", reasons[0] if reasons else "tor has stopped")
            if trio.current_time() - began > STEADY:
                retry = FIRST_RETRY
            await trio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY)

    async def _with_tor(self) -> None:
        """Serve as long as one tor lives. Raises groups of what `session` raises."""
        health = self._health = Health()
        self._been_up, self._returned = False, trio.Event()
        session = (
            own_session(self._program, self._settings, self._places, health, self._hear)
            if self._program
            else system_session(self._settings, health, self._hear)
        )
        async with session as here:
            try:
                async with self._changing:
                    for onion in self.onions.values():
                        onion.forgotten()
                        await onion.publish(here.control)
                    self.session = here
                self._hear("")
                while True:
                    await self._returned.wait()
                    self._returned = trio.Event()
                    # Left alone, tor takes minutes to build introduction points again.
                    async with self._changing:
                        for onion in self.onions.values():
                            await onion.publish(here.control)
            finally:
                self.session = None

    def _hear(self, event: str) -> None:
        """Take in what tor tells, and pass on what it means."""
        words = event.split()
        if words[:2] == ["HS_DESC", "UPLOADED"]:
            onion = self.onions.get(words[2])
            if onion is not None:
                onion.published.set()
            return
        before = self._health.up
        self._health.hear(event)
        if self.session is None:
            return
        if self._health.up and not before and self._been_up:
            self._returned.set()
        self._been_up = self._been_up or self._health.up
        self.report(*self._health.state())


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group, however deep."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
