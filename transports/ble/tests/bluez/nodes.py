"""Nodes on BlueZ's adapters, without engines: what the scenes have in common."""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from statistics import median

import trio
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport

from p2pnode.errors import ChannelClosed
from p2pnode.spi.testing import RecordingHost
from p2pnode.spi.transport import Channel, TransportState

ADAPTERS = ("hci0", "hci1")

PATIENCE = 60.0
"""Seconds that one thing waited for may take."""

AGAIN = 0.5
"""Seconds until a failed dial is tried again; the engine waits as long at first."""

SIZE = 4_096


def say(text: str) -> None:
    """Print a line with the time since this program began."""
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", flush=True)


BEGAN = time.monotonic()


class TalkingHost(RecordingHost):
    """Prints when a transport does not work."""

    def __init__(self, adapter: str) -> None:
        super().__init__()
        self._adapter = adapter

    def report(self, state: TransportState, detail: str = "") -> None:
        """Remember a state."""
        super().report(state, detail)
        if state == "degraded":
            say(f"{self._adapter}: {detail}")


class Node:
    """A transport on one adapter, and the host it runs for."""

    def __init__(self, adapter: str) -> None:
        self.adapter = adapter
        self.transport = BleTransport(BleSettings(power="always", adapter=adapter))
        self.host = TalkingHost(adapter)

    @property
    def paths(self) -> int:
        """How many Bluetooth connections it knows."""
        radio = self.transport._radio
        return 0 if radio is None else len(radio._paths)

    def sizes(self) -> list[int]:
        """Return how long its fragments may be, for each connection."""
        radio = self.transport._radio
        assert radio is not None
        return [radio._air.size(number) for number in radio._paths]

    async def dialled(self) -> tuple[Channel, int]:
        """Return a channel to whom it met, and how many tries failed before."""
        failed = 0
        while True:
            await self.host.until(lambda host: bool(host.met))
            began = trio.current_time()
            with suppress(ChannelClosed, StopIteration):
                return await self.transport.dial(next(iter(self.host.met))), failed
            failed += 1
            say(f"{self.adapter}: a dial failed after {trio.current_time() - began:.1f} s")
            await trio.sleep(AGAIN)

    async def alone(self) -> None:
        """Wait until it has no connection any more."""
        radio = self.transport._radio
        while radio is not None and radio._paths:
            await radio._gone.wait()

    async def reported(self, state: str) -> None:
        """Wait until the transport says that it is in this state."""
        await self.host.until(lambda host: host.reports[-1][0] == state)


@asynccontextmanager
async def running(*adapters: str) -> AsyncIterator[list[Node]]:
    """Run a node on each adapter."""
    nodes = [Node(adapter) for adapter in adapters]
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            for node in nodes:
                await nursery.start(node.transport.run, node.host)
        yield nodes
        nursery.cancel_scope.cancel()
    assert all(node.host.reports[-1] == ("off", "") for node in nodes)


async def greeted(near: Channel, far: Channel) -> None:
    """A frame goes each way."""
    for sender, receiver in ((near, far), (far, near)):
        frame = os.urandom(64)
        await sender.send(frame)
        assert await receiver.receive() == frame


async def ended(channel: Channel) -> float:
    """Return how many seconds it took until a channel had ended."""
    began = trio.current_time()
    with suppress(ChannelClosed):
        while True:
            await channel.receive()
    return trio.current_time() - began


class Tally:
    """How well the dials of a scene went."""

    def __init__(self) -> None:
        self.failed: list[int] = []
        self.seconds: list[float] = []

    def add(self, failed: int, began: float) -> None:
        """Count a channel: how many tries failed, and when the first began."""
        self.failed.append(failed)
        self.seconds.append(trio.current_time() - began)

    def tell(self, what: str) -> None:
        """Print it."""
        at_once = sum(not one for one in self.failed)
        say(
            f"{what}: {len(self.failed)} channels, {at_once} at the first try, at most "
            f"{max(self.failed)} failed; {median(self.seconds):.1f} s (median), "
            f"{max(self.seconds):.1f} s (longest)"
        )


async def exchanged(ways: Sequence[tuple[Channel, Channel]], frames: int) -> None:
    """Send frames each way at once, compare what comes out, and print the speed."""
    began = trio.current_time()

    async def send(sender: Channel, what: list[bytes]) -> None:
        for frame in what:
            await sender.send(frame)

    async def receive(receiver: Channel, what: list[bytes]) -> None:
        for frame in what:
            assert await receiver.receive() == frame, "frames arrive whole and in order"

    async with trio.open_nursery() as nursery:
        for sender, receiver in ways:
            what = [os.urandom(SIZE) for _ in range(frames)]
            nursery.start_soon(send, sender, what)
            nursery.start_soon(receive, receiver, what)
    took = trio.current_time() - began
    speed = len(ways) * frames * SIZE / 1024 / took
    say(f"{len(ways)} x {frames} frames of {SIZE} bytes: {took:.1f} s, {speed:.1f} KiB/s")
