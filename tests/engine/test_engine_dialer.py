"""The dialer at its end and in the long run: what is told then has no consequences."""

from random import Random

import pytest
import trio

from p2pnode.engine.dialer import LONGEST_WAIT, Dialer, doubled
from p2pnode.engine.peers import Peers
from p2pnode.ids import DeviceId, Lane
from p2pnode.spi.memory import MemoryNet
from p2pnode.spi.transport import Address


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


async def test_a_place_where_nobody_ever_is_ends_nothing(autojump_clock):
    """After 1,024 tries the pause was once too large for a float, and the node ended."""
    transport, peers = MemoryNet().transport("ana"), Peers()
    dialer = Dialer(peers, Random(1), None, None)
    async with trio.open_nursery() as nursery:
        await nursery.start(dialer.run)
        dialer.encountered(transport, Address(b"nobody"), 0.0)
        await trio.sleep(1_200 * LONGEST_WAIT)
        nursery.cancel_scope.cancel()
    assert peers.counts.dials[transport.name, "failed"] > 1_100
    assert doubled(1.0, 0, 300.0) == 1.0
    assert doubled(1.0, 10**9, 300.0) == 300.0
