"""The conformance kit: what every transport, ours or another's, must pass.

    async def test_my_transport():
        await check_transport(my_pair)

`my_pair()` is an async context that yields a fresh `Pair` of transports, not running yet, which
can reach each other. Each check enters it anew. The kit uses the real clock, waits on events, and
raises AssertionError. It counts threads and file descriptors, so run it alone in its process.
"""

import gc
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from trio.testing import wait_all_tasks_blocked

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode.spi.transport import (
    MAX_ADDRESS,
    MAX_FRAME,
    Address,
    Channel,
    Check,
    Courier,
    Deposit,
    Parcel,
    Transport,
    TransportState,
)

MAX_ADDRESSES = 16
"""Addresses a transport may give for one lane."""

MAX_SAVED = 65_536
"""Bytes a transport may save under one name."""

UNREAD_LIMIT = 64 * 2**20
"""Bytes a channel may take from a sender whose frames nobody receives."""

SETTLED = 0.2
"""Seconds all tasks must be blocked until a sender counts as held up."""

PATIENCE = 180.0
"""Seconds a check may take where a pair says nothing else: a busy machine is no defect."""

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
    """

    first: Transport
    second: Transport
    nowhere: Address
    faults: Mapping[str, Fault] = field(default_factory=dict)
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True)
class CourierPair:
    """Two couriers that see the same place; `damage` spoils some bytes of what lies there."""

    first: Courier
    second: Courier
    place: str
    damage: Callable[[], None]


class RecordingHost:
    """A node that remembers what a transport tells it. files: its directory, if it has one."""

    def __init__(self, files: Path | None = None) -> None:
        self.files = files
        self.reports: list[tuple[TransportState, str]] = []
        self.met: dict[Address, float] = {}
        self.saved: dict[str, bytes] = {}
        self.busy: trio.Event | None = None
        self.arrived, self.arrivals = trio.open_memory_channel[Channel](1_000)
        self._changed = trio.Event()

    def encountered(self, address: Address, *, after: float = 0.0) -> None:
        """Remember an address."""
        assert 0 < len(address) <= MAX_ADDRESS, "an address has 1 to 256 bytes"
        assert after >= 0, "no node dials in the past"
        self.met[address] = after
        self._tell()

    def lost(self, address: Address) -> None:
        """Forget an address."""
        self.met.pop(address, None)
        self._tell()

    async def incoming(self, channel: Channel, lane: Lane | None = None) -> None:
        """Take a channel; waits while `busy` is an event that is not set."""
        if self.busy is not None:
            await self.busy.wait()
        await self.arrived.send(channel)

    def report(self, state: TransportState, detail: str = "") -> None:
        """Remember a state."""
        self.reports.append((state, detail))
        self._tell()

    async def load(self, name: str) -> bytes | None:
        """Return what was saved."""
        await trio.lowlevel.checkpoint()
        return self.saved.get(name)

    async def save(self, name: str, value: bytes) -> None:
        """Save, within the bounds."""
        await trio.lowlevel.checkpoint()
        assert len(value) <= MAX_SAVED, "a saved value has at most 64 KiB"
        self.saved[name] = value
        if not value:
            del self.saved[name]

    async def names(self) -> list[str]:
        """Return under which names something was saved."""
        await trio.lowlevel.checkpoint()
        return list(self.saved)

    def directory(self) -> Path | None:
        """Return the directory given, made where it is not there yet."""
        if self.files is not None:
            self.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.files

    async def until(self, condition: Callable[["RecordingHost"], bool]) -> None:
        """Wait until something told makes the condition true."""
        while not condition(self):
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


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
        await _alone(factory, check)
    async with factory() as pair:
        faults = dict(pair.faults)
    for name in faults:
        await _alone(factory, partial(_fault, name))


async def check_courier(factory: Callable[[], AbstractAsyncContextManager[CourierPair]]) -> None:
    """Run every check of a courier. Raises AssertionError."""
    for check in (_round_trip, _again, _damage, _nothing_there, _courier_diagnosis):
        async with factory() as pair:
            with trio.fail_after(PATIENCE):
                await check(pair)


# Worlds ------------------------------------------------------------------------------------------


async def _alone(
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
                _last_is_off(host)
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


def _last_is_off(host: RecordingHost) -> None:
    assert [state for state, _ in host.reports][-1:] == ["off"], "the last report is off"


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


# Checks of a transport ---------------------------------------------------------------------------


async def _idle(pair: Pair) -> None:
    """Without `run`: a dial is refused, a diagnosis works, lanes are kept."""
    assert await _closed(pair.first.dial(pair.nowhere)), "a dial needs run"
    _diagnosed(await pair.first.diagnose())
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
            assert sent * MAX_FRAME <= UNREAD_LIMIT, "a sender waits when nobody receives"

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
    _last_is_off(host)


async def _diagnosis(world: World) -> None:
    """A diagnosis works beside `run`."""
    _diagnosed(await world.pair.first.diagnose())


def _diagnosed(checks: Sequence[Check]) -> None:
    assert checks, "a diagnosis has at least one line"
    assert len({check.name for check in checks}) == len(checks), "each line has its own name"
    for check in checks:
        assert check.name, "a line has a name"
        assert check.detail, "a line has a detail"
        assert check.result != "fail" or check.fix, "what fails comes with what would mend it"


async def _fault(name: str, world: World) -> None:
    """A medium that spoils frames ends the channel; no damaged frame comes out."""
    near, far = await world.channel()
    await near.send(b"whole")
    assert await far.receive() == b"whole", name
    await world.pair.faults[name](near)
    assert await _closed(far.receive()), f"{name}: the channel ends"
    await near.aclose()
    await far.aclose()


# Checks of a courier -----------------------------------------------------------------------------

_PARCELS = [Parcel(os.urandom(4_096), age) for age in range(5)]


async def _taken(courier: Courier, place: str) -> list[Parcel]:
    found = [parcel async for parcel in courier.take(place)]
    return sorted(found, key=lambda parcel: parcel.age)


async def _round_trip(pair: CourierPair) -> None:
    """What one puts the other takes, as often as it likes."""
    size = sum(len(parcel.envelope) for parcel in _PARCELS)
    assert await pair.first.put(pair.place, _PARCELS) == Deposit(len(_PARCELS), size)
    for _ in range(2):
        assert await _taken(pair.second, pair.place) == _PARCELS, "parcels come as they went"


async def _again(pair: CourierPair) -> None:
    """Putting is idempotent, and adds to what lies there already."""
    await pair.first.put(pair.place, _PARCELS[:3])
    assert await pair.first.put(pair.place, _PARCELS[:3]) == Deposit(0, 0), "nothing is added"
    await pair.second.put(pair.place, _PARCELS[2:])
    assert await _taken(pair.first, pair.place) == _PARCELS, "each parcel comes once"


async def _damage(pair: CourierPair) -> None:
    """Damaged parcels are passed over; whole ones still come, and nothing else."""
    await pair.first.put(pair.place, _PARCELS)
    pair.damage()
    found = await _taken(pair.second, pair.place)
    assert all(parcel in _PARCELS for parcel in found), "no damaged parcel comes out"
    assert len(found) < len(_PARCELS), "the damage was seen"


async def _nothing_there(pair: CourierPair) -> None:
    """An empty deposit writes nothing, and nothing comes out."""
    assert await pair.first.put(pair.place, []) == Deposit(0, 0)
    assert await _taken(pair.second, pair.place) == []


async def _courier_diagnosis(pair: CourierPair) -> None:
    _diagnosed(await pair.first.diagnose())
