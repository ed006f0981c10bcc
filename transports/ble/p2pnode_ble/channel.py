"""A channel as the node sees it: a `Pipe` whose path is looked after by a task of the transport."""

from typing import Protocol

import trio

from p2pnode.errors import ChannelClosed
from p2pnode.spi.transport import MAX_FRAME, Channel, Traits
from p2pnode_ble.pipe import Pipe
from p2pnode_ble.wire import HEADER, MAX_FRAGMENT

TRAITS = Traits(mtu=MAX_FRAGMENT - HEADER, reliable=True, ordered=True, metered=False)


class Waker(Protocol):
    """What a channel tells its path."""

    def wake(self) -> None:
        """Say that there may be something to send."""
        ...


class BleChannel(Channel):
    """One end of a channel over a Bluetooth connection."""

    traits = TRAITS

    def __init__(self, pipe: Pipe, path: Waker) -> None:
        self.pipe = pipe
        self._path = path
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while too many bytes are not on their way. A cancel loses all of
        the frame or nothing."""
        if not 0 < len(frame) <= MAX_FRAME:
            raise ValueError("a frame has 1 to MAX_FRAME bytes")
        await trio.lowlevel.checkpoint()
        while self.pipe.writable and not self.pipe.room:
            await self._changed.park()
        if not self.pipe.writable:
            raise ChannelClosed
        self.pipe.put(bytes(frame))
        self._path.wake()

    async def receive(self) -> bytes:
        """Return the next frame; what came before the end is still returned after it."""
        await trio.lowlevel.checkpoint()
        while not self._closed:
            frame = self.pipe.take(trio.current_time())
            if frame is not None:
                self._path.wake()
                return frame
            if self.pipe.ended:
                break
            await self._changed.park()
        raise ChannelClosed

    async def opened(self) -> None:
        """Return when the other side has answered. Raises ChannelClosed."""
        await trio.lowlevel.checkpoint()
        while not self.pipe.established and not self.pipe.ended:
            await self._changed.park()
        if self.pipe.ended:
            raise ChannelClosed

    async def aclose(self) -> None:
        """End the channel; what was sent before travels on for a while."""
        self.end()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self) -> None:
        """End the channel without waiting."""
        self._closed = True
        self.pipe.close(trio.current_time())
        self.tell()
        self._path.wake()

    def tell(self) -> None:
        """Wake whoever waits: something may have changed."""
        self._changed.unpark_all()
