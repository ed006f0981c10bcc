"""A custom transport: nodes of one machine meet in a directory of Unix sockets.

Each running node listens on a socket with a random name; who else is there is seen by looking
into the directory. It is small, and whole: the conformance kit passes.
"""

import os
import re
import secrets
from pathlib import Path

import trio

from p2pnode.errors import ChannelClosed, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.transport import (
    MAX_FRAME,
    Address,
    Channel,
    Check,
    Host,
    Settings,
    Traits,
    Transport,
)

TRAITS = Traits(mtu=MAX_FRAME, reliable=True, ordered=True, metered=False, latency="low")

LENGTH = 4
"""Bytes before each frame that tell its length, big-endian."""

LOOK_EVERY = 1.0
"""Seconds between looks into the directory."""

POLITE_WAIT = 2.0
"""Seconds the node with the higher name leaves the first dial to the other."""

PENDING = 16
"""Channels that wait for the node to take them; more are closed at once."""

_NAME = re.compile(r"[0-9a-f]{16}")


class DirectorySettings(Settings, frozen=True):
    """The table `[transports.directory]`. path: a directory all nodes here can write to."""

    path: str = ""


class SocketChannel(Channel):
    """Frames over a stream: a length, then the frame."""

    traits = TRAITS

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._came = bytearray()

    async def send(self, frame: bytes) -> None:
        """Send one frame; cancelled in the middle of it, the channel ends."""
        if not 0 < len(frame) <= MAX_FRAME:
            raise ValueError("a frame has 1 to MAX_FRAME bytes")
        try:
            await self._stream.send_all(len(frame).to_bytes(LENGTH, "big") + frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end()
            raise ChannelClosed from None
        except trio.Cancelled:
            self.end()
            raise

    async def receive(self) -> bytes:
        """Return the next frame. What has come so far is kept when the wait is cancelled."""
        await self._until(LENGTH)
        size = int.from_bytes(self._came[:LENGTH], "big")
        if not 0 < size <= MAX_FRAME:
            self.end()
            raise ChannelClosed
        await self._until(LENGTH + size)
        frame = bytes(self._came[LENGTH : LENGTH + size])
        del self._came[: LENGTH + size]
        return frame

    async def _until(self, count: int) -> None:
        while len(self._came) < count:
            try:
                fresh = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                fresh = b""
            if not fresh:
                self.end()
                raise ChannelClosed
            self._came += fresh

    async def aclose(self) -> None:
        """End the channel."""
        self.end()
        self._came.clear()
        await trio.lowlevel.cancel_shielded_checkpoint()

    @property
    def ended(self) -> bool:
        """Whether it has ended on this side."""
        return self._stream.socket.fileno() < 0

    def end(self) -> None:
        """End it at once."""
        self._stream.socket.close()


class DirectoryTransport(Transport):
    """Unix sockets with random names in one directory."""

    name = "directory"
    settings_type = DirectorySettings

    def __init__(self, settings: DirectorySettings) -> None:
        super().__init__(settings)
        self._path = Path(settings.path)
        self._own = ""
        self._lanes: set[Lane] = set()
        self._channels: set[SocketChannel] = set()
        self._pending = 0

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen and look around until cancelled."""
        host.report("starting")
        own = secrets.token_hex(8)
        door = trio.socket.socket(trio.socket.AF_UNIX)
        try:
            try:
                await door.bind(str(self._path / own))
            except OSError as failure:
                raise TransportUnavailable(
                    "the directory transport cannot listen",
                    why=failure.strerror or "the path is too long",
                    hint="set path to a directory this node may write to",
                ) from failure
            door.listen()
            self._own = own
            host.report("up")
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look, host)
                listener = trio.SocketListener(door)
                while True:
                    nursery.start_soon(self._arrived, host, await listener.accept())
        finally:
            self._own = ""
            door.close()
            (self._path / own).unlink(missing_ok=True)
            for channel in self._channels:
                channel.end()
            self._channels.clear()
            host.report("off")

    async def _look(self, host: Host) -> None:
        """Tell the node who came and who went."""
        known: set[str] = set()
        while True:
            there = {name for name in os.listdir(self._path) if _NAME.fullmatch(name)}
            there.discard(self._own)
            for name in there - known:
                after = 0.0 if self._own < name else POLITE_WAIT
                host.encountered(Address(name.encode()), after=after)
            for name in known - there:
                host.lost(Address(name.encode()))
            known = there
            await trio.sleep(LOOK_EVERY)

    async def _arrived(self, host: Host, stream: trio.SocketStream) -> None:
        channel = self._keep(stream)
        if self._pending >= PENDING:
            channel.end()
            return
        self._pending += 1
        try:
            await host.incoming(channel)
        finally:
            self._pending -= 1

    def _keep(self, stream: trio.SocketStream) -> SocketChannel:
        """Remember a channel, so that it ends with `run`; forget those that have ended."""
        self._channels = {one for one in self._channels if not one.ended}
        channel = SocketChannel(stream)
        self._channels.add(channel)
        return channel

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel to a socket in the directory, and to nothing outside it."""
        await trio.lowlevel.checkpoint()
        name = address.decode("ascii", "replace")
        if not self._own or not _NAME.fullmatch(name):
            raise ChannelClosed
        try:
            return self._keep(await trio.open_unix_socket(str(self._path / name)))
        except OSError:
            raise ChannelClosed from None

    async def addresses(self, lane: Lane) -> list[Address]:
        """Return our socket's name, to those who hold an open lane."""
        await trio.lowlevel.checkpoint()
        return [Address(self._own.encode())] if self._own and lane in self._lanes else []

    async def open(self, lane: Lane) -> None:
        """Serve a lane."""
        await trio.lowlevel.checkpoint()
        self._lanes.add(lane)

    async def revoke(self, lane: Lane) -> None:
        """Stop serving it."""
        await trio.lowlevel.checkpoint()
        self._lanes.discard(lane)

    async def diagnose(self) -> list[Check]:
        """Say whether the directory can be used."""
        await trio.lowlevel.checkpoint()
        if os.access(self._path, os.W_OK | os.X_OK) and self._path.is_dir():
            return [Check("directory", "ok", "it can be written")]
        fix = "set path to a directory this node may write to"
        return [Check("directory", "fail", "it is missing or not writable", fix)]
