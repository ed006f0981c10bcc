"""One Bluetooth connection: a `Line` between the air in the asyncio thread and the channels."""

from collections.abc import Callable
from contextlib import suppress
from weakref import WeakValueDictionary

import trio

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.spi.bridge import Bridge, BridgeClosed
from p2pnode_ble.air import Air, PathEnded
from p2pnode_ble.channel import BleChannel
from p2pnode_ble.line import Line
from p2pnode_ble.pipe import Pipe
from p2pnode_ble.wire import decode_untrusted

BATCH = 16
"""Fragments given to the asyncio thread at once: a hop between threads costs as much as a few."""

IDLE = 5.0
"""Seconds without a channel after which a connection we made is ended."""

IDLE_PERIPHERAL = 30.0
"""Seconds without a channel after which one somebody else made is: he should do it himself."""

FAREWELL_TIME = 1.0
"""Seconds that telling the other side of the end may take."""


class Path:
    """The channels over one connection. `ended` is set once it is gone.

    accept: takes a channel the other side opened, or says no. needed: tells whether the connection
    must stay, though this path has no channel.
    """

    def __init__(
        self,
        number: int,
        address: str,
        line: Line,
        *,
        air: Air,
        bridge: Bridge,
        central: bool,
        accept: Callable[[BleChannel], bool],
        needed: Callable[["Path"], bool],
    ) -> None:
        self.address = address
        self.number = number
        self.central = central
        self.ended = False
        self._line = line
        self._air = air
        self._bridge = bridge
        self._idle_time = IDLE if central else IDLE_PERIPHERAL
        self._accept = accept
        self._needed = needed
        self._channels: WeakValueDictionary[int, BleChannel] = WeakValueDictionary()
        self._woken = trio.Event()

    @property
    def idle(self) -> bool:
        """Whether it has no channel."""
        return self._line.idle

    def open(self) -> BleChannel:
        """Begin to open a channel. Raises ChannelClosed when there are too many."""
        opened = None if self.ended else self._line.open(trio.current_time())
        if opened is None:
            raise ChannelClosed
        self.wake()
        return self._channel(opened[1])

    def arrived_untrusted(self, raw: bytes) -> None:
        """Take foreign bytes; those that make no sense are passed over."""
        try:
            fragment = decode_untrusted(raw)
            fresh = self._line.receive_untrusted(fragment, trio.current_time())
        except RemoteError:
            fresh = None
        if fresh is not None and not self._accept(self._channel(fresh)):
            fresh.reset()
        self.wake()
        self._tell()

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._woken.set()

    async def serve(self) -> None:
        """Send what there is to send, until the connection ends or is not needed any more."""
        try:
            idle_since = trio.current_time()
            while not self.ended:
                self._woken = trio.Event()
                await self._send()
                now = trio.current_time()
                if not self._line.idle or self._needed(self):
                    idle_since = now
                elif now >= idle_since + self._idle_time:
                    return
                due = self._line.due(now)
                if self._line.idle:
                    due = min(due, idle_since + self._idle_time)
                await trio.lowlevel.checkpoint()
                with trio.move_on_at(due):
                    await self._woken.wait()
        except (PathEnded, BridgeClosed):
            self.end()
        finally:
            with trio.CancelScope(shield=True):
                await self._leave()

    def end(self) -> None:
        """End all channels at once: the connection is gone."""
        self.ended = True
        self._line.vanish()
        self._tell()
        self.wake()

    async def _send(self) -> None:
        """Hand over what may be sent now, in small batches."""
        while True:
            now = trio.current_time()
            size = self._air.size(self.number)
            batch: list[bytes] = []
            while len(batch) < BATCH:
                raw = self._line.outgoing(now, size)
                if raw is None:
                    break
                batch.append(raw)
            self._tell()
            if not batch:
                return
            await self._bridge.run(self._air.transmit, self.number, batch)

    async def _leave(self) -> None:
        """Tell the other side as far as it goes, and disconnect."""
        said = [] if self.ended else self._line.farewell(trio.current_time())
        self.end()
        with suppress(PathEnded, BridgeClosed):
            if said:
                with trio.move_on_after(FAREWELL_TIME):
                    await self._bridge.run(self._air.transmit, self.number, said)
        with suppress(BridgeClosed):
            await self._bridge.run(self._air.drop, self.number)

    def _channel(self, pipe: Pipe) -> BleChannel:
        channel = BleChannel(pipe, self)
        self._channels[id(pipe)] = channel
        return channel

    def _tell(self) -> None:
        for channel in list(self._channels.values()):
            channel.tell()
