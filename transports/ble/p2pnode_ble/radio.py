"""A radio that works: who is near, the paths to them, and when to look and to be seen."""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from typing import ParamSpec

import trio

from p2pnode.errors import ChannelClosed
from p2pnode.spi.bridge import Bridge, BridgeClosed
from p2pnode.spi.transport import MAX_ADDRESS, Address, Channel, Host
from p2pnode_ble.air import (
    Air,
    AirDown,
    Arrived,
    Down,
    Ended,
    Event,
    Joined,
    Overtaken,
    PathEnded,
    Sighted,
)
from p2pnode_ble.channel import BleChannel
from p2pnode_ble.line import Line
from p2pnode_ble.path import Path
from p2pnode_ble.pipe import Times
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.wire import LINE

EVENTS = 4_096
"""What the stack told and was not read yet; more is dropped, and sent again by the other side."""

MAX_KNOWN = 256
"""Addresses known at once, the latest ones."""

OWN_SHARE = 2
"""Connections that only we can make: others must not be able to take them all."""

POLITE_WAIT = 3.0
"""Seconds within which either of two nodes that see each other dials first, at random."""

SCANS = {"always": (30.0, 0.0), "balanced": (10.0, 20.0), "low": (6.0, 114.0)}
"""Seconds to look for others, and to rest, by the setting `power`."""

FORGET = 3
"""Rounds of looking and resting, and a minute, after which who was not seen is gone."""

EPOCH = (600.0, 840.0)
"""Seconds until the advertisement begins anew, drawn each time. Under the kernel's own 900 for a
private address, so that where a new advertisement means a new address nothing else changes it."""

FIRST_EPOCH = 20.0
"""Seconds until it begins anew for the first time: one that was registered while an old connection
was going down may not be on the air."""

QUIET = 10.0
"""Seconds without a word after which a path without a channel is not used for a new one."""

OVERTAKEN_TIME = 5.0
"""Seconds in which somebody who connected to us while we tried opens a channel."""

TRIES, TRY_AGAIN = 4, 5.0
"""How often, and every how many seconds, a controller that refuses something is asked."""

CLOSE_TIME = 20.0
"""Seconds that taking everything back may take."""

Arguments = ParamSpec("Arguments")

_random = SystemRandom()


@dataclass(slots=True)
class _Attempt:
    done: trio.Event = field(default_factory=trio.Event)
    path: Path | None = None


class Radio:
    """Runs once. accept: takes a channel the other side opened, or says no."""

    def __init__(
        self,
        air: Air,
        bridge: Bridge,
        host: Host,
        settings: BleSettings,
        times: Times,
        accept: Callable[[BleChannel], bool],
    ) -> None:
        self._air, self._bridge, self._host = air, bridge, host
        self._settings, self._times, self._accept = settings, times, accept
        self._known: dict[Address, float] = {}
        self._paths: dict[int, Path] = {}
        self._heard: dict[int, float] = {}
        self._gone = trio.Event()
        self._attempts: dict[Address, _Attempt] = {}
        self._nursery: trio.Nursery | None = None
        self._failure: AirDown | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled or the radio fails; call ready when others can find us.

        Raises AirDown, and TransportUnavailable when it can never work.
        """
        put: Callable[[Event], None]
        events: trio.MemoryReceiveChannel[Event]
        put, events = self._bridge.inbox(EVENTS)
        try:
            await self._ask(self._air.open, put)
            await self._ask(self._air.advertise)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._follow, events)
                nursery.start_soon(self._advertise)
                nursery.start_soon(self._look)
                ready()
        finally:
            self._nursery = None
            with trio.CancelScope(shield=True):
                await self._close(events)
        if self._failure is not None:
            raise self._failure

    async def _close(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        for address in self._known:
            self._host.lost(address)
        self._known.clear()
        with trio.move_on_after(CLOSE_TIME), suppress(BridgeClosed):
            await self._bridge.run(self._air.close)
        events.close()

    async def _ask(
        self,
        function: Callable[Arguments, Awaitable[None]],
        *args: Arguments.args,
        **settings: Arguments.kwargs,
    ) -> None:
        """Call the air. Raises AirDown, also when the stack gives up by itself."""
        try:
            await self._bridge.run(function, *args, **settings)
        except BridgeClosed as failure:
            raise AirDown("Bluetooth does not work here") from failure

    def _fail(self, failure: AirDown) -> None:
        self._failure = self._failure or failure
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # Seeing and being seen ----------------------------------------------------------------------

    async def _advertise(self) -> None:
        """Begin anew from time to time: nothing on the air outlives an epoch but the service."""
        await trio.sleep(FIRST_EPOCH)
        while True:
            if not await self._insist(self._air.advertise):
                break
            await trio.sleep(_random.uniform(*EPOCH))

    async def _look(self) -> None:
        looking, resting = SCANS[self._settings.power]
        while await self._insist(self._air.scan, True):
            await trio.sleep(looking)
            self._forget(FORGET * (looking + resting) + 60.0)
            # Even without a rest it begins anew: BlueZ tells of who stays, at the same strength,
            # only once.
            if not await self._insist(self._air.scan, False):
                break
            await trio.sleep(resting * _random.uniform(0.75, 1.25))

    async def _insist(
        self,
        function: Callable[Arguments, Awaitable[None]],
        *args: Arguments.args,
        **settings: Arguments.kwargs,
    ) -> bool:
        """Call the air until it obeys; when it does not the radio fails, and False is returned.

        A busy controller refuses things. That alone is no reason to end all connections.
        """
        for left in reversed(range(TRIES)):
            try:
                await self._ask(function, *args, **settings)
            except AirDown as failure:
                if not left:
                    self._fail(failure)
                    break
                await trio.sleep(TRY_AGAIN)
            else:
                return True
        return False

    def _forget(self, age: float) -> None:
        """Drop addresses that were not seen for that many seconds."""
        limit = trio.current_time() - age
        for address in [one for one, seen in self._known.items() if seen < limit]:
            del self._known[address]
            self._host.lost(address)

    def _sighted_untrusted(self, text: str) -> None:
        address = Address(text.encode())
        if not 0 < len(address) <= MAX_ADDRESS:
            return
        known = self._known.pop(address, None)
        self._known[address] = trio.current_time()
        if known is None:
            self._host.encountered(address, after=_random.uniform(0, POLITE_WAIT))
            while len(self._known) > MAX_KNOWN:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._host.lost(oldest)

    # What the stack tells -----------------------------------------------------------------------

    async def _follow(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        async for event in events:
            match event:
                case Arrived(number, raw):
                    if number in self._paths:
                        path, self._heard[number] = self._paths[number], trio.current_time()
                        path.arrived_untrusted(raw)
                        self._settle(path)
                case Sighted(text):
                    self._sighted_untrusted(text)
                case Joined(number, text):
                    self._joined(number, text)
                case Ended(number):
                    if number in self._paths:
                        self._paths[number].end()
                case Down(reason):
                    self._fail(AirDown(reason))

    def _joined(self, number: int, text: str) -> None:
        if self._nursery is None:
            return
        most = max(1, self._settings.max_links - OWN_SHARE)
        incoming = sum(not path.central for path in self._paths.values())
        if len(self._paths) >= self._settings.max_links or incoming >= most:
            self._nursery.start_soon(self._bridge.run, self._air.drop, number)
            return
        self._begin(number, text, Line(None, times=self._times), central=False)

    def _begin(self, number: int, text: str, line: Line, *, central: bool) -> Path:
        assert self._nursery is not None
        path = Path(
            number,
            text,
            line,
            air=self._air,
            bridge=self._bridge,
            central=central,
            accept=self._accept,
            needed=self._shared,
        )
        self._paths[number], self._heard[number] = path, trio.current_time()
        self._nursery.start_soon(self._serve, path)
        return path

    def _shared(self, path: Path) -> bool:
        """Tell whether another path to the same address has channels.

        When both sides connect at the same moment there may be two paths over what is one
        connection underneath: ending the idle one would end the other.
        """
        return any(
            other is not path and other.address == path.address and not other.idle
            for other in self._paths.values()
        )

    async def _serve(self, path: Path) -> None:
        try:
            await path.serve()
        finally:
            del self._paths[path.number], self._heard[path.number]
            self._gone.set()
            self._gone = trio.Event()

    # Dialling -----------------------------------------------------------------------------------

    async def dial(self, address: Address) -> Channel:
        """Open a channel to an address that was seen, over the connection there is if there is one.

        A second connection between the same two adapters would be the same one underneath, and
        ending either would end both. Raises ChannelClosed.
        """
        path = self._standing(address)
        if path is not None and path.idle and self._quiet(path):
            await self._end(path)
            path = None
        path = path or await self._connected(address)
        channel = path.open()
        try:
            await channel.opened()
        except ChannelClosed:
            channel.end()
            if path.idle:
                await self._end(path)
            raise
        except BaseException:
            channel.end()
            raise
        return channel

    def _quiet(self, path: Path) -> bool:
        """Tell whether nothing has come over a path for long."""
        return self._heard[path.number] + QUIET < trio.current_time()

    async def _end(self, path: Path) -> None:
        """End a path and wait until it is gone.

        When the program at its other end was killed it would stand, and answer nobody, for ever.
        """
        path.end()
        while path.number in self._paths:
            await self._gone.wait()

    def _standing(self, address: Address) -> Path | None:
        text = bytes(address).decode("utf-8", "replace")
        fits = [one for one in self._paths.values() if one.address == text and not one.ended]
        return fits[0] if fits else None

    async def _connected(self, address: Address) -> Path:
        attempt = self._attempts.get(address)
        if attempt is None:
            full = len(self._paths) + len(self._attempts) >= self._settings.max_links
            if address not in self._known or full or self._nursery is None:
                await trio.lowlevel.checkpoint()
                raise ChannelClosed
            attempt = self._attempts[address] = _Attempt()
            self._nursery.start_soon(self._connect, address, attempt)
        await attempt.done.wait()
        if attempt.path is None:
            raise ChannelClosed
        return attempt.path

    def _settle(self, path: Path) -> None:
        """End the wait of who dials an address that has opened a channel to us meanwhile."""
        attempt = self._attempts.get(Address(path.address.encode()))
        if attempt is not None and not path.idle and not path.ended:
            attempt.path = attempt.path or path
            attempt.done.set()

    async def _connect(self, address: Address, attempt: _Attempt) -> None:
        """Connect for all who want to, whether or not they still wait."""
        text = bytes(address).decode()
        try:
            number = await self._bridge.run(self._air.connect, text)
            line = Line(secrets.token_bytes(LINE), times=self._times)
            made = self._begin(number, text, line, central=True)
            attempt.path = attempt.path or made
        except Overtaken:
            with trio.move_on_after(OVERTAKEN_TIME):  # its first fragment is on its way
                await attempt.done.wait()
        except (PathEnded, BridgeClosed):
            pass  # nobody answers
        finally:
            del self._attempts[address]
            attempt.done.set()
