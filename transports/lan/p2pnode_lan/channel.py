"""Frames over TCP, as `p2pnode.spi.frames` puts them on a stream.

The socket is used directly, not through a trio stream: many frames are taken from one `recv`, and
a frame that fits into the kernel's buffer is sent without giving up the turn. Every `YIELD_AFTER`
bytes both give it up all the same, so that one busy channel starves nobody.
"""

import math
import socket
from contextlib import suppress

import trio

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.spi.frames import LENGTH, FrameReader, framed
from p2pnode.spi.transport import MAX_FRAME, Channel, Traits

TRAITS = Traits(mtu=MAX_FRAME, reliable=True, ordered=True, metered=False)

FRAME_TIMEOUT = 30.0
"""Seconds in which a frame that has begun must be whole: longer than TCP needs to get over a cut
of 20 s, short enough that half a frame holds a channel open for no longer."""

UNACKED_TIMEOUT = 40_000
"""Milliseconds sent bytes may stay unacknowledged before the kernel ends the path."""

READ_SIZE = 1 << 18
"""Bytes asked of the kernel at once."""

YIELD_AFTER = 1 << 17
"""Bytes after which a task that never waits lets others run."""


class LanChannel(Channel):
    """A channel over one connected TCP socket, which it owns."""

    traits = TRAITS

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with suppress(OSError):  # a peer that is gone already shows at the first use
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_TIMEOUT)
        self._socket = connected
        self._frames = FrameReader()
        self._unyielded = 0
        self._open = True

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while the kernel's buffer is full."""
        size = len(frame)
        if not 0 < size <= MAX_FRAME:
            raise ValueError("a frame has 1 to MAX_FRAME bytes")
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._open:
            raise ChannelClosed
        whole = LENGTH + size
        try:
            sent = self._socket.sendmsg((size.to_bytes(LENGTH, "big"), frame))
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            raise ChannelClosed from None
        if sent < whole:
            await self._send_rest(framed(frame), sent)
            self._unyielded = 0
            return
        self._unyielded += whole
        if self._unyielded >= YIELD_AFTER:
            self._unyielded = 0
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _send_rest(self, raw: bytes, sent: int) -> None:
        """Send what is left; a cancel between two halves of a frame ends the channel."""
        rest = memoryview(raw)[sent:]
        try:
            while rest:
                await trio.lowlevel.wait_writable(self._socket)
                with suppress(BlockingIOError):
                    rest = rest[self._socket.send(rest) :]
        except (OSError, trio.ClosedResourceError):
            self._end()
            raise ChannelClosed from None
        except trio.Cancelled:
            if len(rest) < len(raw):
                self._end()
            raise

    async def receive(self) -> bytes:
        """Return the next frame; a length out of bounds or a frame too slow ends the channel."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                frame = self._frames.take_untrusted()
            except RemoteError:
                self._end()
                raise ChannelClosed from None
            if frame is not None:
                return frame
            if not self._open:
                raise ChannelClosed
            await self._read()

    async def _read(self) -> None:
        """Add to the block what the kernel has, at least one byte."""
        began = self._frames.began(trio.current_time())
        end = math.inf if began is None else began + FRAME_TIMEOUT
        try:
            fresh = await self._recv(end)
        except (OSError, trio.ClosedResourceError):
            fresh = b""
        if not fresh:
            self._end()
            return
        self._frames.add(fresh)

    async def _recv(self, end: float) -> bytes:
        """Return what came, b"" at the end of the stream or when time is over."""
        with suppress(BlockingIOError):
            fresh = self._socket.recv(READ_SIZE)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return fresh
        with trio.move_on_at(end):
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                with suppress(BlockingIOError):
                    return self._socket.recv(READ_SIZE)
        return b""

    async def aclose(self) -> None:
        """End the channel."""
        self._end()
        self._frames.clear()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self) -> None:
        """End the channel without waiting, for the transport's own end."""
        self._end()

    def _end(self) -> None:
        if self._open:
            self._open = False
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
