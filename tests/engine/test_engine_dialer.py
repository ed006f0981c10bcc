"""The dialer at its end: whatever is still told then has no consequences."""

from random import Random

import pytest
import trio

from p2pnode.engine.dialer import Dialer
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
