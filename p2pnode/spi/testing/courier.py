"""Checks of a courier."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import trio

from p2pnode.spi.testing.host import diagnosed
from p2pnode.spi.testing.world import PATIENCE
from p2pnode.spi.transport import Courier, Deposit, Parcel


@dataclass(frozen=True, slots=True)
class CourierPair:
    """Two couriers that see the same place; `damage` spoils some bytes of what lies there."""

    first: Courier
    second: Courier
    place: str
    damage: Callable[[], None]


_PARCELS = [Parcel(os.urandom(4_096), age) for age in range(5)]


async def check_courier(factory: Callable[[], AbstractAsyncContextManager[CourierPair]]) -> None:
    """Run every check of a courier. Raises AssertionError."""
    for check in (_round_trip, _again, _damage, _nothing_there, _courier_diagnosis):
        async with factory() as pair:
            with trio.fail_after(PATIENCE):
                await check(pair)


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
    diagnosed(await pair.first.diagnose())
