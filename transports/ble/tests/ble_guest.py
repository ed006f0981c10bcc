"""Two nodes on two of BlueZ's adapters, for the slow run against a real bluetoothd in a guest.

    python -m transports.ble.tests.ble_guest hci0 hci1 [FRAMES]     # the scenes below
    python -m transports.ble.tests.ble_guest hci1                   # a node that echoes

Prints what it measured; its status is 0 when all went well.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport

from p2pnode.errors import ChannelClosed
from p2pnode.spi.testing import RecordingHost
from p2pnode.spi.transport import Channel

PATIENCE = 120.0
"""Seconds for one scene."""

SIZE = 4_096


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"{trio.current_time() - BEGAN[0]:7.1f} s  {text}", flush=True)


BEGAN = [0.0]


@asynccontextmanager
async def running(*adapters: str) -> AsyncIterator[list[tuple[BleTransport, RecordingHost]]]:
    """Run a node on each adapter."""
    nodes = [BleTransport(BleSettings(power="always", adapter=one)) for one in adapters]
    hosts = [RecordingHost() for _ in nodes]
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for node, host in zip(nodes, hosts, strict=True):
                await nursery.start(node.run, host)
            yield list(zip(nodes, hosts, strict=True))
            nursery.cancel_scope.cancel()
    assert all(host.reports[-1] == ("off", "") for host in hosts)


async def dialled(node: BleTransport, host: RecordingHost) -> Channel:
    """Return a channel to whom the node met; tries again, as the engine does."""
    while True:
        await host.until(lambda host: bool(host.met))
        with suppress(ChannelClosed):
            return await node.dial(next(iter(host.met)))
        say("a dial failed")
        await trio.sleep(1)


async def ended(channel: Channel) -> float:
    """Return how many seconds it took until a channel had ended."""
    began = trio.current_time()
    with suppress(ChannelClosed):
        while True:
            await channel.receive()
    return trio.current_time() - began


async def exchange(ways: Sequence[tuple[Channel, Channel]], frames: int) -> None:
    """Send frames each way at once and compare what comes out."""
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


async def round_trips(near: Channel, far: Channel) -> None:
    """Measure twenty small frames there and back."""
    times = []
    for _ in range(20):
        began = trio.current_time()
        await near.send(b"ping")
        await far.send(await far.receive())
        await near.receive()
        times.append(trio.current_time() - began)
    say(f"round trip: median {sorted(times)[10] * 1000:.0f} ms")


async def talk(adapters: Sequence[str], frames: int) -> None:
    """Frames each way, over one connection that both sides use."""
    async with running(*adapters) as ((one, host_one), (two, host_two)):
        for check in await one.diagnose():
            say(f"{check.name}: {check.result}, {check.detail}")
        near = await dialled(one, host_one)
        far = await host_two.arrivals.receive()
        say("a channel stands")
        await round_trips(near, far)
        for radio in (one._radio, two._radio):
            say(f"fragments: {[radio._air.size(path) for path in radio._paths]} bytes")
        await exchange([(near, far)], frames)
        await exchange([(far, near)], frames)
        await exchange([(near, far), (far, near)], frames)
        back = await dialled(two, host_two)
        forth = await host_one.arrivals.receive()
        say(f"connections: {[len(radio._paths) for radio in (one._radio, two._radio)]}")
        await near.aclose()
        await exchange([(back, forth), (forth, back)], 5)
        say("one channel is closed, the other stands")
    say("both have left")


async def both_dial_at_once(adapters: Sequence[str]) -> None:
    """Both connect at the same time: at least one channel stands, and works."""
    async with running(*adapters) as nodes, trio.open_nursery() as nursery:
        dialling, made = trio.open_memory_channel[tuple[int, Channel]](4)

        async def dial(which: int) -> None:
            node, host = nodes[which]
            await dialling.send((which, await dialled(node, host)))

        for _, host in nodes:
            await host.until(lambda host: bool(host.met))
        for which in range(2):
            nursery.start_soon(dial, which)
        for _ in range(2):
            which, near = await made.receive()
            far = await nodes[1 - which][1].arrivals.receive()
            await exchange([(near, far), (far, near)], 3)
        say(f"connections: {[len(node._radio._paths) for node, _ in nodes]}")


async def powered(adapter: str, on: bool) -> None:
    """Switch an adapter on or off, through BlueZ."""
    asked = ["busctl", "set-property", "org.bluez", f"/org/bluez/{adapter}", "org.bluez.Adapter1"]
    await trio.run_process([*asked, "Powered", "b", "true" if on else "false"])


async def switched_off(adapters: Sequence[str]) -> None:
    """An adapter is switched off under a channel, and on again."""
    async with running(*adapters) as ((one, host_one), (_, host_two)):
        near = await dialled(one, host_one)
        far = await host_two.arrivals.receive()
        await exchange([(near, far)], 1)
        await powered(adapters[1], False)
        say(
            f"switched off: here seen after {await ended(far):.1f} s, there {await ended(near):.1f}"
        )
        await host_two.until(lambda host: host.reports[-1][0] == "degraded")
        await powered(adapters[1], True)
        await host_two.until(lambda host: host.reports[-1][0] == "up")
        say("on again")
        near = await dialled(one, host_one)
        far = await host_two.arrivals.receive()
        await exchange([(near, far), (far, near)], 2)


async def killed(adapters: Sequence[str]) -> None:
    """The other program is killed under a channel, and started again."""
    async with running(adapters[0]) as ((one, host),):
        command = [sys.executable, "-m", "transports.ble.tests.ble_guest", adapters[1]]
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                peer = await nursery.start(partial(trio.run_process, command, check=False))
                near = await dialled(one, host)
                await near.send(b"hello")
                assert await near.receive() == b"hello"
                say("the other program answers")
                peer.send_signal(signal.SIGKILL)
                say(f"killed: noticed after {await ended(near):.1f} s")
                nursery.cancel_scope.cancel()


async def echo(adapter: str) -> None:
    """Be a node that sends back what it gets."""

    async def serve(channel: Channel) -> None:
        with suppress(ChannelClosed):
            while True:
                await channel.send(await channel.receive())

    BEGAN[0] = trio.current_time()
    async with running(adapter) as ((_, host),), trio.open_nursery() as nursery:
        async for channel in host.arrivals:
            nursery.start_soon(serve, channel)


async def main(adapters: Sequence[str], frames: int) -> None:
    """Play all scenes."""
    BEGAN[0] = trio.current_time()
    await talk(adapters, frames)
    for scene in (both_dial_at_once, switched_off, killed):
        say(f"-- {scene.__name__}")
        await scene(adapters)
    say("done")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        trio.run(echo, sys.argv[1])
    else:
        trio.run(main, sys.argv[1:3], int(sys.argv[3]) if len(sys.argv) > 3 else 50)
