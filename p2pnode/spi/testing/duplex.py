"""Checks of a transport with channels."""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode.spi.testing.host import RecordingHost, diagnosed, last_is_off
from p2pnode.spi.testing.world import BREATH, Pair, World, alone
from p2pnode.spi.transport import MAX_ADDRESS, MAX_FRAME, Address, Channel

MAX_ADDRESSES = 16
"""Addresses a transport may give for one lane."""

SETTLED = 0.2
"""Seconds all tasks must be blocked until a sender counts as held up."""


async def check_transport(factory: Callable[[], AbstractAsyncContextManager[Pair]]) -> None:
    """Run every check of a duplex transport. Raises AssertionError."""
    async with factory() as pair:
        await _idle(pair)
    running: Sequence[Callable[[World], Awaitable[None]]] = (
        _reports,
        _nobody_there,
        _sizes,
        _bounds,
        _both_ways_at_once,
        _many_at_once,
        _holds_up_the_sender,
        _closed_by_dialler,
        _closed_by_the_other,
        _close_wakes_receive,
        _cancelled_receive,
        _cancelled_dial,
        _busy_node,
        _lanes,
        _ends_with_run,
        _diagnosis,
    )
    for check in running:
        await alone(factory, check)
    async with factory() as pair:
        faults = dict(pair.faults)
    for name in faults:
        await alone(factory, partial(_fault, name))


async def _closed(waiting: Awaitable[object]) -> bool:
    try:
        await waiting
    except ChannelClosed:
        return True
    return False


async def _ends(channel: Channel) -> None:
    """Return when a channel has ended for its receiver and its sender."""
    while not await _closed(channel.receive()):
        pass
    while not await _closed(channel.send(b"anybody?")):  # a medium may notice late
        await trio.lowlevel.checkpoint()


async def _exchange(one: Channel, other: Channel, frames: Sequence[bytes]) -> None:
    """Send frames from one to the other; they arrive as the traits promise."""
    got: list[bytes] = []

    async def send() -> None:
        for frame in frames:
            await one.send(frame)
        for _ in range(0 if one.traits.reliable else 8):
            await one.send(b"last")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while len(got) < len(frames):
            frame = await other.receive()
            if frame == b"last":
                break
            got.append(frame)
        if not one.traits.reliable:
            nursery.cancel_scope.cancel()
    if one.traits.reliable and one.traits.ordered:
        assert got == list(frames), "frames arrive whole and in order"
    elif one.traits.reliable:
        assert sorted(got) == sorted(frames), "frames arrive whole"
    else:
        assert got, "some frames arrive"
        assert set(got) <= set(frames), "what arrives was sent"


async def _idle(pair: Pair) -> None:
    """Without `run`: a dial is refused, a diagnosis works, lanes are kept."""
    assert await _closed(pair.first.dial(pair.nowhere)), "a dial needs run"
    diagnosed(await pair.first.diagnose())
    await pair.first.open(Lane(bytes(16)))
    await pair.first.revoke(Lane(bytes(16)))


async def _reports(world: World) -> None:
    """Starting comes first, then what it is by the time it listens."""
    for host in world.hosts:
        states = [state for state, _ in host.reports]
        assert states[:1] == ["starting"], "the first report is starting"
        assert states[-1] in {"up", "degraded"}, "a transport that has started says how it is"
        for _, detail in host.reports:
            assert len(detail) <= 100, "details are short"
            assert detail.isprintable(), "details are plain text"


async def _nobody_there(world: World) -> None:
    """Addresses are foreign bytes: any of them at worst ends in ChannelClosed."""
    strange = [b"", b"\0", b"/" * MAX_ADDRESS, bytes(range(256)), b"\xff" * 1_000]
    for address in [world.pair.nowhere, *map(Address, strange)]:
        assert await _closed(world.pair.first.dial(address)), "nobody answers there"


async def _sizes(world: World) -> None:
    """Frames of every size travel both ways."""
    near, far = await world.channel()
    mtu = near.traits.mtu
    assert mtu > 0, "the mtu is a number of bytes"
    sizes = {1, 2, 255, 256, 4_096, 65_535, 65_536, mtu - 1, mtu, mtu + 1, MAX_FRAME}
    frames = [os.urandom(size) for size in sorted(sizes) if 0 < size <= MAX_FRAME]
    await _exchange(near, far, frames)
    await _exchange(far, near, frames)
    await near.aclose()
    await far.aclose()


async def _bounds(world: World) -> None:
    """A frame out of bounds is the caller's error and harms nothing."""
    near, far = await world.channel()
    for frame in (b"", bytes(MAX_FRAME + 1)):
        try:
            await near.send(frame)
        except ValueError:
            continue
        raise AssertionError("a frame out of bounds raises ValueError")
    await _exchange(near, far, [b"still here"])
    await near.aclose()
    await far.aclose()


async def _both_ways_at_once(world: World) -> None:
    """Sending and receiving do not wait for each other."""
    near, far = await world.channel()
    frames = [os.urandom(4_096) for _ in range(200)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_exchange, near, far, frames)
        nursery.start_soon(_exchange, far, near, frames)
    await near.aclose()
    await far.aclose()


async def _many_at_once(world: World) -> None:
    """Several channels stand beside each other, and none gets another's frames."""
    pairs = [await world.channel() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for number, (near, far) in enumerate(pairs):
            frames = [bytes((number, k)) * 100 for k in range(100)]
            nursery.start_soon(_exchange, near, far, frames)
    for near, far in pairs:
        await near.aclose()
        await far.aclose()


async def _holds_up_the_sender(world: World) -> None:
    """A sender waits when nobody receives; memory stays bounded and no frame is lost."""
    near, far = await world.channel()
    if not near.traits.reliable:
        await near.aclose()
        await far.aclose()
        return
    sent = 0
    frame = os.urandom(MAX_FRAME)

    async def send() -> None:
        nonlocal sent
        while True:
            await near.send(frame)
            sent += 1
            assert sent * MAX_FRAME <= world.pair.unread, "a sender waits when nobody receives"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked(SETTLED)
        nursery.cancel_scope.cancel()
    for _ in range(sent):
        assert await far.receive() == frame, "what was sent arrives"
    await near.aclose()
    await far.aclose()


async def _closed_by_dialler(world: World) -> None:
    near, far = await world.channel()
    await _close(near, far)


async def _closed_by_the_other(world: World) -> None:
    near, far = await world.channel()
    await _close(far, near)


async def _close(one: Channel, other: Channel) -> None:
    """The end reaches the other side, after what was sent before; closing again is harmless."""
    await one.send(b"goodbye")
    await one.aclose()
    await one.aclose()
    if one.traits.reliable:
        assert await other.receive() == b"goodbye", "what was sent before the end arrives"
    assert await _closed(one.send(b"x")), "send after aclose raises ChannelClosed"
    assert await _closed(one.receive()), "receive after aclose raises ChannelClosed"
    await _ends(other)
    await other.aclose()


async def _close_wakes_receive(world: World) -> None:
    """`aclose` in one task ends a `receive` that waits in another."""
    near, far = await world.channel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ends, near)
        await wait_all_tasks_blocked()
        await near.aclose()
    await far.aclose()


async def _cancelled_receive(world: World) -> None:
    """A cancelled wait loses no frame."""
    near, far = await world.channel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await _exchange(near, far, [b"one", b"two"])
    await near.aclose()
    await far.aclose()


async def _cancelled_dial(world: World) -> None:
    """A cancelled dial leaves nothing behind, and the next one works."""
    address = await world.address()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.pair.first.dial, address)
        nursery.cancel_scope.cancel()
    await _answers(world, address)


async def _busy_node(world: World) -> None:
    """While the node takes no channels, dials come to an end; afterwards all is well."""
    world.hosts[1].busy = trio.Event()
    address = await world.address()
    opened: list[Channel] = []

    async def dial() -> None:
        with suppress(ChannelClosed):
            opened.append(await world.pair.first.dial(address))

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(dial)
    for channel in opened:
        await channel.aclose()
    world.hosts[1].busy.set()
    await _answers(world, address)


async def _answers(world: World, address: Address) -> None:
    """Return when a fresh channel works, whatever earlier dials have left to be taken first."""

    async def echo(far: Channel) -> None:
        with suppress(ChannelClosed):
            await far.send(await far.receive())
            await _ends(far)
        await far.aclose()

    async def serve() -> None:
        async for far in world.hosts[1].arrivals:
            nursery.start_soon(echo, far)  # a medium may tell late which were given up

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        answer = b""
        while not answer:
            with suppress(ChannelClosed):
                near = await world.pair.first.dial(address)
                try:
                    await near.send(b"here")
                    answer = await near.receive()
                finally:
                    await near.aclose()
            if not answer:
                await trio.sleep(BREATH)
        assert answer == b"here", "the echo comes back"
        nursery.cancel_scope.cancel()


async def _lanes(world: World) -> None:
    """Lanes may be opened and revoked again and again; their addresses are bounded."""
    transport = world.pair.second
    lane, unknown = Lane(b"\x02" * 16), Lane(b"\x03" * 16)
    await transport.open(lane)
    await transport.open(lane)
    told = await transport.addresses(lane)
    assert len(told) <= MAX_ADDRESSES, "at most 16 addresses for a lane"
    assert all(0 < len(one) <= MAX_ADDRESS for one in told), "an address has 1 to 256 bytes"
    assert len(set(told)) == len(told), "an address is told once"
    await transport.close(lane)
    await transport.close(lane)
    assert await transport.addresses(lane) == [], "a closed lane has no address"
    await transport.open(lane)
    assert await transport.addresses(lane) == told, "a lane opened again has the same addresses"
    await transport.close(lane)
    await transport.revoke(lane)
    await transport.revoke(lane)
    await transport.revoke(unknown)
    assert await transport.addresses(lane) == [], "a revoked lane has no address"
    assert await transport.addresses(unknown) == [], "an unknown lane has no address"


async def _ends_with_run(world: World) -> None:
    """Cancelling `run` ends its channels on both sides; then it may run again."""
    near, far = await world.channel()
    world.ends[1].cancel()
    await _ends(near)
    assert await _closed(far.receive()), "cancelling run ends the channels"
    await near.aclose()
    await far.aclose()
    host = RecordingHost()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pair.second.run, host)
        nursery.cancel_scope.cancel()
    last_is_off(host)


async def _diagnosis(world: World) -> None:
    """A diagnosis works beside `run`."""
    diagnosed(await world.pair.first.diagnose())


async def _fault(name: str, world: World) -> None:
    """A medium that spoils frames ends the channel; no damaged frame comes out."""
    near, far = await world.channel()
    await near.send(b"whole")
    assert await far.receive() == b"whole", name
    await world.pair.faults[name](near)
    assert await _closed(far.receive()), f"{name}: the channel ends"
    await near.aclose()
    await far.aclose()
