"""Writers killed by SIGKILL at random moments leave nothing false; the next one completes."""

import sys
from pathlib import Path

import trio
from p2pnode_courier import FolderCourier
from p2pnode_courier.settings import CourierSettings

from p2pnode.spi.transport import Deposit
from tests.patience import PATIENCE
from transports.courier.tests.courier_writer import PARCELS

ROOT = Path(__file__).parents[3]


async def test_kill_9(tmp_path):
    command = [sys.executable, "-m", "transports.courier.tests.courier_writer"]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*command, str(tmp_path), "7", "16"], cwd=ROOT, capture_stdout=True
        )
    assert int(done.stdout) >= 10
    partials = 0
    for place in sorted(tmp_path.iterdir()):
        partials += len(list(place.glob("*.p2t")))
        courier = FolderCourier(CourierSettings())
        found = [parcel async for parcel in courier.take(str(place))]
        assert len(set(found)) == len(found)
        assert set(found) <= set(PARCELS)
        assert courier.counts.damaged == courier.counts.foreign == 0
        assert (await courier.put(str(place), PARCELS)).envelopes == len(PARCELS) - len(found)
        assert await courier.put(str(place), PARCELS) == Deposit(0, 0)
        assert {path.suffix for path in place.iterdir()} == {".p2p"}
        assert {parcel async for parcel in courier.take(str(place))} == set(PARCELS)
    assert partials
