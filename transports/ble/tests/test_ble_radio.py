"""When a radio looks, rests, begins anew, forgets and refuses; in virtual time, with no stack."""

from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from p2pnode_ble.air import (
    Air,
    AirDown,
    Arrived,
    Down,
    Ended,
    Joined,
    Overtaken,
    PathEnded,
    Sighted,
)
from p2pnode_ble.line import Line
from p2pnode_ble.pipe import Times
from p2pnode_ble.radio import EPOCH, FIRST_EPOCH, MAX_KNOWN, OWN_SHARE, TRIES, TRY_AGAIN, Radio
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.wire import decode_untrusted

from p2pnode.errors import ChannelClosed
from p2pnode.spi.testing import RecordingHost
from p2pnode.spi.transport import Address
from transports.ble.tests.ble_medium import TIMES


class StubAir(Air):
    """Remembers what it was asked, with the time."""

    def __init__(self) -> None:
        self.scans: list[tuple[float, bool]] = []
        self.epochs: list[float] = []
        self.dropped: list[int] = []
        self.sent: list[tuple[int, bytes]] = []
        self.broken = False
        self.answers = True
        self.failure = PathEnded
        self.closed = False
        self.connecting = 0

    async def open(self, tell) -> None:
        self.tell = tell

    async def close(self) -> None:
        self.closed = True

    async def advertise(self) -> None:
        if self.broken:
            raise AirDown("the adapter takes no advertisement")
        self.epochs.append(trio.current_time())

    async def scan(self, wanted) -> None:
        if self.broken:
            raise AirDown("scanning does not work")
        self.scans.append((trio.current_time(), wanted))

    async def connect(self, address) -> int:
        self.connecting += 1
        await trio.sleep(1)
        if not self.answers:
            raise self.failure
        return 1_000 + self.connecting

    def size(self, path) -> int:
        return 500

    async def transmit(self, path, fragments) -> None:
        self.sent += [(path, one) for one in fragments]

    async def drop(self, path) -> None:
        self.dropped.append(path)

    async def checks(self) -> list:
        return []


class StubBridge:
    """Calls directly: no thread, so that virtual time works."""

    async def run(self, function: Callable, *args):
        return await function(*args)

    def inbox(self, size: int):
        sending, items = trio.open_memory_channel(size)
        return sending.send_nowait, items


@asynccontextmanager
async def radio(**settings):
    """Yield a running radio, its air and its host."""
    air, host = StubAir(), RecordingHost()
    accepted = []

    def accept(channel) -> bool:
        accepted.append(channel)
        return True

    one = Radio(air, StubBridge(), host, BleSettings(**settings), TIMES, accept)
    async with trio.open_nursery() as nursery:
        ready = trio.Event()
        nursery.start_soon(one.run, ready.set)
        await ready.wait()
        yield one, air, host
        nursery.cancel_scope.cancel()
    assert air.closed


@pytest.mark.parametrize(
    ("power", "least", "most"),
    [("always", 0.99, 1.0), ("balanced", 0.28, 0.4), ("low", 0.03, 0.07)],
)
async def test_power_says_how_much_it_looks(autojump_clock, power, least, most):
    async with radio(power=power) as (_, air, _):
        await trio.sleep(10_000)
        looked = 0.0
        for (begun, on), (ended, off) in zip(air.scans, air.scans[1:], strict=False):
            if on:
                assert not off
                looked += ended - begun
        assert least <= looked / 10_000 <= most


async def test_advertisements_begin_anew(autojump_clock):
    async with radio() as (_, air, _):
        await trio.sleep(80_000)
    gaps = [after - before for before, after in zip(air.epochs, air.epochs[1:], strict=False)]
    assert gaps.pop(0) == FIRST_EPOCH
    assert all(EPOCH[0] <= gap <= EPOCH[1] for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > len(gaps) // 2, "they have no beat"


async def test_who_is_not_seen_any_more_is_lost(autojump_clock):
    async with radio(power="balanced") as (_, air, host):
        air.tell(Sighted("goes"))
        for _ in range(10):
            air.tell(Sighted("stays"))
            await trio.sleep(30)
        assert set(host.met) == {Address(b"stays")}
        assert host.met[Address(b"stays")] <= 3
    assert host.met == {}, "a radio that is off sees nobody"


async def test_a_flood_of_addresses_is_bounded(autojump_clock):
    async with radio() as (_, air, host):
        for number in range(3_000):
            air.tell(Sighted(f"false {number}"))
            await trio.testing.wait_all_tasks_blocked()
        air.tell(Sighted("x" * 300))
        await trio.testing.wait_all_tasks_blocked()
        assert len(host.met) == MAX_KNOWN


async def test_strangers_cannot_take_all_connections(autojump_clock):
    async with radio(max_links=4) as (one, air, _):
        for number in range(6):
            air.tell(Joined(number, f"stranger {number}"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(one._paths) == 4 - OWN_SHARE
        assert sorted(air.dropped) == list(range(4 - OWN_SHARE, 6))
        await trio.sleep(60)
        assert len(one._paths) == 0, "who opens no channel is sent away"
        assert sorted(air.dropped) == list(range(6))


async def test_fragments_of_nobody_are_passed_over(autojump_clock):
    async with radio() as (one, air, _):
        air.tell(Arrived(99, b"what?"))
        air.tell(Ended(99))
        air.tell(Joined(0, "somebody"))
        air.tell(Arrived(0, b"not a fragment"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(one._paths) == 1
        assert air.sent == []


async def answer(air: StubAir) -> None:
    """Be the other side of the first path we make."""
    other = Line(None, times=Times())
    while True:
        await trio.sleep(0.1)
        for _, raw in air.sent:
            other.receive_untrusted(decode_untrusted(raw), trio.current_time())
        air.sent.clear()
        while (raw := other.outgoing(trio.current_time(), 500)) is not None:
            air.tell(Arrived(1_001, raw))


async def test_two_paths_over_one_connection_end_together(autojump_clock):
    async with radio() as (one, air, _), trio.open_nursery() as nursery:
        nursery.start_soon(answer, air)
        air.tell(Sighted("somebody"))
        await trio.testing.wait_all_tasks_blocked()
        channel = await one.dial(Address(b"somebody"))
        air.tell(Joined(5, "somebody"))
        await trio.sleep(1_000)
        assert air.dropped == [], "the idle path would take the other one with it"
        await channel.aclose()
        await trio.sleep(100)
        assert sorted(air.dropped) == [5, 1_001]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("delay", [0.5, 1.5])
async def test_a_dial_is_answered_by_the_other_sides_connection(autojump_clock, delay):
    """Both connect at once, and only one connection comes of it: it serves both."""
    async with radio() as (one, air, _):
        air.answers, air.failure = False, Overtaken
        air.tell(Sighted("somebody"))
        await trio.testing.wait_all_tasks_blocked()
        other = Line(b"line", times=Times())

        async def come() -> None:
            await trio.sleep(delay)
            other.open(trio.current_time())
            air.tell(Joined(5, "somebody"))
            while True:
                while (raw := other.outgoing(trio.current_time(), 500)) is not None:
                    air.tell(Arrived(5, raw))
                await trio.sleep(0.1)
                for path, raw in air.sent:
                    assert path == 5
                    other.receive_untrusted(decode_untrusted(raw), trio.current_time())
                air.sent.clear()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            began = trio.current_time()
            channel = await one.dial(Address(b"somebody"))
            assert trio.current_time() - began < delay + 1
            assert air.connecting == 1
            await channel.aclose()
            nursery.cancel_scope.cancel()


async def test_a_connection_that_outlived_its_program_is_ended(autojump_clock):
    async with radio() as (one, air, _):
        air.tell(Sighted("somebody"))
        await trio.testing.wait_all_tasks_blocked()
        for tries in (1, 2):
            with pytest.raises(ChannelClosed):
                await one.dial(Address(b"somebody"))
            await trio.testing.wait_all_tasks_blocked()
            assert air.connecting == tries, "the next try is made over a new connection"
            assert air.dropped == [1_000 + number for number in range(1, tries + 1)]


async def test_all_who_dial_wait_for_one_connection(autojump_clock):
    async with radio() as (one, air, _):
        air.tell(Sighted("somebody"))
        await trio.testing.wait_all_tasks_blocked()
        opened = []

        async def dial() -> None:
            opened.append(await one.dial(Address(b"somebody")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, air)
            async with trio.open_nursery() as dialling:
                for _ in range(3):
                    dialling.start_soon(dial)
            nursery.cancel_scope.cancel()
        assert air.connecting == 1
        await trio.sleep(60)
        for channel in opened:
            with pytest.raises(ChannelClosed):
                await channel.receive()
        assert air.dropped == [1_001], "a connection nobody needs is ended"


async def test_nobody_answers(autojump_clock):
    async with radio() as (one, air, _):
        air.answers = False
        air.tell(Sighted("somebody"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ChannelClosed):
            await one.dial(Address(b"somebody"))
        with pytest.raises(ChannelClosed):
            await one.dial(Address(b"nobody"))
        assert air.connecting == 1


class Steps(trio.abc.Instrument):
    """Counts how often any task ran."""

    def __init__(self) -> None:
        self.taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += 1


async def test_nothing_spins_while_others_are_gone(autojump_clock):
    """An hour of peers that do not answer, fall silent with half a frame under way, or connect and
    say nothing: tasks run when something is due, not all the time."""
    async with radio(power="balanced", max_links=5) as (one, air, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, air)
            air.tell(Sighted("falls silent"))
            await trio.testing.wait_all_tasks_blocked()
            channel = await one.dial(Address(b"falls silent"))
            await channel.send(bytes(60_000))
            nursery.cancel_scope.cancel()
        for number in range(3):
            air.tell(Joined(number, f"silent {number}"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(one._paths) == 4
        air.answers = False
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(unanswered, one, air, f"gone {number}")
            await trio.sleep(3_600)
        trio.lowlevel.remove_instrument(steps)
        assert one._paths == {}
        calls = len(air.scans) + len(air.epochs) + len(air.dropped) + len(air.sent) + air.connecting
        assert 300 < calls < 600
        assert steps.taken < 10 * calls


async def unanswered(one: Radio, air: StubAir, name: str) -> None:
    """Dial somebody who is seen and does not answer."""
    air.tell(Sighted(name))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(ChannelClosed):
        await one.dial(Address(name.encode()))


async def test_a_busy_controller_costs_no_connection(autojump_clock):
    """It may refuse to advertise or to scan for a while."""
    async with radio(power="always") as (one, air, _), trio.open_nursery() as nursery:
        nursery.start_soon(answer, air)
        air.tell(Sighted("somebody"))
        await trio.testing.wait_all_tasks_blocked()
        channel = await one.dial(Address(b"somebody"))
        for _ in range(20):
            air.broken = True
            await trio.sleep(TRY_AGAIN * (TRIES - 2))
            air.broken = False
            await trio.sleep(40)
        assert not channel.pipe.ended
        assert air.scans[-1][0] > trio.current_time() - 60
        assert len(air.epochs) > 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("by_event", [True, False])
async def test_a_radio_that_fails_ends_and_says_why(autojump_clock, by_event):
    air, host = StubAir(), RecordingHost()
    one = Radio(air, StubBridge(), host, BleSettings(), TIMES, lambda _: True)

    def fail() -> None:
        air.tell(Sighted("somebody"))
        air.broken = not by_event
        if by_event:
            air.tell(Down("scanning does not work"))

    with pytest.raises(AirDown, match="scanning does not work"):
        await one.run(fail)
    assert host.met == {}
    assert air.closed
