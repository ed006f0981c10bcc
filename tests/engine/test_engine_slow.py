"""Slow media (frames under 2 KiB, in order, as Bluetooth LE): small envelopes first, large ones in
pieces, and a broken one goes on where it was."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import trio

from p2pnode.protocol.limits import PIECE
from p2pnode.protocol.link import messages as m
from p2pnode.protocol.link.machine import Link
from p2pnode.spi import memory
from p2pnode.spi.memory import MemoryNet
from tests.people import Person, history, pair, reached, send

SLOW = replace(memory.TRAITS, mtu=487)
SECONDS_A_FRAME = 0.3
"""A medium of some 13 KiB/s."""

LARGE = "large " * 8_000
"""An envelope of 64 KiB."""


class Watch:
    """What links sealed, and where to break: after so many pieces (None: never)."""

    def __init__(self, net: MemoryNet) -> None:
        self.net = net
        self.sealed: list[m.LinkMessage] = []
        self.pieces_left: int | None = None
        self.piece_sent = trio.Event()
        self.broken = trio.Event()

    def break_after(self, pieces: int) -> None:
        """Part the two after so many pieces; `broken` says that it has happened."""
        self.pieces_left, self.broken = pieces, trio.Event()

    @property
    def pieces(self) -> list[int]:
        """The numbers of the pieces that were sent."""
        return [one.number for one in self.sealed if isinstance(one, m.Piece)]


@pytest.fixture
def slow(monkeypatch):
    """Two people on a slow medium, and a watch on what their links say."""
    net = MemoryNet()
    watch = Watch(net)
    seal = Link.seal
    send_frame = memory.MemoryChannel.send

    def watched(self, message, now):
        watch.sealed.append(message)
        if isinstance(message, m.Piece):
            watch.piece_sent.set()
        return seal(self, message, now)

    async def slowly(self, frame):
        await trio.sleep(SECONDS_A_FRAME * len(frame) / PIECE)
        if watch.pieces_left is not None and len(frame) > PIECE:
            watch.pieces_left -= 1
            if watch.pieces_left < 0:
                watch.pieces_left = None
                net.cut("ana", "bo")
                watch.broken.set()
        await send_frame(self, frame)

    monkeypatch.setattr(Link, "seal", watched)
    monkeypatch.setattr(memory.MemoryChannel, "send", slowly)
    with people(net, "ana", "bo") as (ana, bo):
        yield watch, ana, bo


@contextmanager
def people(net: MemoryNet, *names: str):
    """Yield people with slow channels."""
    found = []
    for name in names:
        person = Person(net, name)
        net._nodes[name].traits = SLOW
        found.append(person)
    yield found
    for person in found:
        person.close()


async def test_a_broken_envelope_goes_on_where_it_was(slow, autojump_clock):
    watch, ana, bo = slow
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        message = await send(a, "bo", LARGE)
        for _ in range(3):
            watch.break_after(4)
            await watch.broken.wait()
            watch.net.connect("ana", "bo")
        assert (await reached(a, message)).state == "delivered"
        assert [one.text for one in await history(b, "ana")] == [LARGE]
    assert sorted(set(watch.pieces)) == list(range(16))
    held = [one.pieces for one in watch.sealed if isinstance(one, m.Held)]
    assert held == sorted(held), "each link begins where the one before ended"
    assert len(held) >= 3
    assert len(watch.pieces) <= 16 + len(held), "an end costs a piece"


async def test_large_envelopes_are_carried_in_pieces(slow, autojump_clock):
    """Ana hears Bo, Bo hears Cleo: his node takes the pieces and hands them on."""
    watch, ana, bo = slow
    with people(watch.net, "cleo") as (cleo,):
        async with ana.on() as a, bo.on() as b, cleo.on() as c:
            for one, other in ((a, b), (b, c), (a, c)):
                await pair(one, other)
            watch.net.cut("ana", "cleo")
            message = await send(a, "cleo", LARGE)
            watch.break_after(4)
            await watch.broken.wait()
            watch.net.connect("ana", "bo")
            assert (await reached(a, message)).state == "delivered"
            assert [one.text for one in await history(c, "ana")] == [LARGE]
    assert sorted(set(watch.pieces)) == list(range(16))
    assert len(watch.pieces) >= 32, "twice over the air"
    assert [one for one in watch.sealed if isinstance(one, m.Held)]


async def test_who_restarts_begins_anew(slow, autojump_clock):
    watch, ana, bo = slow
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            message = await send(a, "bo", LARGE)
            watch.break_after(4)
            await watch.broken.wait()
        watch.sealed.clear()
        watch.net.connect("ana", "bo")
        async with bo.on() as b:
            assert (await reached(a, message)).state == "delivered"
            assert [one.text for one in await history(b, "ana")] == [LARGE]
    assert watch.pieces[0] == 0


async def test_small_envelopes_go_first(slow, autojump_clock):
    _, ana, bo = slow
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        ids = [await send(a, "bo", LARGE) for _ in range(3)]
        ids += [await send(a, "bo", f"small {number}") for number in range(5)]
        async with bo.on() as b:
            for message in ids[3:]:
                assert (await reached(a, message)).state == "delivered"
            assert len(await history(b, "ana")) == 5, "no large one has come"
            assert (await reached(a, ids[0])).state == "delivered"


async def test_what_is_new_does_not_wait_behind_what_is_large(slow, autojump_clock):
    watch, ana, bo = slow
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        large = [await send(a, "bo", LARGE) for _ in range(4)]
        await watch.piece_sent.wait()
        for number in range(5):
            assert (await reached(a, await send(a, "bo", f"new {number}"))).state == "delivered"
        got = [one.text for one in await history(b, "ana")]
        assert [text for text in got if text != LARGE] == [f"new {number}" for number in range(5)]
        assert got.count(LARGE) < 4, "they overtook"
        for message in large:
            assert (await reached(a, message)).state == "delivered"
        assert [one.text for one in await history(b, "ana")].count(LARGE) == 4


async def test_many_new_ones_arrive_in_their_order(slow, autojump_clock):
    _, ana, bo = slow
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        ids = [await send(a, "bo", str(number)) for number in range(100)]
        for message in ids:
            assert (await reached(a, message)).state == "delivered"
        assert [one.text for one in await history(b, "ana")] == [str(n) for n in range(100)]
