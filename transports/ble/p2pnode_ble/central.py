"""The central role through bleak: scans, connects, subscribes to TX, writes to RX.

bleak is imported when the radio is opened: without it the transport is unavailable, no more. Stacks
dislike scanning and connecting at the same time, so one pauses for the other.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from p2pnode_ble.air import (
    RX,
    SERVICE,
    TX,
    AirDown,
    Arrived,
    Ended,
    Overtaken,
    PathEnded,
    Sighted,
    Tell,
)
from p2pnode_ble.wire import MAX_FRAGMENT, MIN_FRAGMENT

if TYPE_CHECKING:
    from bleak import BleakClient, BleakScanner
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

MAX_SIGHTED = 256
"""Addresses remembered, the latest ones: a flood of false ones costs no more than this."""

TELL_AGAIN = 10.0
"""Seconds before an address that is seen all the time is told again."""

CONNECT_TIME = 12.0
"""Seconds to connect and to learn what the other side offers."""

SEEK_TIME = 6.0
"""Seconds to find an address again that was seen before and that the stack has forgotten since."""

AT_ONCE = 1.0
"""Seconds within which an attempt that fails is made once more."""

GLANCE = 0.2
"""Seconds between two looks at whether the other side was faster to connect."""

DROP_TIME = 5.0
"""Seconds a polite end may take; BlueZ waits for 2 s before it begins."""

WRITE_TIME = 20.0
"""Seconds the stack may take for one write: longer means that the link is dead."""


class Backend(Protocol):
    """Makes bleak's two objects, on whatever they shall run."""

    def scanner(self, found: "Callable[[BLEDevice, AdvertisementData], None]") -> "BleakScanner":
        """Return a scanner for the one service."""
        ...

    def client(self, device: "BLEDevice", gone: "Callable[[BleakClient], None]") -> "BleakClient":
        """Return a client for a device that was found. It must not give up by itself."""
        ...

    async def knows(self, device: "BLEDevice") -> bool:
        """Tell whether the stack still knows a device that it found once."""
        return True

    async def forget(self, device: "BLEDevice") -> None:
        """Let the stack forget whom nobody is connected to; never raises.

        What it remembers of a device is written to disk, and may be out of date the next time.
        """


@dataclass(slots=True)
class _Path:
    client: "BleakClient"
    device: "BLEDevice"
    rx: "BleakGATTCharacteristic"


class Central:
    """All connections this node makes.

    serves: tells whether an address has a connection in the other role. When both sides connect at
    once, one fails: ending what is one connection underneath would take the good one with it.
    """

    def __init__(
        self,
        backend: Backend,
        tell: Tell,
        numbers: "count[int]",
        serves: Callable[[str], bool],
    ) -> None:
        self._serves = serves
        self._backend = backend
        self._tell = tell
        self._numbers = numbers
        self._sighted: OrderedDict[str, tuple[BLEDevice, float]] = OrderedDict()
        self._scanner: BleakScanner | None = None
        self._wanted = False
        self._turn = asyncio.Lock()
        self._seen = asyncio.Event()
        self._paths: dict[int, _Path] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: dict[str, asyncio.Task[None]] = {}

    async def scan(self, wanted: bool) -> None:
        """Begin or stop to look for others. Raises AirDown."""
        self._wanted = wanted
        async with self._turn:
            await self._follow_wish()

    async def connect(self, address: str) -> int:
        """Return a path to an address that was sighted. Raises PathEnded and Overtaken."""
        async with self._turn:
            try:
                for _ in range(2):
                    if (path := await self._tried(address)) is not None:
                        return path
                raise PathEnded
            finally:
                with suppress(AirDown):
                    await self._follow_wish()

    async def _tried(self, address: str) -> int | None:
        """Return a path, or None when it failed at once. Raises PathEnded and Overtaken.

        Then the stack has dropped what it knew of the address, or is about to.
        """
        device = await self._sought(address)
        with suppress(AirDown):
            await self._pause()
        soon = asyncio.get_running_loop().time() + AT_ONCE
        try:
            return await self._reach(device)
        except Overtaken:
            raise
        except PathEnded:
            if asyncio.get_running_loop().time() > soon:
                raise
        return None

    def size(self, path: int) -> int | None:
        """Return the bytes a write may have; None for a path of another role."""
        known = self._paths.get(path)
        if known is None:
            return None
        # On BlueZ this says 20 until the exchange of MTUs is over; `mtu_size` says 23 for ever.
        reported = known.rx.max_write_without_response_size
        return max(MIN_FRAGMENT, min(reported, MAX_FRAGMENT))

    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        """Write fragments, each when the stack has taken the one before. Raises PathEnded."""
        known = self._paths.get(path)
        if known is None:
            raise PathEnded
        try:
            async with asyncio.timeout(WRITE_TIME):
                for fragment in fragments:
                    await known.client.write_gatt_char(known.rx, fragment, response=False)
        except Exception as failure:  # whatever a foreign library fails with
            raise PathEnded from failure

    async def drop(self, path: int) -> None:
        """End a connection; never raises."""
        known = self._paths.pop(path, None)
        if known is not None:
            await self._leave(known.client, known.device)

    async def close(self) -> None:
        """End everything; never raises."""
        self._wanted = False
        async with self._turn:
            with suppress(AirDown):
                await self._pause()
        await asyncio.gather(*(self.drop(path) for path in list(self._paths)))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow_wish(self) -> None:
        await (self._look() if self._wanted else self._pause())

    async def _look(self) -> None:
        if self._scanner is not None:
            return
        self._scanner = scanner = self._backend.scanner(self._found)
        starting = self._keep(scanner.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Nobody could stop a scan whose beginning was cut off: BlueZ takes it for begun.
            await asyncio.wait({starting}, timeout=DROP_TIME)
            raise
        except Exception as failure:  # whatever a foreign library fails with
            self._scanner = None
            raise AirDown("scanning does not work") from failure

    async def _pause(self) -> None:
        scanner, self._scanner = self._scanner, None
        if scanner is not None:
            try:
                await scanner.stop()
            except Exception as failure:  # whatever a foreign library fails with
                raise AirDown("scanning does not work") from failure

    def _found(self, device: "BLEDevice", advertisement: "AdvertisementData") -> None:
        if SERVICE not in advertisement.service_uuids:
            return
        now = asyncio.get_running_loop().time()
        _, told = self._sighted.pop(device.address, (None, float("-inf")))
        if told + TELL_AGAIN <= now:
            told = now
            self._tell(Sighted(device.address))
        self._sighted[device.address] = device, told
        self._seen.set()
        while len(self._sighted) > MAX_SIGHTED:
            self._sighted.popitem(last=False)

    async def _sought(self, address: str) -> "BLEDevice":
        """Return what the stack knows an address by; look for it where that was forgotten."""
        try:
            async with asyncio.timeout(SEEK_TIME):
                while True:
                    known, _ = self._sighted.get(address, (None, 0.0))
                    if known is not None and await self._backend.knows(known):
                        return known
                    self._sighted.pop(address, None)
                    self._seen.clear()
                    await self._look()
                    await self._seen.wait()
        except (AirDown, TimeoutError) as failure:
            raise PathEnded from failure

    async def _reach(self, device: "BLEDevice") -> int:
        path = next(self._numbers)

        def gone(client: "BleakClient") -> None:
            if self._paths.pop(path, None) is not None:
                self._tell(Ended(path))
            self._keep(self._let_go(client, device))

        def notified(_: "BleakGATTCharacteristic", raw: bytearray) -> None:
            self._tell(Arrived(path, bytes(raw)))

        client = self._backend.client(device, gone)
        try:
            async with asyncio.timeout(CONNECT_TIME):
                await self._connected(client, device.address)
                rx = client.services.get_characteristic(RX)
                tx = client.services.get_characteristic(TX)
                if rx is None or tx is None:
                    raise PathEnded
                self._paths[path] = _Path(client, device, rx)
                await client.start_notify(tx, notified)
            if path not in self._paths:
                raise PathEnded
        except BaseException as failure:
            self._paths.pop(path, None)
            await asyncio.shield(self._leave(client, device))
            if isinstance(failure, Overtaken):
                raise
            if isinstance(failure, Exception):  # whatever a foreign library fails with
                raise PathEnded from failure
            raise
        return path

    async def _connected(self, client: "BleakClient", address: str) -> None:
        """Connect. Raises Overtaken when the other side has connected to us meanwhile.

        Giving up then would end what is one connection underneath. So bleak is left to itself: it
        ends, one way or the other, with that connection.
        """
        if self._serves(address):
            raise Overtaken
        await self._give_up(self._left.get(address))
        connecting = self._keep(client.connect())
        try:
            while not connecting.done():
                if self._serves(address):
                    self._left[address] = connecting
                    raise Overtaken
                await asyncio.wait({connecting}, timeout=GLANCE)
        except asyncio.CancelledError:
            if not self._serves(address):
                await self._give_up(connecting)
            raise
        connecting.result()

    async def _give_up(self, connecting: asyncio.Task[None] | None) -> None:
        """End an attempt to connect, if it goes on."""
        if connecting is not None and not connecting.done():
            connecting.cancel()
            await asyncio.wait({connecting}, timeout=DROP_TIME)

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something to its end, whatever that is."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._left = {address: left for address, left in self._left.items() if left is not task}
        if not task.cancelled():
            task.exception()  # who waits for it has seen it; else it does not matter

    async def _leave(self, client: "BleakClient", device: "BLEDevice") -> None:
        """Disconnect, unless the other side uses the same connection."""
        if not self._serves(device.address):
            await self._let_go(client, device)

    async def _let_go(self, client: "BleakClient", device: "BLEDevice") -> None:
        """Disconnect, or release what a client holds after its end; then be forgotten."""
        self._sighted.pop(device.address, None)
        with suppress(Exception):  # whatever a foreign library fails with: it is gone, then
            async with asyncio.timeout(DROP_TIME):
                await client.disconnect()
        if not self._serves(device.address):
            await self._backend.forget(device)
