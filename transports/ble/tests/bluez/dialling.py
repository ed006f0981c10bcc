"""Scenes of two transports on BlueZ: dials, and what comes back after everything breaks."""

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import trio
from dbus_fast import Variant
from p2pnode_ble.bus import ADAPTER, BLUEZ, PROPERTIES, BluezError, call, connect, leave
from p2pnode_ble.peripheral import BUS, BUS_PATH

from p2pnode.spi.bridge import open_bridge
from p2pnode.spi.transport import Channel
from transports.ble.tests.bluez.nodes import (
    ADAPTERS,
    PATIENCE,
    Node,
    Tally,
    ended,
    exchanged,
    greeted,
    running,
    say,
)

FRAMES = 10
TRIPS = 20
PEER = "transports.ble.tests.bluez.peer"
BLUETOOTHD = "/run/bluetoothd.pid"


async def talk(_: int) -> None:
    """Frames each way, over one connection that both sides use."""
    async with running(*ADAPTERS) as (one, two):
        near, _ = await one.dialled()
        far = await two.host.arrivals.receive()
        trips = []
        for _ in range(TRIPS):
            began = trio.current_time()
            await near.send(b"?")
            await far.send(await far.receive())
            await near.receive()
            trips.append(trio.current_time() - began)
        say(f"a small frame there and back: {median(trips) * 1000:.0f} ms (median)")
        say(f"fragments: {one.sizes()} and {two.sizes()} bytes")
        await exchanged([(near, far)], FRAMES)
        await exchanged([(far, near)], FRAMES)
        await exchanged([(near, far), (far, near)], FRAMES)
        back, _ = await two.dialled()
        forth = await one.host.arrivals.receive()
        assert (one.paths, two.paths) == (1, 1), "both dial over one connection"
        await near.aclose()
        await greeted(back, forth)
        say("one channel is closed, the other stands")


async def one_dials(times: int) -> None:
    """One side connects, talks, and leaves."""
    tally = Tally()
    async with running(*ADAPTERS) as nodes:
        for number in range(times):
            near, far = nodes[number % 2], nodes[1 - number % 2]
            began = trio.current_time()
            with trio.fail_after(PATIENCE):
                channel, failed = await near.dialled()
                tally.add(failed, began)
                await greeted(channel, await far.host.arrivals.receive())
                await channel.aclose()
                for node in nodes:
                    await node.alone()
    tally.tell("one side dials")


async def both_dial(times: int) -> None:
    """Both connect at the same moment: every dial comes to something, and works."""
    tally = Tally()
    async with running(*ADAPTERS) as nodes:
        for node in nodes:
            await node.host.until(lambda host: bool(host.met))

        async def dial(near: Node, far: Node, began: float) -> None:
            channel, failed = await near.dialled()
            tally.add(failed, began)
            await greeted(channel, await far.host.arrivals.receive())
            done.append(channel)
            if len(done) == len(nodes):
                both.set()
            await both.wait()
            await channel.aclose()

        for _ in range(times):
            done: list[Channel] = []
            both = trio.Event()
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for near, far in (nodes, reversed(nodes)):
                        nursery.start_soon(dial, near, far, trio.current_time())
                for node in nodes:
                    await node.alone()
    tally.tell("both sides dial at once")


@asynccontextmanager
async def other_process(*words: str) -> AsyncIterator[trio.Process]:
    """Run a node in another process, on the second adapter."""
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-m", PEER, ADAPTERS[1], *words]
        peer = await nursery.start(partial(trio.run_process, command, check=False))
        try:
            yield peer
        finally:
            nursery.cancel_scope.cancel()


async def killed(times: int) -> None:
    """The other program is killed under a channel, and started again; either side dials."""
    tallies = Tally(), Tally()
    seen = []
    async with running(ADAPTERS[0]) as (node,):
        for number in range(times):
            dials = bool(number % 2)
            with trio.fail_after(PATIENCE):
                async with other_process(*(["dial"] if dials else [])) as peer:
                    began = trio.current_time()
                    if dials:
                        channel = await node.host.arrivals.receive()
                        failed = int((await channel.receive()).decode())
                    else:
                        channel, failed = await node.dialled()
                        await channel.send(b"hello")
                        assert await channel.receive() == b"hello"
                    tallies[dials].add(failed, began)
                    peer.send_signal(signal.SIGKILL)
                    seen.append(await ended(channel))
    for tally, who in zip(tallies, ("the one who stayed", "the one who came back"), strict=True):
        if tally.failed:
            tally.tell(f"after SIGKILL, {who} dials")
    say(f"SIGKILL is seen after {median(seen):.1f} s (median), {max(seen):.1f} s (longest)")


async def broken(times: int, what: str, do: Callable[[], Awaitable[None]], told: str) -> None:
    """Break Bluetooth under a channel again and again; either side dials afterwards."""
    tally, seen = Tally(), []
    async with running(*ADAPTERS) as nodes:
        for number in range(times):
            near, far = nodes[number % 2], nodes[1 - number % 2]
            with trio.fail_after(PATIENCE):
                began = trio.current_time()
                channel, failed = await near.dialled()
                if number:
                    tally.add(failed, began)
                other = await far.host.arrivals.receive()
                await greeted(channel, other)
                reports = [len(node.host.reports) for node in nodes]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(do)
                    seen.append(await ended(channel))
                    await ended(other)
                for node, before in zip(nodes, reports, strict=True):
                    if node.adapter == ADAPTERS[1] or told == "both":
                        await node.host.until(
                            lambda host, before=before: (
                                "degraded" in [state for state, _ in host.reports[before:]]
                            )
                        )
                        await node.reported("up")
    tally.tell(f"after {what}, either side dials")
    say(f"{what}: seen after {median(seen):.1f} s (median), {max(seen):.1f} s (longest)")


async def asked(
    path: str,
    interface: str,
    member: str,
    signature: str,
    *body: object,
    destination: str = BLUEZ,
) -> list[Any]:
    """Call a method on the system bus and return what it returns."""

    async def ask() -> list[Any]:
        bus = await connect()
        try:
            return await call(
                bus, path, interface, member, signature, body, destination=destination
            )
        finally:
            await leave(bus)

    async with open_bridge() as bridge:
        return await bridge.run(ask)


async def powered(adapter: str, on: bool) -> None:
    """Switch an adapter on or off, through BlueZ."""
    wish = ADAPTER, "Powered", Variant("b", on)
    while True:
        try:
            await asked(f"/org/bluez/{adapter}", PROPERTIES, "Set", "ssv", *wish)
        except BluezError as failure:
            if not failure.name.endswith(".Busy"):  # BlueZ is about to do so by itself
                raise
            await trio.sleep(0.2)
        else:
            return


async def switched_off(times: int) -> None:
    """An adapter is switched off under a channel, and on again."""

    async def off_and_on() -> None:
        await powered(ADAPTERS[1], False)
        await powered(ADAPTERS[1], True)

    await broken(times, "the adapter is switched off and on", off_and_on, "one")


async def end_bluetoothd() -> None:
    """End it, and wait until it has left the bus: another one could not take its name before."""
    await trio.run_process(["kill", await trio.Path(BLUETOOTHD).read_text()])
    gone = False
    while not gone:  # the bus would tell, but only to who asked before
        await trio.sleep(0.2)
        (owned,) = await asked(BUS_PATH, BUS, "NameHasOwner", "s", BLUEZ, destination=BUS)
        gone = not owned


async def start_bluetoothd() -> None:
    """Start it, as the guest does."""
    await trio.run_process([str(Path(__file__).with_name("bluetoothd.sh"))])


async def restart_bluetoothd() -> None:
    """End bluetoothd and start it again, as an update does."""
    await end_bluetoothd()
    await start_bluetoothd()


async def restarted(times: int) -> None:
    """bluetoothd ends under a channel, and starts again."""
    await broken(times, "bluetoothd restarts", restart_bluetoothd, "both")
