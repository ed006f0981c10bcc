"""Pairing between whole nodes: refused, interrupted, repeated, mutual."""

from types import SimpleNamespace

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import InvalidInput, LocalError, PairingFailed, StoreFull
from p2pnode.node import Node
from p2pnode.protocol import limits
from p2pnode.turns import asks, commit
from tests.people import Person, history, pair, reached, send, steps


async def contacts(node: Node) -> list[schema.Contact]:
    answer = await node.call(schema.ListContacts())
    assert isinstance(answer, schema.Contacts)
    return answer.contacts


@pytest.mark.parametrize("yes", [(False, True), (True, False), (False, False)])
async def test_a_no_leaves_no_contact_anywhere(two, yes, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        ends = await pair(a, b, yes=yes)
        assert ends == ["failed", "failed"]
        await trio.sleep(5)
        assert await contacts(a) == await contacts(b) == []
        assert "internal-error" not in a.engine.peers.rejected + b.engine.peers.rejected


async def test_a_yes_that_is_told_of_before_ours_is_not_missed(two, autojump_clock):
    """Both may share a commit. The contact was active at once, and yet the person was told ten
    minutes later that nobody had confirmed."""
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        owner = a.engine.owner

        async def late(one):
            answer = await owner.ask(one)
            if isinstance(one, asks.Keep):
                while (await contacts(a))[0].state != "active":  # noqa: ASYNC110 - no such event
                    await trio.sleep(1)
            return answer

        a.engine.pairings._owner = SimpleNamespace(ask=late, post=owner.post)
        assert await pair(a, b) == ["paired", "paired"]


async def test_a_used_code_does_not_work_again(two, autojump_clock):
    net, ana, bo = two
    eve = Person(net, "eve")
    async with ana.on() as a, bo.on() as b, eve.on() as e:
        shown = await a.call(schema.ShowCode())
        joined = await b.call(schema.JoinCode(uri=shown.uri))
        async with trio.open_nursery() as nursery:

            async def agree(node, pairing):
                async for step in steps(node, pairing):
                    if step.event == "compare":
                        await node.call(schema.AnswerPairing(pairing=pairing, yes=True))

            nursery.start_soon(agree, a, shown.pairing)
            nursery.start_soon(agree, b, joined.pairing)
        again = await e.call(schema.JoinCode(uri=shown.uri))
        ended = [step async for step in steps(e, again.pairing)][-1]
        assert (ended.event, ended.reason) == ("failed", "expired")
        assert [one.name for one in await contacts(a)] == ["bo"]
        assert await contacts(e) == []
    eve.close()


async def test_own_damaged_and_foreign_codes_are_refused(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on():
        shown = await a.call(schema.ShowCode())
        for bad in ("", "hello", shown.uri[:-1], shown.uri.replace("P2PNODE", "HTTP"), "P2PNODE:"):
            with pytest.raises(PairingFailed):
                await a.call(schema.JoinCode(uri=bad))


async def test_an_active_contact_is_not_replaced(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        before = ana.stores.vault.devices.all()[0].certificate
        shown = await a.call(schema.ShowCode())
        joined = await b.call(schema.JoinCode(uri=shown.uri))
        ends = {}

        async def side(node, pairing):
            async for step in steps(node, pairing):
                ends[pairing] = step.event
                if step.event == "compare":
                    await node.call(schema.AnswerPairing(pairing=pairing, yes=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(side, a, shown.pairing)
            nursery.start_soon(side, b, joined.pairing)
        assert set(ends.values()) == {"failed"}
        assert ana.stores.vault.devices.all()[0].certificate == before
        assert (await reached(a, await send(a, "bo", "still here"))).state == "delivered"


async def agree(node: Node, pairing: str) -> None:
    """Say yes to the words, and wait until the pairing is done."""
    async for step in steps(node, pairing):
        if step.event == "compare":
            await node.call(schema.AnswerPairing(pairing=pairing, yes=True))
        assert step.event != "failed"


@pytest.mark.parametrize("shower", [0, 1])
async def test_a_stopped_contact_is_paired_anew_however_late_the_code_is_read(
    two, shower, autojump_clock
):
    """The link between them stands all the while; only one of the two had dialled it."""
    _, *people = two
    async with people[0].on() as a, people[1].on() as b:
        await pair(a, b)
        nodes = [a, b] if shower == 0 else [b, a]
        names = ["bo", "ana"] if shower == 0 else ["ana", "bo"]
        for node, name in zip(nodes, names, strict=True):
            await node.call(schema.VerifyContact(contact=name, matches=False))
        shown = await nodes[0].call(schema.ShowCode())
        await trio.sleep(300)
        joined = await nodes[1].call(schema.JoinCode(uri=shown.uri))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agree, nodes[0], shown.pairing)
            nursery.start_soon(agree, nodes[1], joined.pairing)
        assert (await reached(a, await send(a, "bo", "fresh"))).state == "delivered"


async def test_a_lost_confirmation_is_repeated(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        shown = await a.call(schema.ShowCode())
        joined = await b.call(schema.JoinCode(uri=shown.uri))
        for node, pairing in ((a, shown.pairing), (b, joined.pairing)):
            step = await node.call(schema.NextStep(pairing=pairing, timeout=60))
            assert step.event == "compare"
        net.cut("ana", "bo", silent=True)
        await a.call(schema.AnswerPairing(pairing=shown.pairing, yes=True))
        await b.call(schema.AnswerPairing(pairing=joined.pairing, yes=True))
        assert [one.state for one in await contacts(a)] == ["pending"]
        assert [one.state for one in await contacts(b)] == ["pending"]
        early = await send(a, "bo", "written while pending")
        await trio.sleep(limits.DEAD_AFTER * 2)
        net.connect("ana", "bo")
        assert (await reached(a, early)).state == "delivered"
        assert [one.state for one in await contacts(a)] == ["active"]
        assert [one.state for one in await contacts(b)] == ["active"]


async def test_a_pending_contact_expires(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        shown = await a.call(schema.ShowCode())
        await b.call(schema.JoinCode(uri=shown.uri))
        await a.call(schema.NextStep(pairing=shown.pairing, timeout=60))
        net.cut("ana", "bo")
        await a.call(schema.AnswerPairing(pairing=shown.pairing, yes=True))
        assert len(await contacts(a)) == 1
        await trio.sleep(limits.PENDING_LIFETIME + 200)
        assert await contacts(a) == []


async def test_a_mutual_scan_needs_no_common_medium_at_first(two, autojump_clock):
    net, ana, bo = two
    net.cut("ana", "bo")
    async with ana.on() as a, bo.on() as b:
        codes = [await node.call(schema.ShowCode(mutual=True)) for node in (a, b)]
        for node, own, theirs in ((a, *codes), (b, *reversed(codes))):
            name = "bo" if node is a else "ana"
            await node.call(schema.JoinCode(uri=theirs.uri, pairing=own.pairing, petname=name))
            step = await node.call(schema.NextStep(pairing=own.pairing))
            assert step.event == "keys-under-way"
        early = await send(a, "bo", "before the keys came")
        assert (await contacts(a))[0].state == "pending"
        net.connect("ana", "bo")
        for node, own in zip((a, b), codes, strict=True):
            step = await node.call(schema.NextStep(pairing=own.pairing, seen=1, timeout=600))
            assert step.event == "paired"
        assert (await reached(a, early)).state == "delivered"
        assert (await reached(b, await send(b, "ana", "and back"))).state == "delivered"
        assert [message.text for message in await history(b, "ana")] == [
            "before the keys came",
            "and back",
        ]
        for person in (ana, bo):
            assert person.stores.vault.pairings.all() == []
            assert [row.verified for row in person.stores.vault.contacts.all()] == ["scan"]
        assert "internal-error" not in a.engine.peers.rejected + b.engine.peers.rejected


async def test_too_many_codes_are_refused(two, autojump_clock):
    _, ana, _ = two
    async with ana.on() as a:
        for _ in range(limits.MAX_OPEN_PAIRINGS):
            await a.call(schema.ShowCode())
        with pytest.raises(LocalError, match="too many"):
            await a.call(schema.ShowCode())


async def test_a_code_the_store_refused_is_not_open(two, autojump_clock, monkeypatch):
    """A full disk: eight such, and nobody could be paired with until the next start."""
    _, ana, _ = two
    async with ana.on() as a:
        with monkeypatch.context() as patch:

            def full(*_):
                raise StoreFull("the disk is full")

            patch.setitem(commit.TURNS, asks.ShowMutual, full)
            for _ in range(limits.MAX_OPEN_PAIRINGS + 1):
                with pytest.raises(StoreFull):
                    await a.call(schema.ShowCode(mutual=True))
        await a.call(schema.ShowCode(mutual=True))


async def test_mutual_scans_that_nobody_answered_make_room_once_they_are_over(
    two, monkeypatch, autojump_clock
):
    monkeypatch.setattr(limits, "MUTUAL_LIFETIME", 3_600)
    _, ana, _ = two
    async with ana.on() as a:
        shown = [
            await a.call(schema.ShowCode(mutual=True)) for _ in range(limits.MAX_OPEN_PAIRINGS)
        ]
        with pytest.raises(InvalidInput, match="too many"):
            await a.call(schema.ShowCode())
        await trio.sleep(4_000)
        step = await a.call(schema.NextStep(pairing=shown[0].pairing, seen=0, timeout=5))
        assert (step.event, step.reason) == ("failed", "expired")
        await a.call(schema.ShowCode(mutual=True))
        await a.call(schema.ShowCode())
