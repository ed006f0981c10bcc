"""The dialer at its end and in the long run: what is told then has no consequences."""

from random import Random

import pytest
import trio

from p2pnode.engine.dialer import MAX_PLACES, Dialer, doubled
from p2pnode.engine.peers import Peers
from p2pnode.errors import ChannelClosed
from p2pnode.ids import DeviceId, Lane
from p2pnode.protocol.limits import MAX_ADDRESSES
from p2pnode.spi.memory import MemoryNet, MemoryTransport
from p2pnode.spi.transport import Address, Channel


@pytest.mark.parametrize("ended", ["before it began", "after its end"])
async def test_what_a_last_commit_tells_does_not_matter(ended, autojump_clock):
    """A daemon once ended with an error, because a contact told its address while it stopped."""
    transport = MemoryNet().transport("ana")
    dialer = Dialer(Peers(), Random(1), None, None)
    if ended == "after its end":
        async with trio.open_nursery() as nursery:
            await nursery.start(dialer.run)
            nursery.cancel_scope.cancel()
    dialer.told(transport, Address(b"bo"), DeviceId(b"device"), Lane(b"lane"))
    dialer.encountered(transport, Address(b"cy"), 0.0)
    dialer.changed()
    assert dialer.nearby("memory") == 0


class Silent(MemoryTransport):
    """Somebody whom no dial reaches; counts the tries."""

    tries = 0

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        self.tries += 1
        await trio.lowlevel.checkpoint()
        raise ChannelClosed


async def test_a_place_where_nobody_answers_is_tried_on_and_on(autojump_clock):
    """The wait doubled without a bound, and after a thousand tries no float held it any more."""
    transport = Silent(MemoryNet(), "ana")
    dialer = Dialer(Peers(), Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        dialer.encountered(transport, Address(b"bo"), 0.0)
        await trio.sleep(86_400)
        nursery.cancel_scope.cancel()
    assert transport.tries > 1_100


async def test_a_transport_that_comes_up_tries_its_places_at_once(autojump_clock):
    transport, other = Silent(MemoryNet(), "ana"), Silent(MemoryNet(), "ana")
    dialer = Dialer(Peers(), Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        for one, name in ((transport, b"bo"), (other, b"cy")):
            dialer.told(one, Address(name), DeviceId(b"device"), Lane(b"lane"))
        await trio.sleep(3_000)  # by now the waits are ten minutes long
        before, before_other = transport.tries, other.tries
        dialer.retry(transport)
        await trio.sleep(5)
        assert transport.tries >= before + 2, "at once, and soon again"
        assert other.tries == before_other
        nursery.cancel_scope.cancel()


async def test_who_was_here_is_sought_at_once_when_he_goes(autojump_clock):
    transport, device = Silent(MemoryNet(), "ana"), DeviceId(b"device")
    peers = Peers()
    dialer = Dialer(peers, Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        dialer.told(transport, Address(b"bo"), device, Lane(b"lane"))
        await trio.sleep(3_000)
        before = transport.tries
        dialer.met(device)  # and gone again
        await trio.sleep(5)
        assert transport.tries >= before + 2
        nursery.cancel_scope.cancel()


async def test_what_a_removed_contact_told_is_dialled_no_more(autojump_clock):
    transport, device = Silent(MemoryNet(), "ana"), DeviceId(b"device")
    dialer = Dialer(Peers(), Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        dialer.told(transport, Address(b"bo"), device, Lane(b"lane"))
        await trio.sleep(5)
        assert transport.tries
        dialer.forget_device(device)
        before = transport.tries
        await trio.sleep(3_000)
        assert transport.tries == before
        nursery.cancel_scope.cancel()


async def test_one_contact_takes_not_all_the_places_there_are(autojump_clock):
    """It could, by telling new addresses all the time: then nobody else was dialled any more."""
    transport = Silent(MemoryNet(), "ana")
    dialer = Dialer(Peers(), Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        for n in range(2 * MAX_PLACES):
            dialer.told(transport, Address(b"%d" % n), DeviceId(b"hostile"), Lane(b"lane"))
        assert list(dialer._places) == [
            ("memory", b"%d" % n) for n in range(2 * MAX_PLACES - MAX_ADDRESSES, 2 * MAX_PLACES)
        ]
        dialer.encountered(transport, Address(b"near"), 0.0)
        dialer.told(transport, Address(b"bo"), DeviceId(b"bo"), Lane(b"lane"))
        assert {("memory", b"near"), ("memory", b"bo")} <= set(dialer._places)
        nursery.cancel_scope.cancel()


async def test_what_a_contact_told_comes_before_what_is_merely_announced(autojump_clock):
    transport = Silent(MemoryNet(), "ana")
    dialer = Dialer(Peers(), Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        for n in range(2 * MAX_PLACES):
            dialer.encountered(transport, Address(b"%d" % n), 0.0)
        dialer.told(transport, Address(b"bo"), DeviceId(b"bo"), Lane(b"lane"))
        assert ("memory", b"bo") in dialer._places
        assert len(dialer._places) == MAX_PLACES
        dialer.encountered(transport, Address(b"one more"), 0.0)
        assert ("memory", b"one more") not in dialer._places
        nursery.cancel_scope.cancel()


def test_no_pause_is_too_long_to_count():
    assert doubled(1.0, 0, 300.0) == 1.0
    assert doubled(1.0, 10**9, 300.0) == 300.0
