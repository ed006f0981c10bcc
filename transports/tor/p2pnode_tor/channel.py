"""Frames over a stream through Tor: four bytes of length, big-endian, then the frame."""

from contextlib import suppress

import trio

from p2pnode.errors import ChannelClosed
from p2pnode.spi.transport import MAX_FRAME, Channel, Traits

TRAITS = Traits(mtu=MAX_FRAME, reliable=True, ordered=True, metered=False, latency="high")

LENGTH = 4
"""Bytes before a frame that tell its length."""

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
        self._block = b""  # what came, with the beginning of a frame before it
        self._at = 0  # how much of the block is used up
        self._begun: float | None = None  # when the unfinished frame in the block began
        self._open = True
        if connected.family != trio.socket.AF_UNIX:
            with suppress(OSError):  # a peer that is gone already shows at the first use
                connected.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while Tor takes no more. Cut off within a frame it ends."""
        if not 0 < len(frame) <= MAX_FRAME:
            raise ValueError("a frame has 1 to MAX_FRAME bytes")
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._open:
            raise ChannelClosed
        raw = len(frame).to_bytes(LENGTH, "big") + frame
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
            frame = self._next_frame_untrusted()
            if frame is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return frame
            if not self._open:
                raise ChannelClosed
            await self._read()

    def _next_frame_untrusted(self) -> bytes | None:
        """Take a whole frame off the block; None when there is none (yet, or any more)."""
        start = self._at + LENGTH
        if len(self._block) < start:
            return None
        size = int.from_bytes(self._block[self._at : start], "big")
        if not 0 < size <= MAX_FRAME:
            self.end()
            return None
        if len(self._block) < start + size:
            return None
        self._at = start + size
        self._begun = None
        return self._block[start : self._at]

    async def _read(self) -> None:
        """Add to the block what has come, at least one byte; else end."""
        rest = self._block[self._at :]
        if rest and self._begun is None:
            self._begun = trio.current_time()
        end = float("inf") if self._begun is None else self._begun + FRAME_TIMEOUT
        fresh = b""
        with suppress(OSError, trio.ClosedResourceError), trio.move_on_at(end):
            fresh = await self._socket.recv(READ_SIZE)
        if not fresh:
            self.end()
            return
        self._block = rest + fresh if rest else fresh
        self._at = 0

    async def aclose(self) -> None:
        """End the channel."""
        self.end()
        self._block, self._at = b"", 0
        await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self) -> None:
        """End the channel without waiting."""
        if self._open:
            self._open = False
            self._socket.close()
