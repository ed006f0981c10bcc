"""The plan to erase a home, while its daemon runs."""

import pytest
import trio

from p2pnode import erasure
from p2pnode.config import Home
from p2pnode.engine.clock import Clock
from p2pnode.erasable import LOOK_EVERY, Erasable
from p2pnode.errors import StoreFull
from p2pnode.gate import Gate
from p2pnode.schema import Erase
from p2pnode.store import files


async def test_a_plan_that_cannot_be_read_now_does_not_end_the_daemon(tmp_path, autojump_clock):
    # As when all files it may have open are open: it ended, and told to delete a plan there was not
    home = Home(tmp_path)
    home.vault_key.touch()
    home.erasure.mkdir()
    service = Erasable(Gate(home), home)
    service.clock = Clock()
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.until_erased, stopping)
        await trio.sleep(2.5 * LOOK_EVERY)
        assert not stopping.is_set()
        home.erasure.rmdir()
        await trio.sleep(LOOK_EVERY)
        assert not stopping.is_set()
        erasure.plan(home, service.clock.now().node, after=100, settings=False)
        await stopping.wait()
    assert service.over is not None
    assert trio.current_time() - service.clock._start >= 3.5 * LOOK_EVERY + 100


async def test_at_once_needs_no_room_for_a_plan(tmp_path, monkeypatch, autojump_clock):
    def full(path, raw):
        raise StoreFull("the disk is full")

    monkeypatch.setattr(files, "write_whole", full)
    home = Home(tmp_path)
    home.vault_key.touch()
    service = Erasable(Gate(home), home)
    service.clock = Clock()
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.until_erased, stopping)
        with pytest.raises(StoreFull):
            await service.call(Erase("all"))
        await service.call(Erase("all", now=True, settings=True))
        await stopping.wait()
    assert service.over is not None
    assert service.over.settings
