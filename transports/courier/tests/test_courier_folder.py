"""The courier in a real folder: what it writes, passes over and remembers, and its limits."""

import errno
import fcntl
import gc
import os
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio
from p2pnode_courier import FolderCourier, diagnosis, folder
from p2pnode_courier import courier as courier_module
from p2pnode_courier.bundle import CAPACITIES, MAX_BUNDLE, SLOT, encode
from p2pnode_courier.failures import CourierFull
from p2pnode_courier.settings import CourierSettings

from p2pnode.errors import InvalidInput, StoreError
from p2pnode.spi.testing import CourierPair, check_courier
from p2pnode.spi.transport import Deposit, Parcel
from transports.courier.tests.courier_stick import envelope, parcels

SIZES = {slots * SLOT for slots in CAPACITIES}


def courier(**settings):
    return FolderCourier(CourierSettings(**settings))


async def take(one, place, **more):
    return [parcel async for parcel in one.take(str(place), **more)]


def failing(number):
    def fail(*args, **more):
        raise OSError(number, os.strerror(number))

    return fail


async def test_conforms():
    @asynccontextmanager
    async def pair() -> AsyncIterator[CourierPair]:
        with TemporaryDirectory() as place:

            def damage() -> None:
                for path in Path(place).iterdir():
                    path.write_bytes(path.read_bytes()[:10_000])

            yield CourierPair(courier(), courier(), place, damage)

    await check_courier(pair)


# What is written ---------------------------------------------------------------------------------


async def test_names_times_and_sizes_tell_nothing(tmp_path):
    one = courier()
    await one.put(str(tmp_path), parcels(1))
    await one.put(str(tmp_path), parcels(300, first=1))
    await one.put(str(tmp_path), parcels(1, first=400, size=65_536))
    files = list(tmp_path.iterdir())
    assert len(files) == 4
    for path in files:
        assert re.fullmatch(r"[a-z2-7]{8}\.p2p", path.name)
        assert path.stat().st_size in SIZES
        assert path.stat().st_mtime == 946_684_800
    assert len({path.name for path in files}) == 4


async def test_the_same_envelope_twice_in_one_deposit_is_written_once_at_its_lowest_age(tmp_path):
    twice = [Parcel(envelope(1), 5), Parcel(envelope(1), 2), Parcel(envelope(1), 9)]
    assert await courier().put(str(tmp_path), twice) == Deposit(1, 4_096)
    assert await take(courier(), tmp_path) == [twice[1]]


async def test_a_higher_age_there_does_not_stand_for_ours(tmp_path):
    for age, new in ((65_535, 1), (4, 1), (5, 0), (4, 0), (3, 1)):
        done = await courier().put(str(tmp_path), [Parcel(envelope(1), age)])
        assert done.envelopes == new
    assert {parcel.age for parcel in await take(courier(), tmp_path)} == {65_535, 4, 3}


async def test_damage_is_completed_by_the_next_deposit(tmp_path):
    some = parcels(12)
    await courier().put(str(tmp_path), some)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: 5 * SLOT + 1])
    reader = courier()
    assert len(await take(reader, tmp_path)) == 5
    assert reader.counts.damaged == 1
    assert (await reader.put(str(tmp_path), some)).envelopes == 7
    assert set(await take(reader, tmp_path)) == set(some)


async def test_parcels_no_bundle_can_hold_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="envelope"):
        await courier().put(str(tmp_path), [*parcels(1), Parcel(b"short", 0)])
    assert list(tmp_path.iterdir()) == []


async def test_max_size_writes_the_first_that_fit(tmp_path):
    one = courier(max_size=6 * SLOT)
    some = parcels(10)
    assert await one.put(str(tmp_path), some) == Deposit(4, 4 * 4_096)
    assert set(await take(one, tmp_path)) == set(some[:4])
    assert await one.put(str(tmp_path), some) == Deposit(0, 0)
    assert (await courier(max_size=20 * SLOT).put(str(tmp_path), some)).envelopes == 6
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20 * SLOT


async def test_a_folder_takes_so_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(courier_module, "MAX_FILES", 2)
    one = courier()
    for number in range(2):
        await one.put(str(tmp_path), parcels(1, first=number))
    with pytest.raises(CourierFull, match="0 envelopes"):
        await one.put(str(tmp_path), parcels(1, first=2))
    assert await one.put(str(tmp_path), parcels(2)) == Deposit(0, 0)


async def test_two_deposits_at_once_write_nothing_twice(tmp_path):
    one = courier()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one.put, str(tmp_path), parcels(20))
    assert len(await take(one, tmp_path)) == 20


# What breaks off ---------------------------------------------------------------------------------


async def test_leftovers_are_swept_and_nothing_else(tmp_path):
    (tmp_path / "abcdefgh.p2t").write_bytes(b"half")
    (tmp_path / "HGFEDCBA.P2T").touch()
    kept = {"twin2345.p2t", "twin2345.p2p", "notes.p2t", "abcdefgh.tmp", "large234.p2t"}
    for name in kept:
        (tmp_path / name).write_bytes(b"mine")
    os.truncate(tmp_path / "large234.p2t", MAX_BUNDLE + 1)
    (tmp_path / "folder22.p2t").mkdir()
    (tmp_path / "linked22.p2t").symlink_to(tmp_path / "notes.p2t")
    one = courier()
    await take(one, tmp_path)
    assert (tmp_path / "abcdefgh.p2t").exists(), "taking removes nothing"
    assert await one.put(str(tmp_path), []) == Deposit(0, 0)
    assert one.counts.swept == 2
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "folder22.p2t", "linked22.p2t"}


async def test_a_living_writers_file_is_left_alone(tmp_path):
    path = tmp_path / "abcdefgh.p2t"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await courier().put(str(tmp_path), [])
        assert path.exists()
    await courier().put(str(tmp_path), [])
    assert not path.exists()


async def test_a_writer_whose_file_is_swept_begins_again(tmp_path, monkeypatch):
    swept = []

    class Swept:
        """`os` in a folder that another node sweeps once."""

        def __getattr__(self, name):
            return getattr(os, name)

        def rename(self, old, new, **more):
            if not swept:
                swept.append(old)
                os.unlink(old, dir_fd=more["src_dir_fd"])
            os.rename(old, new, **more)

    monkeypatch.setattr(folder, "os", Swept())
    assert (await courier().put(str(tmp_path), parcels(3))).envelopes == 3
    assert swept
    assert len(await take(courier(), tmp_path)) == 3


async def test_a_failing_medium_is_told(tmp_path, monkeypatch):
    class Failing:
        """`os` on a disk that does not sync."""

        fsync = staticmethod(failing(errno.EIO))

        def __getattr__(self, name):
            return getattr(os, name)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "os", Failing())
        with pytest.raises(StoreError, match="the place failed"):
            await courier().put(str(tmp_path), parcels(1))
    assert list(tmp_path.iterdir()) == []


# What is passed over -----------------------------------------------------------------------------


async def test_foreign_files_are_passed_over_and_counted(tmp_path):
    outside, place = tmp_path / "outside", tmp_path / "place"
    outside.mkdir()
    place.mkdir()
    (outside / "secret.p2p").write_bytes(encode(parcels(1, first=90)))
    (place / "linked.p2p").symlink_to(outside / "secret.p2p")
    (place / "broken.p2p").symlink_to(outside / "nothing")
    (place / "folder.p2p").mkdir()
    (place / "folder.p2p" / "inner.p2p").write_bytes(encode(parcels(1, first=91)))
    os.mkfifo(place / "pipe.p2p")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place / "socket.p2p"))
    (place / "huge.p2p").touch()
    os.truncate(place / "huge.p2p", 2**40)
    (place / "long.p2p").write_bytes(encode(parcels(256)) + b"\0")
    (place / "empty.p2p").touch()
    (place / "letter.p2p").write_text("Dear all, ...")
    (place / "later.p2p").write_bytes(encode(parcels(1)).replace(b"p2p\x01", b"p2p\x02"))
    (place / "photo.jpg").write_bytes(encode(parcels(1, first=92)))
    (place / ".p2p").write_bytes(b"\xff" * 5_000)
    before = sorted(place.iterdir())
    one = courier()
    assert await take(one, place) == []
    assert one.counts.foreign == 11
    assert one.counts.read == 4
    assert (await one.put(str(place), parcels(3))).envelopes == 3
    after = set(place.iterdir())
    assert len(after.difference(before)) == 1
    assert after.issuperset(before)


async def test_whole_bundles_are_read_under_any_name(tmp_path):
    (tmp_path / "AB.P2P").write_bytes(encode(parcels(1)))
    (tmp_path / "copy of (1).sync-conflict.p2p").write_bytes(encode(parcels(1, first=1)))
    (tmp_path / os.fsdecode(b"\xff\n.p2p")).write_bytes(encode(parcels(1, first=2)))
    assert set(await take(courier(), tmp_path)) == set(parcels(3))


async def test_a_file_that_turns_into_something_else_is_passed_over(tmp_path):
    await courier().put(str(tmp_path), parcels(1))
    listing = folder.listed(str(tmp_path))
    (path,) = tmp_path.iterdir()
    path.unlink()
    os.mkfifo(path)
    assert folder.read(str(tmp_path), listing.bundles[0]) is None
    path.unlink()
    assert folder.read(str(tmp_path), listing.bundles[0]) is None
    path.write_bytes(bytes(MAX_BUNDLE + 1))
    assert folder.read(str(tmp_path), listing.bundles[0]) is None


async def test_a_file_that_cannot_be_read_is_passed_over(tmp_path, monkeypatch):
    await courier().put(str(tmp_path), parcels(1))
    monkeypatch.setattr(folder, "read", failing(errno.EIO))
    one = courier()
    assert await take(one, tmp_path) == []
    assert one.counts.foreign == 1


async def test_a_look_is_bounded(tmp_path, monkeypatch):
    for number in range(5):
        await courier().put(str(tmp_path), parcels(1, first=number))
    monkeypatch.setattr(courier_module, "MAX_FILES", 2)
    one = courier()
    assert len(await take(one, tmp_path)) == 2
    assert (one.counts.read, one.counts.left) == (2, 3)
    found = [len(await take(one, tmp_path, fresh=True)) for _ in range(3)]
    assert found == [2, 1, 0], "fresh looks reach the rest"
    monkeypatch.setattr(folder, "MAX_ENTRIES", 3)
    assert len(folder.listed(str(tmp_path)).bundles) == 3


async def test_places_that_are_none(tmp_path):
    (tmp_path / "file").touch()
    for place in ("", "relative", str(tmp_path / "nothing"), str(tmp_path / "file"), "/\0"):
        for call in (courier().put(place, parcels(1)), take(courier(), place)):
            with pytest.raises(InvalidInput):
                await call


async def test_no_file_stays_open(tmp_path):
    gc.collect()  # what earlier tests have left to the collector does not go meanwhile
    before = len(os.listdir("/proc/self/fd"))
    one = courier()
    await one.put(str(tmp_path), parcels(300))
    os.mkfifo(tmp_path / "pipe.p2p")
    async with aclosing(one.take(str(tmp_path))) as some:
        await anext(some)
        assert len(os.listdir("/proc/self/fd")) == before, "a stick can be unmounted meanwhile"
    with pytest.raises(InvalidInput):
        await one.put(str(tmp_path / "nothing"), parcels(1))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_hanging_stick_does_not_hold_the_node(tmp_path, monkeypatch):
    await courier().put(str(tmp_path), parcels(1))
    hanging, begun = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hang(*args):
        token.run_sync_soon(begun.set)
        hanging.wait()

    monkeypatch.setattr(folder, "read", hang)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, courier(), tmp_path)
            await begun.wait()
            nursery.cancel_scope.cancel()
    finally:
        hanging.set()


# What is remembered ------------------------------------------------------------------------------


async def test_a_fresh_look_reads_what_is_new(tmp_path):
    reader = courier()
    await courier().put(str(tmp_path), parcels(3))
    assert set(await take(reader, tmp_path, fresh=True)) == set(parcels(3))
    assert await take(reader, tmp_path, fresh=True) == []
    assert (reader.counts.read, reader.counts.skipped) == (0, 1)
    await courier().put(str(tmp_path), parcels(5))
    assert set(await take(reader, tmp_path, fresh=True)) == set(parcels(2, first=3))
    await reader.put(str(tmp_path), parcels(6))
    assert await take(reader, tmp_path, fresh=True) == [], "one's own need no reading"
    assert set(await take(reader, tmp_path)) == set(parcels(6)), "a whole look yields all"


async def test_a_file_not_taken_to_its_end_is_taken_again(tmp_path):
    await courier().put(str(tmp_path), parcels(3))
    reader = courier()
    async with aclosing(reader.take(str(tmp_path), fresh=True)) as some:
        await anext(some)
    assert len(await take(reader, tmp_path, fresh=True)) == 3


async def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "abc.p2p"
    path.write_bytes(encode(parcels(1)))
    reader = courier()
    assert len(await take(reader, tmp_path, fresh=True)) == 1
    path.write_bytes(encode(parcels(4)))
    os.utime(path, ns=(0, 0))
    assert len(await take(reader, tmp_path, fresh=True)) == 4


async def test_a_deposit_does_not_read_twice(tmp_path):
    await courier().put(str(tmp_path), parcels(3))
    one = courier()
    await one.put(str(tmp_path), parcels(3))
    assert one.counts.read == 1
    await one.put(str(tmp_path), parcels(3))
    assert one.counts.read == 0


async def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pnode_courier.known.MAX_TAKEN", 2)
    monkeypatch.setattr("p2pnode_courier.known.MAX_HELD", 1)
    for number in range(4):
        await courier().put(str(tmp_path), parcels(1, first=number))
    one = courier()
    assert await one.put(str(tmp_path), parcels(4)) == Deposit(0, 0)
    assert await one.put(str(tmp_path), parcels(4)) == Deposit(0, 0)
    await take(one, tmp_path)
    assert len(await take(one, tmp_path, fresh=True)) == 2


# Settings and diagnosis --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [{"watch": ["stick"]}, {"watch": ["/a\0"]}, {"watch": ["/a"] * 17}, {"max_size": -1}, {"x": 1}],
)
def test_settings_that_cannot_work(table):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, CourierSettings)


async def test_diagnosis(tmp_path, monkeypatch):
    (one,) = await courier().diagnose()
    assert one.result == "ok"
    await courier().put(str(tmp_path), parcels(3))
    watching = courier(watch=(str(tmp_path), str(tmp_path / "nothing")))
    first, second = await watching.diagnose()
    assert (first.result, first.detail) == ("ok", "1 files of envelopes")
    assert (second.result, bool(second.fix)) == ("warn", True)
    assert str(tmp_path) not in f"{first}{second}", "no path is said"
    (full,) = await courier(watch=(str(tmp_path),), max_size=SLOT).diagnose()
    assert "no more" in full.detail
    monkeypatch.setattr(diagnosis, "MAX_BUNDLE", 2**70)
    assert "disk is full" in (await watching.diagnose())[0].detail
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert "cannot be written" in (await watching.diagnose())[0].detail
