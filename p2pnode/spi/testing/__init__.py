"""The conformance kit: what every transport, ours or another's, must pass.

    async def test_my_transport():
        await check_transport(my_pair)

`my_pair()` is an async context that yields a fresh `Pair` of transports, not running yet, which
can reach each other. Each check enters it anew. The kit uses the real clock, waits on events, and
raises AssertionError. It counts threads and file descriptors, so run it alone in its process.
"""

from p2pnode.spi.testing.courier import CourierPair as CourierPair, check_courier as check_courier
from p2pnode.spi.testing.duplex import check_transport as check_transport
from p2pnode.spi.testing.host import RecordingHost as RecordingHost
from p2pnode.spi.testing.world import BREATH as BREATH, Fault as Fault, Pair as Pair
