"""The conformance kit finds what is wrong: each defect here is one somebody will write."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
import trio

from p2pnode.errors import ChannelClosed
from p2pnode.spi import memory
from p2pnode.spi.memory import MemoryChannel, MemoryCourier, MemoryNet, MemoryTransport
from p2pnode.spi.testing import CourierPair, Pair, check_courier, check_transport
from p2pnode.spi.transport import Address, Deposit, Parcel

Patch = pytest.MonkeyPatch


def flips_a_bit(patch: Patch) -> None:
    receive = MemoryChannel.receive

    async def spoiled(self):
        frame = await receive(self)
        return frame[:-1] + bytes((frame[-1] ^ 1,)) if len(frame) == 4_096 else frame

    patch.setattr(MemoryChannel, "receive", spoiled)


def loses_large_frames(patch: Patch) -> None:
    send = MemoryChannel.send

    async def lossy(self, frame):
        if len(frame) != 65_536:
            await send(self, frame)

    patch.setattr(MemoryChannel, "send", lossy)


def takes_any_frame(patch: Patch) -> None:
    send = MemoryChannel.send

    async def lax(self, frame):
        if 0 < len(frame) <= 66_560:
            await send(self, frame)

    patch.setattr(MemoryChannel, "send", lax)


def never_waits(patch: Patch) -> None:
    patch.setattr(memory, "FRAMES_UNDER_WAY", float("inf"))


def hides_the_end(patch: Patch) -> None:
    async def forgetful(self):
        self._incoming.close()
        await trio.lowlevel.checkpoint()

    patch.setattr(MemoryChannel, "aclose", forgetful)


def leaves_channels_behind(patch: Patch) -> None:
    patch.setattr(MemoryNet, "leave", lambda self, node: None)


def raises_its_own_error(patch: Patch) -> None:
    dial = MemoryNet.dial

    def strict(self, node, address):
        address.decode("utf-8")
        return dial(self, node, address)

    patch.setattr(MemoryNet, "dial", strict)


def dials_without_run(patch: Patch) -> None:
    dial = MemoryNet.dial

    def eager(self, node, address):
        if node.host is None:
            return MemoryChannel(node.traits, *trio.open_memory_channel[bytes](1))
        return dial(self, node, address)

    patch.setattr(MemoryNet, "dial", eager)


def keeps_revoked_lanes(patch: Patch) -> None:
    async def nothing(self, lane):
        await trio.lowlevel.checkpoint()

    patch.setattr(MemoryTransport, "revoke", nothing)


def starts_without_a_word(patch: Patch) -> None:
    run = MemoryTransport.run

    async def silent(self, host, *, task_status=trio.TASK_STATUS_IGNORED):
        patch.setattr(type(host), "report", lambda self, state, detail="": None)
        await run(self, host, task_status=task_status)

    patch.setattr(MemoryTransport, "run", silent)


def leaks_a_file(patch: Patch) -> None:
    run = MemoryTransport.run
    files = []

    async def careless(self, host, *, task_status=trio.TASK_STATUS_IGNORED):
        files.append(os.memfd_create("left-over"))
        await run(self, host, task_status=task_status)

    patch.setattr(MemoryTransport, "run", careless)


def says_nothing_in_diagnosis(patch: Patch) -> None:
    async def mute(self):
        await trio.lowlevel.checkpoint()
        return []

    patch.setattr(MemoryTransport, "diagnose", mute)


def loses_a_frame_when_cancelled(patch: Patch) -> None:
    receive = MemoryChannel.receive

    async def hasty(self):
        try:
            return await receive(self)
        except trio.Cancelled:
            self.end()
            raise

    patch.setattr(MemoryChannel, "receive", hasty)


DEFECTS = [
    flips_a_bit,
    loses_large_frames,
    takes_any_frame,
    never_waits,
    hides_the_end,
    leaves_channels_behind,
    raises_its_own_error,
    dials_without_run,
    keeps_revoked_lanes,
    starts_without_a_word,
    leaks_a_file,
    says_nothing_in_diagnosis,
    loses_a_frame_when_cancelled,
]


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    net = MemoryNet()
    yield Pair(net.transport("a"), net.transport("b"), nowhere=Address(b"nobody"))


async def test_the_kit_dials_again(monkeypatch):
    """As a node does: here every other dial fails, after the far end has got its channel."""
    dial = MemoryTransport.dial
    dials = 0

    async def fickle(self, address, lane=None):
        nonlocal dials
        channel = await dial(self, address, lane)
        dials += 1
        if dials % 2:
            await channel.aclose()
            raise ChannelClosed
        return channel

    monkeypatch.setattr(MemoryTransport, "dial", fickle)
    await check_transport(pair)


FOUND = {AssertionError, trio.TooSlowError, ChannelClosed, UnicodeDecodeError}
"""What the kit may end with when something is wrong."""


def kinds(error: BaseException) -> set[type[BaseException]]:
    """Return the kinds of errors in a group, or of the one."""
    if isinstance(error, BaseExceptionGroup):
        return set().union(*map(kinds, error.exceptions))
    return {type(error)}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
async def test_the_kit_finds(defect: Callable[[Patch], None], monkeypatch, autojump_clock):
    before = set(os.listdir("/proc/self/fd"))
    defect(monkeypatch)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - perhaps in groups
        await check_transport(pair)
    assert kinds(caught.value) <= FOUND
    for left in set(os.listdir("/proc/self/fd")) - before:
        with suppress(OSError):  # the listing itself was one
            os.close(int(left))


async def test_the_kit_finds_a_fault_that_does_not_end_the_channel(autojump_clock):
    async def harmless(channel):
        await channel.send(b"well formed")

    @asynccontextmanager
    async def with_fault() -> AsyncIterator[Pair]:
        async with pair() as plain:
            yield replace(plain, faults={"harmless": harmless})

    with pytest.raises(Exception) as caught:  # noqa: PT011 - in groups
        await check_transport(with_fault)
    assert "harmless: the channel ends" in repr(caught.value)


def doubles(patch: Patch) -> None:
    async def put(self, place, parcels):
        await trio.lowlevel.checkpoint()
        self._places.setdefault(place, {}).update({os.urandom(8): one for one in parcels})
        return Deposit(len(parcels), sum(len(one.envelope) for one in parcels))

    patch.setattr(MemoryCourier, "put", put)


def trusts_what_lies_there(patch: Patch) -> None:
    async def take(self, place):
        for parcel in self._places.get(place, {}).values():
            await trio.lowlevel.checkpoint()
            yield parcel

    patch.setattr(MemoryCourier, "take", take)


@pytest.mark.parametrize("defect", [doubles, trusts_what_lies_there])
async def test_the_kit_finds_in_couriers(defect: Callable[[Patch], None], monkeypatch):
    @asynccontextmanager
    async def couriers() -> AsyncIterator[CourierPair]:
        places: dict[str, dict[bytes, Parcel]] = {}

        def damage() -> None:
            digest, parcel = next(iter(places["stick"].items()))
            places["stick"][digest] = replace(parcel, envelope=b"\0" + parcel.envelope[1:])

        yield CourierPair(MemoryCourier(places), MemoryCourier(places), "stick", damage)

    defect(monkeypatch)
    with pytest.raises(AssertionError):
        await check_courier(couriers)
