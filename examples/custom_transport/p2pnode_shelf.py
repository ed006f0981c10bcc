"""A minimal transport: nodes of one machine meet as Unix sockets in a shared directory."""

import secrets
from contextlib import suppress
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

TRAITS = Traits(mtu=MAX_FRAME, reliable=True, ordered=True, metered=False)
LENGTH = 4
LOOK_EVERY = 1.0
"""Seconds between two looks into the directory."""


class ShelfSettings(Settings, frozen=True):
    """directory: where the nodes meet; all of them need to write there."""

    directory: str = ""


class ShelfChannel(Channel):
    """Frames with a length in front, over a Unix socket."""

    traits = TRAITS

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._held = b""

    async def send(self, frame: bytes) -> None:
        """Send one frame. A send that is cancelled half-way ends the channel."""
        if not 0 < len(frame) <= MAX_FRAME:
            raise ValueError("a frame has 1 to MAX_FRAME bytes")
        whole = False
        try:
            await self._stream.send_all(len(frame).to_bytes(LENGTH, "big") + frame)
            whole = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ChannelClosed from None
        finally:
            if not whole:
                self._stream.socket.close()

    async def receive(self) -> bytes:
        """Return the next frame."""
        size = int.from_bytes((await self._filled(LENGTH))[:LENGTH], "big")
        if not 0 < size <= MAX_FRAME:
            await self.aclose()
            raise ChannelClosed
        found = await self._filled(LENGTH + size)
        self._held = found[LENGTH + size :]
        return found[LENGTH : LENGTH + size]

    async def _filled(self, count: int) -> bytes:
        """Hold at least `count` bytes; what came stays held if this is cancelled."""
        while len(self._held) < count:
            try:
                more = bytes(await self._stream.receive_some(65_536))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                more = b""
            if not more:
                await self.aclose()
                raise ChannelClosed
            self._held += more
        return self._held

    async def aclose(self) -> None:
        """End the channel."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


class ShelfTransport(Transport):
    """Listens under a random name; dials whoever else lies in the directory."""

    name = "shelf"
    settings_type = ShelfSettings

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self._place = Path(settings.directory)
        self._lanes: set[Lane] = set()
        self._own = ""
        self._channels: set[ShelfChannel] = set()

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled."""
        if not self._place.is_dir():
            raise TransportUnavailable("the directory to meet in is not there")
        host.report("starting")
        own = self._own = secrets.token_hex(8)
        path = self._place / own
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            await listening.bind(str(path))
            listening.listen(16)
            host.report("up")
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, listening, host)
                await self._look(host, own)
        finally:
            self._own = ""
            listening.close()
            with suppress(FileNotFoundError):
                path.unlink()
            for channel in list(self._channels):
                await channel.aclose()
            self._channels.clear()
            host.report("off")

    async def _accept(self, listening: trio.socket.SocketType, host: Host) -> None:
        while True:
            accepted, _ = await listening.accept()
            await host.incoming(self._made(accepted))

    async def _look(self, host: Host, own: str) -> None:
        known: set[str] = set()
        while True:
            there = {path.name for path in self._place.iterdir() if path.is_socket()} - {own}
            for name in there - known:
                host.encountered(Address(name.encode()), after=0.0 if own < name else 2.0)
            for name in known - there:
                host.lost(Address(name.encode()))
            known = there
            await trio.sleep(LOOK_EVERY)

    def _made(self, connected: trio.socket.SocketType) -> ShelfChannel:
        channel = ShelfChannel(trio.SocketStream(connected))
        self._channels = {one for one in self._channels if one._stream.socket.fileno() >= 0}
        self._channels.add(channel)
        return channel

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel to a name in the directory; a name cannot lead out of it."""
        name = bytes(address).decode("ascii", "replace")
        if not self._own or not name.isalnum() or name == self._own:
            await trio.lowlevel.checkpoint()
            raise ChannelClosed
        dialled = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            await dialled.connect(str(self._place / name))
        except OSError:
            dialled.close()
            raise ChannelClosed from None
        except BaseException:
            dialled.close()
            raise
        return self._made(dialled)

    async def addresses(self, lane: Lane) -> list[Address]:
        """Tell the own name to those whose lane is open."""
        await trio.lowlevel.checkpoint()
        return [Address(self._own.encode())] if self._own and lane in self._lanes else []

    async def open(self, lane: Lane) -> None:
        """Serve a lane."""
        await trio.lowlevel.checkpoint()
        self._lanes.add(lane)

    async def close(self, lane: Lane) -> None:
        """Serve it no longer, for now; nothing is kept of it here."""
        await self.revoke(lane)

    async def revoke(self, lane: Lane) -> None:
        """Serve it no longer."""
        await trio.lowlevel.checkpoint()
        self._lanes.discard(lane)

    async def diagnose(self) -> list[Check]:
        """Look at the directory."""
        await trio.lowlevel.checkpoint()
        if self._place.is_dir():
            return [Check("directory", "ok", "it is there")]
        return [
            Check("directory", "fail", "it is not there", "make it, and name it in config.toml")
        ]
