"""Frames over a stream through Tor, as `p2pnode.spi.frames` puts them there."""

import math
from contextlib import suppress

import trio

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.spi.frames import FrameReader, framed
from p2pnode.spi.transport import MAX_FRAME, Channel, Traits

TRAITS = Traits(mtu=MAX_FRAME, reliable=True, ordered=True, metered=False)

FRAME_TIMEOUT = 120.0
"""Seconds in which a frame that has begun must be whole: the largest one crosses a circuit of
1 KiB a second in that time, and half a frame holds a channel open no longer."""

READ_SIZE = 1 << 16
"""Bytes asked of the kernel at once."""


class TorChannel(Channel):
    """A channel over one connected socket, which it owns."""

    traits = TRAITS

    def __init__(self, connected: trio.socket.SocketType) -> None:
        self._socket = connected
        self._frames = FrameReader()
        self._open = True
        if connected.family != trio.socket.AF_UNIX:
            with suppress(OSError):  # a peer that is gone already shows at the first use
                connected.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while Tor takes no more. Cut off within a frame it ends."""
        raw = framed(frame)
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._open:
            raise ChannelClosed
        rest = memoryview(raw)
        try:
            while rest:
                rest = rest[await self._socket.send(rest) :]
        except (OSError, trio.ClosedResourceError):
            self.end()
            raise ChannelClosed from None
        except trio.Cancelled:
            if len(rest) < len(raw):
                self.end()
            raise

    async def receive(self) -> bytes:
        """Return the next frame; a length out of bounds or a frame too slow ends the channel."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                frame = self._frames.take_untrusted()
            except RemoteError:
                self.end()
                raise ChannelClosed from None
            if frame is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return frame
            if not self._open:
                raise ChannelClosed
            await self._read()

    async def _read(self) -> None:
        """Add to the block what has come, at least one byte; else end."""
        began = self._frames.began(trio.current_time())
        end = math.inf if began is None else began + FRAME_TIMEOUT
        fresh = b""
        with suppress(OSError, trio.ClosedResourceError), trio.move_on_at(end):
            fresh = await self._socket.recv(READ_SIZE)
        if not fresh:
            self.end()
            return
        self._frames.add(fresh)

    async def aclose(self) -> None:
        """End the channel."""
        self.end()
        self._frames.clear()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self) -> None:
        """End the channel without waiting."""
        if self._open:
            self._open = False
            self._socket.close()
