"""Lanes: what a contact is told of addresses, when they change, and when the old ones end."""

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import (
    ChannelClosed,
    InvalidInput,
    RemoteError,
    UnknownContact,
    UntrustedKey,
)
from p2pnode.ids import Lane
from p2pnode.protocol.link.messages import Addresses
from p2pnode.spi.transport import Address
from p2pnode.turns import asks
from tests.people import Person, pair, reached, send


def lanes(person: Person) -> list[bytes]:
    return [row.lane for row in person.stores.vault.lanes.all()]


async def test_a_lane_is_replaced_once_the_contact_has_the_new_addresses(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await trio.sleep(5)
        [first] = lanes(ana)
        await a.call(schema.RotateAddress(contact="bo"))
        await trio.sleep(5)
        [second] = lanes(ana)
        assert second != first
        net.cut("ana", "bo")
        await trio.sleep(60)
        await a.call(schema.RotateAddress(contact="bo"))
        await a.call(schema.RotateAddress(contact="bo"))
        await trio.sleep(600)
        assert lanes(ana)[0] == second  # it serves until bo has the new one
        assert len(lanes(ana)) == 3
        net.connect("ana", "bo")
        await trio.sleep(60)
        [last] = lanes(ana)
        assert last not in (first, second)
        await reached(a, await send(a, "bo", "still here"))
        assert sum(node.engine.peers.rejected.total() for node in (a, b)) == 0


async def test_a_removed_contact_has_no_lane_left(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        net.cut("ana", "bo")
        await a.call(schema.RotateAddress(contact="bo"))
        await a.call(schema.RemoveContact(contact="bo"))
        assert lanes(ana) == []
        with pytest.raises(UnknownContact):
            await a.call(schema.RotateAddress(contact="bo"))


async def test_nothing_ends_for_a_lane_nobody_was_told(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        net.cut("ana", "bo")
        await trio.sleep(60)
        [device] = ana.stores.vault.devices.all()
        await a.call(schema.RotateAddress(contact="bo"))
        before = lanes(ana)
        await a.engine.owner.ask(asks.LaneKept(device.id, b"another lane"))
        await a.engine.owner.ask(asks.LaneKept(device.id, before[0]))
        assert lanes(ana) == before


async def test_a_pending_contact_has_no_addresses_to_change(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        mine = await a.call(schema.ShowCode(mutual=True))
        theirs = await b.call(schema.ShowCode(mutual=True))
        await a.call(schema.JoinCode(uri=theirs.uri, pairing=mine.pairing, petname="bo"))
        with pytest.raises(InvalidInput, match="not paired"):
            await a.call(schema.RotateAddress(contact="bo"))


def dials_of(person: Person, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the addresses that a person's transport is told to dial, as they come."""
    dialled: list[bytes] = []
    honest = person.transport.dial

    async def dial(address, lane=None):
        dialled.append(bytes(address))
        return await honest(address, lane)

    monkeypatch.setattr(person.transport, "dial", dial)
    return dialled


@pytest.mark.parametrize("restarted", [False, True])
async def test_nobody_is_dialled_or_let_in_for_a_blocked_contact(
    two, autojump_clock, monkeypatch, restarted
):
    net, ana, bo = two
    dialled = dials_of(ana, monkeypatch)
    async with bo.on() as b:
        async with ana.on() as a:
            assert await pair(a, b) == ["paired", "paired"]
            await trio.sleep(30)
            [lane] = lanes(ana)
            [_, _, [place]] = bo.stores.vault.addresses.all()[0]
            await a.call(schema.BlockContact(contact="bo"))
            await trio.sleep(60)
            assert await ana.transport.addresses(Lane(lane)) == []
            with pytest.raises(ChannelClosed):
                await bo.transport.dial(Address(place))
            net.cut("ana", "bo")
            await trio.sleep(1)
            dialled.clear()
            if not restarted:
                await trio.sleep(7_200)
        if restarted:
            async with ana.on() as a:
                await trio.sleep(7_200)
        assert dialled == []
        async with ana.on() as a:
            assert await ana.transport.addresses(Lane(lane)) == []
            await a.call(schema.BlockContact(contact="bo", blocked=False))
            await trio.sleep(5)
            assert dialled
            assert lanes(ana) == [lane]
            assert await ana.transport.addresses(Lane(lane)) == [place]
            net.connect("ana", "bo")
            await reached(a, await send(a, "bo", "again"))
            await reached(b, await send(b, "ana", "again"))


async def test_what_was_decided_last_about_a_lane_counts(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        [lane] = lanes(ana)
        for _ in range(8):
            for blocked in (True, False, True):
                await a.call(schema.BlockContact(contact="bo", blocked=blocked))
            await trio.sleep(1)
            assert await ana.transport.addresses(Lane(lane)) == []
            await a.call(schema.BlockContact(contact="bo", blocked=False))
            await trio.sleep(1)
            assert len(await ana.transport.addresses(Lane(lane))) == 1
        await reached(a, await send(a, "bo", "still friends"))


async def test_a_link_that_comes_up_while_its_contact_is_blocked_leads_nowhere(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await trio.sleep(30)
        [device] = ana.stores.vault.devices.all()
        told = Addresses((("memory", (b"bo/somewhere else",)),))
        await a.call(schema.BlockContact(contact="bo"))
        for late in (
            asks.LinkUp(device.id, "memory"),
            asks.Told(1, device.id, told),
            asks.Step(device.id, 0),
        ):
            with pytest.raises(RemoteError, match="device-gone"):
                await a.engine.owner.ask(late)
        with pytest.raises(UntrustedKey, match="blocked"):
            await a.call(schema.RotateAddress(contact="bo"))
        assert len(lanes(ana)) == 1


async def test_a_removed_contact_that_was_only_seen_is_not_dialled_once_it_goes(
    two, autojump_clock, monkeypatch
):
    """A place known from links alone was tried on for ever after its device was forgotten."""
    net, ana, bo = two
    dialled = dials_of(ana, monkeypatch)
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await trio.sleep(60)
        await a.call(schema.RemoveContact(contact="bo"))
        net.cut("ana", "bo")
        await trio.sleep(1)
        dialled.clear()
        await trio.sleep(7_200)
        assert dialled == []


async def test_a_fingerprint_that_differs_lets_no_blocked_contact_in(two, autojump_clock):
    """He was stopped as suspect then, and so recognised and served again."""
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await a.call(schema.BlockContact(contact="bo"))
        contact = await a.call(schema.VerifyContact("bo", matches=False))
        assert (contact.state, contact.doubt) == ("blocked", "mismatch")
        contact = await a.call(schema.BlockContact("bo", blocked=False))
        assert (contact.state, contact.doubt) == ("suspect", "mismatch")
