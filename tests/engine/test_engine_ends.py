"""Messages end in whole nodes with their stores on disk: nothing of them is left anywhere there.

The vault is looked at as it is without its encryption, free pages included; so a canary that is
not found is not there.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2pnode import schema
from p2pnode.errors import StoreFull
from p2pnode.spi.memory import MemoryNet
from p2pnode.turns import asks, commit
from p2pnode.turns.receive import FOR_MAIL
from tests.correspondents import DAY, decrypted
from tests.people import Person, history, pair, reached, send

CANARY = "canary-that-has-its-end"
KEPT = "canary-that-stays"
SPAN = 7_200


def rules(answer: schema.Answer) -> schema.Rule:
    assert isinstance(answer, schema.Rules)
    [found] = answer.rules
    return found


async def told(node, kind: str) -> None:
    """Wait until an event of a kind was stored."""
    cursor = 0
    with trio.fail_after(7_200):
        while True:
            found = await node.call(schema.TakeEvents("test", after=cursor, timeout=3_600))
            assert isinstance(found, schema.Events)
            cursor = max([cursor, *(event.cursor for event in found.events)])
            if kind in [event.kind for event in found.events]:
                return


def left(person: Person, folder: Path, envelopes: dict[str, set[bytes]]) -> set[str]:
    """Return what is still found of texts, and of the sealed envelopes of a text."""
    places = {
        "the vault": decrypted(person.stores.vault),
        "custody": decrypted(person.stores.custody),
        "files": b"".join(path.read_bytes() for path in sorted(folder.iterdir())),
    }
    found = set()
    for place, raw in places.items():
        found |= {f"{text} in {place}" for text in (CANARY, KEPT) if text.encode() in raw}
        for text, sealed in envelopes.items():
            # The middle of an envelope: its bytes may lie on more than one page.
            found |= {f"sealed {text} in {place}" for one in sealed if one[100:400] in raw}
    return found


def sealed(people: list[Person]) -> set[bytes]:
    """Return all envelopes that these nodes hold now."""
    return {
        raw
        for person in people
        for database, sql in (
            (person.stores.vault.database, "SELECT raw FROM outbox"),
            (person.stores.custody.database, "SELECT raw FROM bodies"),
        )
        for (raw,) in database.rows(sql)
    }


@pytest.mark.parametrize("off", [False, True])
async def test_disappearing_messages_are_gone_on_both_sides_in_time(tmp_path, autojump_clock, off):
    net = MemoryNet()
    homes = {name: tmp_path / name for name in ("ana", "bo", "cy")}
    ana, bo, cy = (Person(net, name, folder=homes[name]) for name in homes)
    async with ana.on() as a, cy.on() as c:
        async with bo.on() as b:
            await pair(a, b)
            await pair(b, c)
            await pair(a, c)
            await reached(a, await send(a, "bo", KEPT))
            await a.call(schema.Propose("bo", SPAN))
            await told(b, "disappear.proposed")
            assert rules(await b.call(schema.GetRules("ana"))).offered == SPAN
            await b.call(schema.AnswerProposal("ana", True))
            await told(a, "disappear.agreed")
            assert rules(await a.call(schema.GetRules("bo"))).seconds == SPAN
        before = sealed([ana, bo, cy])
        message = await send(a, "bo", CANARY)  # bo is away: cy carries it
        await reached(a, message, "handed")
        await trio.sleep(1_800)  # everybody who carries has it
        fades = sealed([ana, cy]) - before
        assert fades
        async with bo.on() as b:
            await reached(a, message, "delivered")
            assert CANARY in [one.text for one in await history(b, "ana")]
            sealings = {CANARY: fades}
            assert any("vault" in one for one in left(bo, homes["bo"], sealings))
            if not off:
                await trio.sleep(SPAN + 120)
                shown = [one.text for one in await history(b, "ana")]
    if off:  # both are switched off while it falls due
        await trio.sleep(3 * DAY)
        async with ana.on() as a, bo.on() as b:  # no time passes before this look
            shown = [one.text for one in await history(b, "ana")]
            assert [one.text for one in await history(a, "bo")] == [KEPT]
            events = await b.call(schema.TakeEvents(consumer="new"))
            assert isinstance(events, schema.Events)
            texts = [event.message.text for event in events.events if event.message]
            assert CANARY not in texts
    assert shown == [KEPT]
    for person in (ana, bo):
        found = left(person, homes[person.name], sealings)
        assert found == {f"{KEPT} in the vault"}, person.name
    for person in (ana, bo, cy):
        person.close()


@pytest.mark.parametrize("off", [False, True])
async def test_retained_messages_are_gone_in_time(tmp_path, autojump_clock, off):
    net = MemoryNet()
    homes = {name: tmp_path / name for name in ("ana", "bo")}
    ana = Person(net, "ana", folder=homes["ana"], retention=DAY)
    bo = Person(net, "bo", folder=homes["bo"])
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(b, await send(b, "ana", CANARY))
    async with ana.on() as a:
        await send(a, "bo", f"{CANARY} under way")
        await trio.sleep(3_600)
        envelopes = {CANARY: sealed([ana])}
    await trio.sleep(2 * DAY if off else DAY - 7_200)
    async with ana.on() as a:
        if not off:
            assert len(await history(a, "bo")) == 2
            await trio.sleep(7_200)
        assert await history(a, "bo") == []
    assert envelopes[CANARY]
    assert left(ana, homes["ana"], envelopes) == set()
    ana.close()
    async with bo.on() as b:
        assert [one.text for one in await history(b, "ana")] == [CANARY]
    bo.close()


async def test_a_clock_that_is_not_believed_lets_nothing_die_early(tmp_path, autojump_clock):
    net = MemoryNet()
    ana, bo = Person(net, "ana", retention=DAY), Person(net, "bo")
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", KEPT))
    await trio.sleep(400 * DAY)  # longer than a clock is believed
    async with ana.on() as a:
        assert [one.text for one in await history(a, "bo")] == [KEPT]
    await trio.sleep(DAY)
    async with ana.on() as a:
        assert await history(a, "bo") == []
    ana.close()
    bo.close()


async def test_an_erased_contact_is_gone_at_once_or_after_its_grace(tmp_path, autojump_clock):
    net = MemoryNet()
    homes = {name: tmp_path / name for name in ("ana", "bo")}
    ana, bo = (Person(net, name, folder=homes[name]) for name in homes)
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(b, await send(b, "ana", CANARY))
        planned = await a.call(schema.Erase("contact", "bo"))
        assert isinstance(planned, schema.Erasures)
        assert [(one.what, one.contact) for one in planned.erasing] == [("contact", "bo")]
    async with ana.on() as a:  # it survives a restart
        status = await a.call(schema.GetStatus())
        assert isinstance(status, schema.Status)
        assert [one.contact for one in status.erasing] == ["bo"]
        cancelled = await a.call(schema.CancelErasures("bo"))
        assert isinstance(cancelled, schema.Erasures)
        assert cancelled.cancelled == 1
    await trio.sleep(2 * DAY)
    async with ana.on() as a:
        assert [one.text for one in await history(a, "bo")] == [CANARY]
        await a.call(schema.Erase("contact", "bo"))
    await trio.sleep(DAY - 600)
    async with ana.on() as a:
        assert [one.text for one in await history(a, "bo")] == [CANARY]
    await trio.sleep(600)
    async with ana.on() as a:  # it fell due while the node was off
        found = await a.call(schema.ListContacts())
        assert isinstance(found, schema.Contacts)
        assert found.contacts == []
    assert left(ana, homes["ana"], {}) == set()
    async with bo.on() as b:
        assert [one.text for one in await history(b, "ana")] == [CANARY]
    ana.close()
    bo.close()


async def test_a_node_ends_well_when_there_is_no_room_to_keep_its_clock(
    monkeypatch, autojump_clock
):
    # As for `lock`, and before the home is erased: an error there ended the daemon.
    ana = Person(MemoryNet(), "ana")

    def full(*_):
        raise StoreFull("the disk is full")

    async with ana.on() as node:
        monkeypatch.setitem(commit.TURNS, asks.Upkeep, full)
        assert (await node.call(schema.GetStatus())).locked is False
    ana.close()


async def test_mail_a_full_disk_refused_goes_once_there_is_room(monkeypatch, autojump_clock):
    """It waited until the link ended, for days on a good one, and was said to be on its way."""
    net = MemoryNet()
    ana, bo = Person(net, "ana"), Person(net, "bo")
    real, refused = commit.TURNS[asks.Arrived], []

    def full(stores, ask, now, entropy):
        if stores.vault is bo.stores.vault and trio.current_time() < room_at:
            refused.append(trio.current_time())
            raise StoreFull("the disk is full")
        return real(stores, ask, now, entropy)

    room_at = 0.0
    monkeypatch.setitem(commit.TURNS, asks.Arrived, full)
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await reached(a, await send(a, "bo", "before"))
        [link] = a.engine.peers.by_device.values()
        room_at = trio.current_time() + 7_200
        waiting = [await send(a, "bo", f"{number}") for number in range(3)]
        await trio.sleep_until(room_at)
        for one in waiting:
            await reached(a, one)
        assert list(a.engine.peers.by_device.values()) == [link]
        assert trio.current_time() < room_at + 2_000
        assert 6 < len(refused) < 60  # tried again, ever more rarely
        await reached(a, await send(a, "bo", "after"))
        assert [one.text for one in await history(b, "ana")] == ["before", "0", "1", "2", "after"]
    ana.close()
    bo.close()


async def test_what_others_write_leaves_this_node_room_to_work(autojump_clock):
    """One contact could fill the disk to its last byte: then nothing could be written, erased,
    locked or started any more."""
    net, room = MemoryNet(), [1]
    ana, bo = Person(net, "ana"), Person(net, "bo")
    bo.stores = replace(bo.stores, room=lambda: room[0])
    async with ana.on() as a, bo.on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        await reached(a, await send(a, "bo", "before"))
        room[0] = -FOR_MAIL
        waiting = [await send(a, "bo", f"{number}") for number in range(3)]
        await reached(b, await send(b, "ana", "mine goes"), "delivered")
        await trio.sleep(600)
        assert [one.text for one in await history(b, "ana")] == ["before", "mine goes"]
        assert "nearly full" in (await b.call(schema.GetStatus())).warnings[0]
        await b.call(schema.VerifyContact(contact="ana", matches=True))
        room[0] = 1
        for one in waiting:
            await reached(a, one)
        assert (await b.call(schema.GetStatus())).warnings == []
        assert len(await history(b, "ana")) == 5
    ana.close()
    bo.close()
