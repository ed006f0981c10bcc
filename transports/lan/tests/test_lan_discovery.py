"""What a flood of names may cost, and what is done without python-zeroconf."""

import asyncio
import gc
import logging
import os
import sys
from enum import Enum

import pytest
import trio
from p2pnode_lan import LanTransport, discovery
from p2pnode_lan.discovery import MAX_PEERS, SERVICE, Discovery, Sighting
from p2pnode_lan.interfaces import chosen
from p2pnode_lan.settings import LanSettings

from p2pnode.errors import TransportUnavailable
from p2pnode.spi.testing import RecordingHost
from p2pnode.spi.transport import Address


class Change(Enum):
    """What a browser says of a name."""

    Added = 1
    Removed = 2
    Updated = 3


def name(number: int) -> str:
    return f"{number:016x}.{SERVICE}"


@pytest.fixture
def told() -> list[Sighting]:
    return []


@pytest.fixture
def listener(told, monkeypatch) -> Discovery:
    """A discovery that remembers which names it asked about, and never gets an answer."""

    async def silent(self: Discovery, zeroconf: object, name: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Discovery, "_resolve", silent)
    return Discovery(name(0), [], 4001, told.append)


def feed(listener: Discovery, *events: tuple[str, Change]) -> set[str]:
    """Give events to a discovery and return the names it asks about."""

    async def run() -> set[str]:
        for text, change in events:
            listener._changed(None, SERVICE, text, change)
        await asyncio.sleep(0)
        asked = set(listener._resolving)
        await discovery._end(list(listener._resolving.values()))
        return asked

    return asyncio.run(run())


def test_a_flood_of_names_is_bounded(listener):
    asked = feed(listener, *((name(number), Change.Added) for number in range(1, 5_000)))
    assert len(asked) == MAX_PEERS
    assert len(listener._followed) == MAX_PEERS


def test_goodbyes_make_room(listener, told):
    flood = [(name(number), Change.Added) for number in range(1, MAX_PEERS + 1)]
    late = name(9_999)
    asked = feed(listener, *flood, (name(1), Change.Removed), (late, Change.Added))
    assert late in asked
    assert name(1) not in asked
    assert told == [Sighting(name(1), Address(b""))]


@pytest.mark.parametrize(
    "text", [name(0), SERVICE, f"my laptop.{SERVICE}", f"{'A' * 16}.{SERVICE}", "x" * 5_000, ""]
)
def test_names_no_node_would_choose_are_passed_over(listener, told, text):
    assert feed(listener, (text, Change.Added), (text, Change.Removed)) == set()
    assert told == []


def test_a_goodbye_that_is_cut_off_leaves_no_socket(monkeypatch):
    """As on a machine that does not get to saying it in time."""
    monkeypatch.setattr(discovery, "GOODBYE_TIME", 0.0)

    async def announced_and_ended() -> None:
        told = asyncio.Event()
        own = Discovery(name(0), chosen(["lo"], loopback=True), 4001, lambda _: told.set())
        running = asyncio.create_task(own.run())
        await told.wait()
        running.cancel()
        await asyncio.wait({running})

    gc.collect()  # what earlier tests have left to the collector does not go meanwhile
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(announced_and_ended())
    assert len(os.listdir("/proc/self/fd")) == before


async def test_without_zeroconf_the_transport_is_unavailable_and_says_what_helps(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    transport, host = LanTransport(LanSettings()), RecordingHost()
    with pytest.raises(TransportUnavailable) as caught:
        await transport.run(host)
    assert "p2pnode[lan]" in caught.value.hint
    assert [state for state, _ in host.reports] == ["starting", "off"]
    checks = {check.name: check for check in await transport.diagnose()}
    assert checks["discovery"].result == "fail"


async def test_without_zeroconf_peers_named_by_hand_still_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    transport = LanTransport(LanSettings(discover=False, interfaces=("lo",)))
    async with trio.open_nursery() as nursery:
        host = RecordingHost()
        await nursery.start(transport.run, host)
        assert host.reports[-1][0] == "up"
        nursery.cancel_scope.cancel()


def test_zeroconf_logs_nothing():
    """Its messages name addresses."""
    discovery.check_installed()
    assert not logging.getLogger("zeroconf").isEnabledFor(logging.CRITICAL)
