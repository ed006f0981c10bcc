"""The worlds checks run in: a fresh one each, which must leave nothing behind."""

import gc
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode.spi.testing.host import RecordingHost, last_is_off
from p2pnode.spi.transport import Address, Channel, Transport

PATIENCE = 180.0
"""Seconds a check may take where a pair says nothing else: a busy machine is no defect."""

UNREAD_LIMIT = 64 * 2**20
"""Bytes a channel may take from a sender whose frames nobody receives, where a pair says nothing
else."""

BREATH = 0.1
"""Seconds until a dial that failed is tried again, so that the machine can do something else."""

_FIRST = b"first"
"""What goes through a fresh channel first, to tell its other end from those of earlier dials."""

Fault = Callable[[Channel], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two transports that can reach each other, and what the kit must know of their world.

    nowhere: a well-formed address where nobody answers.
    faults: by name, what spoils the medium under a dialled channel (half a frame and then the
        end, a length out of bounds, …); the other side's `receive` must then raise ChannelClosed.
    patience: seconds one check may take; one that passes never waits for it.
    unread: bytes a channel may take from a sender whose frames nobody receives, with all that other
        programs on the way keep.
    """

    first: Transport
    second: Transport
    nowhere: Address
    faults: Mapping[str, Fault] = field(default_factory=dict)
    patience: float = PATIENCE
    unread: int = UNREAD_LIMIT


@dataclass(frozen=True, slots=True)
class World:
    """A pair that runs: transports, their hosts, and a scope that ends each."""

    pair: Pair
    hosts: tuple[RecordingHost, RecordingHost]
    ends: tuple[trio.CancelScope, trio.CancelScope]

    async def address(self) -> Address:
        """Return where the second transport can be reached."""
        lane = Lane(b"\x01" * 16)
        await self.pair.second.open(lane)
        told = await self.pair.second.addresses(lane)
        if told:
            return told[0]
        await self.hosts[0].until(lambda host: bool(host.met))
        return next(iter(self.hosts[0].met))

    async def channel(self) -> tuple[Channel, Channel]:
        """Return both ends of a fresh channel, the dialling side first.

        A medium may need more than one dial until its ways to a peer stand: nodes dial again.
        """
        address = await self.address()
        while True:
            with suppress(ChannelClosed):
                near = await self.pair.first.dial(address)
                break
            await trio.sleep(BREATH)
        return near, await self._other_end(near)

    async def _other_end(self, near: Channel) -> Channel:
        """Return where a channel ends; dials that were given up may have left others."""
        arrivals = self.hosts[1].arrivals
        if not near.traits.reliable:
            return await arrivals.receive()
        arrived: list[Channel] = []
        ends: list[Channel] = []
        async with trio.open_nursery() as nursery:

            async def listen(far: Channel) -> None:
                with suppress(ChannelClosed):
                    assert await far.receive() == _FIRST, "what arrives was sent"
                    ends.append(far)
                    nursery.cancel_scope.cancel()

            async def take() -> None:
                async for far in arrivals:
                    arrived.append(far)
                    nursery.start_soon(listen, far)

            nursery.start_soon(take)
            await near.send(_FIRST)
        for far in arrived:
            if far not in ends:
                await far.aclose()
        return ends[0]


async def alone(
    factory: Callable[[], AbstractAsyncContextManager[Pair]],
    check: Callable[[World], Awaitable[None]],
) -> None:
    """Run one check in a fresh world; it must leave no thread and no file descriptor."""
    gc.collect()  # what others have left to the collector is not the transport's
    before = _held()
    async with factory() as pair:
        with trio.fail_after(pair.patience):
            async with _running(pair) as world:
                await check(world)
            for host in world.hosts:
                last_is_off(host)
    assert _held() == before, f"{check}: threads or file descriptors are left over"


@asynccontextmanager
async def _running(pair: Pair) -> AsyncIterator[World]:
    with TemporaryDirectory(prefix="p2pnode-kit-") as made:
        # One home is on a disk, under a name too long for a socket in it; the other is in memory.
        hosts = RecordingHost(Path(made) / ("long" * 30)), RecordingHost()
        async with _begun(pair, hosts) as world:
            yield world


@asynccontextmanager
async def _begun(pair: Pair, hosts: tuple[RecordingHost, RecordingHost]) -> AsyncIterator[World]:
    ends = trio.CancelScope(), trio.CancelScope()

    async def run(which: int, *, task_status: trio.TaskStatus[None]) -> None:
        with ends[which]:
            await (pair.first, pair.second)[which].run(hosts[which], task_status=task_status)

    async with trio.open_nursery() as nursery:
        for which in range(2):
            await nursery.start(run, which)
        yield World(pair, hosts, ends)
        for end in ends:
            end.cancel()
    for host in hosts:
        with suppress(trio.WouldBlock):
            while True:
                await host.arrivals.receive_nowait().aclose()


def _held() -> tuple[list[str], int]:
    threads = [t.name for t in threading.enumerate() if not t.name.startswith("Trio thread")]
    listing = Path("/proc/self/fd")
    return sorted(threads), len(os.listdir(listing)) if listing.is_dir() else 0
