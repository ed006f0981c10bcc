"""Couriers in a running node: watched places, what is written anew, and plug-ins that fail."""

import pytest
import trio

from p2pnode import schema
from p2pnode.engine.couriers import ANEW_EVERY, WATCH_EVERY
from p2pnode.errors import InvalidInput
from p2pnode.spi.memory import MemoryCourier, MemoryNet
from tests.people import Person, history, pair, reached, send

PLACE = "shared folder"


class Watching(MemoryCourier):
    """Counts what it is asked to write, and fails when told to."""

    name = "courier"

    def __init__(self, places, *watched: str) -> None:
        super().__init__(places)
        self.watched = watched
        self.asked: list[int] = []
        self.failure: Exception | None = None

    async def put(self, place, parcels):
        if self.failure is not None:
            raise self.failure
        self.asked.append(len(parcels))
        return await super().put(place, parcels)


@pytest.fixture
def two():
    net, places = MemoryNet(), {}
    people = Person(net, "ana"), Person(net, "bo")
    for person in people:
        person.couriers = [Watching(places, PLACE)]
    yield net, places, *people
    for person in people:
        person.close()


async def test_a_watched_place_carries_both_ways(two, autojump_clock):
    net, _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        net.cut("ana", "bo")
        sent = await send(a, "bo", "left in a folder")
        assert (await reached(a, sent)).state == "delivered"
        assert [message.text for message in await history(b, "ana")] == ["left in a folder"]


async def test_what_is_there_is_not_read_from_the_stores_again_and_again(two, autojump_clock):
    _, places, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        courier = ana.couriers[0]
        for number in range(5):
            await send(a, "bo", f"text {number}")
        await trio.sleep(200)
        assert sum(courier.asked) == 10  # each once as own mail, once as a copy in custody
        places.clear()  # somebody empties the folder
        await trio.sleep(ANEW_EVERY + 2 * WATCH_EVERY)
        assert len(places[PLACE]) == 5


async def test_a_courier_that_fails_is_told_and_tried_again(two, autojump_clock):
    _, places, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        courier = ana.couriers[0]
        for failure in (InvalidInput("the folder is not there"), ZeroDivisionError()):
            courier.failure = failure
            await send(a, "bo", "one more")
            await trio.sleep(100)
            status = await a.call(schema.GetStatus())
            assert status.transports["courier"].state == "degraded"
            assert status.transports["courier"].detail
        courier.failure = None
        await trio.sleep(100)
        status = await a.call(schema.GetStatus())
        assert status.transports["courier"].state == "up"
        assert len(places[PLACE]) == 2


async def test_by_hand_with_a_limit_and_for_one_person(two, autojump_clock):
    _, places, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
    ana.couriers, bo.couriers = [Watching(places)], []
    async with ana.on() as a:
        for number in range(5):
            await send(a, "bo", f"text {number}")
        some = await a.call(schema.WriteCourier(place="stick", max_size=2 * 4096))
        assert (some.envelopes, some.bytes) == (2, 8192)
        rest = await a.call(schema.WriteCourier(place="stick", contact="bo"))
        assert rest.envelopes == 3
    async with bo.on() as b:
        with pytest.raises(InvalidInput, match="courier"):
            await b.call(schema.ReadCourier(place="stick"))


async def test_why_tells_of_files_once_they_are_written_and_of_what_is_in_them(two, autojump_clock):
    _, places, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
    courier = Watching(places)
    ana.couriers = [courier]
    async with ana.on() as a:
        sent = [await send(a, "bo", f"text {number}") for number in range(3)]

        async def told() -> list[bool]:
            events = [(await a.call(schema.Why(one))).events for one in sent]
            return [found[-1].kind == "couriered" for found in events]

        courier.failure = InvalidInput("the stick is full")
        with pytest.raises(InvalidInput, match="full"):
            await a.call(schema.WriteCourier(place="stick"))
        assert await told() == [False, False, False]
        courier.failure = None
        await a.call(schema.WriteCourier(place="stick", max_size=2 * 4096))
        assert await told() == [True, True, False]


async def test_a_wrong_place_is_told_although_there_is_nothing_to_write(two, autojump_clock):
    """It was said to be safe to unplug."""
    _, _, ana, _ = two
    async with ana.on() as a:
        courier = ana.couriers[0]
        courier.failure = InvalidInput("the folder is not there")
        with pytest.raises(InvalidInput, match="not there"):
            await a.call(schema.WriteCourier(place="/nowhere"))
        courier.failure = None
        written = await a.call(schema.WriteCourier(place="/a stick"))
        assert written.envelopes == 0
