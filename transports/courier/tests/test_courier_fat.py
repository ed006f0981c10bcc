"""The courier on a FAT stick: its rules, its limits, and pulled out at every moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from p2pnode_courier import FolderCourier, bundle, folder
from p2pnode_courier.failures import CourierFull
from p2pnode_courier.settings import CourierSettings

from p2pnode.errors import Denied, LocalError
from p2pnode.spi.testing import CourierPair, check_courier
from p2pnode.spi.transport import Deposit
from transports.courier.tests.courier_stick import Stick, parcels

MANY = parcels(10)


def courier():
    """Return a courier that remembers nothing yet, as after a restart."""
    return FolderCourier(CourierSettings())


async def taken(place):
    return [parcel async for parcel in courier().take(str(place))]


@pytest.fixture
def small_bundles(monkeypatch):
    """Let a bundle hold four envelopes, so that few make many files."""
    monkeypatch.setattr(bundle, "CAPACITIES", (4,))


async def test_conforms_on_fat(monkeypatch):
    @asynccontextmanager
    async def pair() -> AsyncIterator[CourierPair]:
        with TemporaryDirectory() as place:
            monkeypatch.setattr(folder, "os", Stick(Path(place)))

            def damage() -> None:
                for path in Path(place).iterdir():
                    raw = bytearray(path.read_bytes())
                    raw[100] ^= 1
                    path.write_bytes(raw)

            yield CourierPair(courier(), courier(), place, damage)

    await check_courier(pair)


async def test_pulled_out_at_any_moment(monkeypatch, tmp_path, small_bundles):
    twins = torn = 0
    for seed in range(12):
        calls, pulled = 0, True
        while pulled:
            place = tmp_path / f"{seed}-{calls}"
            place.mkdir()
            stick = Stick(place, seed=1_000 * seed + calls, calls=calls)
            monkeypatch.setattr(folder, "os", stick)
            try:
                assert await courier().put(str(place), MANY) == Deposit(10, 40_960)
            except LocalError:
                assert stick.pulled
            pulled = stick.pulled
            torn += any(path.suffix == ".P2T" for path in place.iterdir())
            monkeypatch.setattr(folder, "os", Stick(place))
            reader = courier()
            found = [parcel async for parcel in reader.take(str(place))]
            assert reader.counts.damaged == reader.counts.foreign == 0, "named files are whole"
            assert len(found) == len(set(found))
            assert set(found) <= set(MANY)
            completing = await courier().put(str(place), MANY)
            assert completing.envelopes == len(MANY) - len(found)
            assert sorted(await taken(place), key=MANY.index) == MANY
            assert await courier().put(str(place), MANY) == Deposit(0, 0)
            left = {path.stem for path in place.iterdir() if path.suffix == ".P2T"}
            assert left <= {path.stem for path in place.iterdir() if path.suffix == ".P2P"}
            twins += len(left)
            calls += 1
    assert calls > 20
    assert torn
    assert twins


async def test_a_full_stick_says_what_was_written(monkeypatch, tmp_path, small_bundles):
    monkeypatch.setattr(folder, "os", Stick(tmp_path, clusters=2))
    with pytest.raises(CourierFull, match=r"8 envelopes \(32768 bytes\) were written") as refused:
        await courier().put(str(tmp_path), MANY)
    assert refused.value.deposit == Deposit(8, 32_768)
    assert sorted(await taken(tmp_path), key=MANY.index) == MANY[:8]
    assert {path.suffix for path in tmp_path.iterdir()} == {".P2P"}
    monkeypatch.setattr(folder, "os", Stick(tmp_path, clusters=3))
    assert await courier().put(str(tmp_path), MANY) == Deposit(2, 8_192)


async def test_a_full_folder_is_full(monkeypatch, tmp_path, small_bundles):
    monkeypatch.setattr(folder, "os", Stick(tmp_path, entries=5))
    with pytest.raises(CourierFull) as refused:
        await courier().put(str(tmp_path), MANY)
    assert refused.value.deposit == Deposit(8, 32_768)


async def test_a_read_only_stick_can_be_taken_from(monkeypatch, tmp_path):
    monkeypatch.setattr(folder, "os", Stick(tmp_path))
    await courier().put(str(tmp_path), MANY)
    (tmp_path / "ABCDEFGH.P2T").touch()
    monkeypatch.setattr(folder, "os", Stick(tmp_path, read_only=True))
    assert sorted(await taken(tmp_path), key=MANY.index) == MANY
    assert await courier().put(str(tmp_path), MANY) == Deposit(0, 0)
    with pytest.raises(Denied):
        await courier().put(str(tmp_path), parcels(11))
