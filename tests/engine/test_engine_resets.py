"""Beginning anew between whole nodes: restores, old disk images, copies that run besides."""

import msgspec
import pytest
import trio

from p2pnode import backup, schema
from p2pnode.errors import InvalidInput, UntrustedKey
from p2pnode.protocol import envelope
from p2pnode.protocol.session import reset
from p2pnode.store.custody import Custody
from p2pnode.store.records import Doubt
from p2pnode.store.vault import Vault
from p2pnode.turns import asks, redactions, resets
from p2pnode.turns.commit import commit
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores
from tests.people import Person, history, pair, reached, send, virtual_wall


def saved(person: Person, *, history: bool = False) -> list[backup.Record]:
    """Take a backup of a person's vault, as bytes and back."""
    found = backup.records(person.stores.vault, "", history)
    return [backup.decoded_untrusted(msgspec.msgpack.encode(one)) for one in found]


def restored(person: Person, records: list[backup.Record], name: str = "") -> Person:
    """Return the person on a new device, out of a backup; the old one is as it was."""
    new = Person(person.net, name or f"{person.name} anew", seed=len(name) + 7)
    new.close()
    new.stores = Stores(Vault.memory(), Custody.memory(), person.stores.carry)
    now = Moment(0, virtual_wall())
    backup.filled(new.stores, iter(records), [], now, new.entropy)
    return new


def set_back(vault: Vault) -> Vault:
    """Return a copy of a vault in memory, as of now."""
    copy = Vault.memory()
    with copy.database._connection.backup("main", vault.database._connection, "main") as copying:
        copying.step()
    return copy


async def reasons(node, contact: str = "") -> list[tuple[str, str]]:
    """Return (kind, reason) of all events about contacts."""
    answer = await node.call(schema.TakeEvents(consumer="test", after=0, limit=1000))
    return [(one.kind, one.reason) for one in answer.events if one.reason]


async def told(node, reason: str) -> None:
    """Wait for an event with this reason."""
    after = 0
    while True:
        page = await node.call(schema.TakeEvents("test", after=after, timeout=3_600))
        assert page.events, "no such event"
        after = page.events[-1].cursor
        if any(one.reason == reason for one in page.events):
            return


async def test_a_restored_device_is_told_and_writes_and_nothing_is_lost(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            await reached(a, await send(a, "bo", "one"))
            await reached(b, await send(b, "ana", "two"))
        records = saved(bo)
        waiting = [await send(a, "bo", f"waiting {n}") for n in range(3)]
        new = restored(bo, records)
        async with new.on() as n:
            written = await send(n, "ana", "from the new one")
            await reached(n, written)
            for one in waiting:
                assert (await reached(a, one)).state == "delivered"
            why = await a.call(schema.Why(waiting[0]))
            assert [one.kind for one in why.events] == ["saved", "sealed-anew", "delivered"]
            contact = await a.call(schema.ContactRef("bo"))
            assert (contact.state, contact.verified) == ("active", "no")
            texts = [one.text for one in await history(a, "bo")]
            assert texts[:2] == ["one", "two"]
            assert sorted(texts[2:]) == ["from the new one", "waiting 0", "waiting 1", "waiting 2"]
            there = [one.text for one in await history(n, "ana")]
            assert sorted(there) == sorted(texts[2:])
            assert await reasons(a) == [("contact.changed", "restored")]
            assert await reasons(n) == [("contact.changed", "reset-answered")]
            later = await send(a, "bo", "later")
            await reached(a, later)
        new.close()


async def test_a_contact_whose_reset_keys_are_useless_does_not_stop_a_restore(two, autojump_clock):
    net, ana, bo = two
    cy = Person(net, "cy")
    async with ana.on() as a, bo.on() as b, cy.on() as c:
        await pair(a, b)
        await pair(a, c)
    vault = ana.stores.vault
    useless, *_ = vault.resets.of_contact(vault.contacts.by_name("bo").id)
    keys = msgspec.structs.replace(useless.keys, their_dh_public=bytes(32))
    with vault.transaction():
        vault.resets.update(msgspec.structs.replace(useless, keys=keys))
    new = restored(ana, saved(ana))
    async with new.on() as n, cy.on():
        assert (await reached(n, await send(n, "cy", "here again"))).state == "delivered"
        assert {one.name for one in (await n.call(schema.ListContacts())).contacts} == {"bo", "cy"}
    new.close()
    cy.close()


async def test_nothing_that_must_not_exist_twice_is_in_a_backup(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
        await reached(b, await send(b, "ana", "two"))
    vault = bo.stores.vault
    own = vault.identity.load()
    [device] = vault.devices.all()
    session = vault.sessions.load(device.session)
    rows = vault.database.rows("SELECT tag, header_key, message_key FROM tags")
    forbidden = [value for row in rows for value in row if value]
    forbidden += [own.device.sign_seed, own.device.dh_private, device.link.current]
    parts = [
        *msgspec.structs.astuple(session),
        *msgspec.structs.astuple(session.current),
        *msgspec.structs.astuple(session.coming),
    ]
    forbidden += [part for part in parts if isinstance(part, bytes) and len(part) >= 8]
    assert len(forbidden) > 300
    held = b"".join(msgspec.msgpack.encode(one) for one in saved(bo, history=True))
    assert own.account.seed in held
    assert b"two" in held
    for secret in forbidden:
        assert secret not in held
    assert b"two" not in b"".join(msgspec.msgpack.encode(one) for one in saved(bo))


async def test_the_history_comes_back_and_what_had_not_come_is_sent_again(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
    async with bo.on() as b:
        lost = await send(b, "ana", "written, never sent")
        new = restored(bo, saved(bo, history=True))
    async with ana.on() as a, new.on() as n:
        assert (await reached(n, lost)).state == "delivered"
        assert [one.text for one in await history(n, "ana")] == ["one", "written, never sent"]
        assert [one.text for one in await history(a, "bo")] == ["one", "written, never sent"]
    new.close()


async def test_a_backup_keeps_to_how_long_messages_are_kept(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "to stay"))
        await b.call(schema.SetRetention("ana", 30))
        await a.call(schema.Propose("bo", 7 * 86_400))
        await trio.sleep(SETTLED)
        await b.call(schema.AnswerProposal("ana", True))
        await trio.sleep(SETTLED)
        await reached(b, await send(b, "ana", "to go"))
        await reached(a, await send(a, "bo", "to go too"))
    new = restored(bo, saved(bo, history=True))
    async with ana.on() as a, new.on() as n:
        assert [one.text for one in await history(n, "ana")] == ["to stay"]
        [rule] = (await n.call(schema.GetRules())).rules
        assert (rule.days, rule.seconds) == (30, 7 * 86_400)
        await reached(n, await send(n, "ana", "goes as agreed"))
    await trio.sleep(8 * 86_400)
    async with ana.on() as a, new.on() as n:
        for node, other in ((n, "ana"), (a, "bo")):
            assert [one.text for one in await history(node, other)] == ["to stay"]
    await trio.sleep(23 * 86_400)
    async with new.on() as n:
        assert await history(n, "ana") == []
    new.close()


async def test_the_old_device_that_goes_on_is_noticed_at_once(two, monkeypatch, autojump_clock):
    _, ana, bo = two
    sealed: list[dict] = []
    assemble = envelope.assemble
    monkeypatch.setattr(
        envelope, "assemble", lambda **parts: sealed.append(parts) or assemble(**parts)
    )
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
        new = restored(bo, saved(bo))
        async with new.on() as n:
            await told(a, "clone")
            await told(b, "replaced")
            with pytest.raises(UntrustedKey, match="two copies"):
                await send(a, "bo", "to whom?")
            with pytest.raises(UntrustedKey, match="your own identity"):
                await send(b, "ana", "from the old one")
            # Their person says: the restored one is it.
            await a.call(schema.VerifyContact("bo", matches=True))
            await reached(a, await send(a, "bo", "to the new one"))
            await reached(n, await send(n, "ana", "from the new one"))
            assert [one.text for one in await history(b, "ana")] == ["one"]
            await trio.sleep(900)
            contact = await a.call(schema.ContactRef("bo"))
            assert (contact.state, contact.verified) == ("active", "person")
        new.close()


async def test_two_restores_of_one_backup_are_a_clone(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
        records = saved(bo)
        first = restored(bo, records, "first")
        async with first.on() as f:
            await reached(f, await send(f, "ana", "I am back"))
        second = restored(bo, records, "second one")
        async with second.on() as s:
            await told(a, "restored-twice")
            unsure = await send(s, "ana", "again")
            contact = await a.call(schema.ContactRef("bo"))
            assert (contact.state, contact.doubt) == ("suspect", "clone")
            await a.call(schema.VerifyContact("bo", matches=True))
            await reached(s, unsure)
            await reached(a, await send(a, "bo", "welcome"))
        first.close()
        second.close()


async def test_both_restore_at_once(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
    new_ana, new_bo = restored(ana, saved(ana)), restored(bo, saved(bo))
    async with new_ana.on() as a, new_bo.on() as b:
        first = await send(a, "bo", "from ana"), await send(b, "ana", "from bo")
        await reached(a, first[0])
        await reached(b, first[1])
        await told(a, "reset-answered")
        await told(b, "reset-answered")
        for n in range(5):
            await reached(a, await send(a, "bo", f"a {n}"))
            await reached(b, await send(b, "ana", f"b {n}"))
        for node, name in ((a, "bo"), (b, "ana")):
            contact = await node.call(schema.ContactRef(name))
            assert (contact.state, contact.doubt) == ("active", "")
    [one], [two_] = (p.stores.vault.devices.all() for p in (new_ana, new_bo))
    sessions = [
        p.stores.vault.sessions.load(d.session) for p, d in ((new_ana, one), (new_bo, two_))
    ]
    assert sessions[0].handle == sessions[1].handle
    new_ana.close()
    new_bo.close()


@pytest.mark.parametrize("links", [1, 4])
async def test_a_disk_image_set_back_heals(two, links, autojump_clock):
    """With one link since, both still recognise each other; with more, only by the reset mark."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            await reached(b, await send(b, "ana", "one"))
        old = set_back(bo.stores.vault)
        for n in range(links):
            async with bo.on() as b:
                await reached(b, await send(b, "ana", f"later {n}"))
                await reached(a, await send(a, "bo", f"answer {n}"))
        waiting = await send(a, "bo", "waiting")
        now = bo.stores
        bo.stores = Stores(old, now.custody, now.carry)
        now.vault.close()
        async with bo.on() as b:
            await told(b, "set-back")
            await told(a, "restored")
            await reached(a, waiting)
            await reached(b, await send(b, "ana", "fresh"))
            contact = await a.call(schema.ContactRef("bo"))
            assert (contact.state, contact.verified) == ("active", "no")
            assert ("contact.suspect", "rollback") in await reasons(a)


async def test_who_was_set_back_is_known_again_before_the_peers_are_looked_up(
    two, monkeypatch, autojump_clock
):
    """The link ends when the reset begins, and the next one may stand before the candidates of
    recognition are new: it must carry the reset all the same, for no other will come."""
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(b, await send(b, "ana", "one"))
    old = set_back(bo.stores.vault)
    for n in range(2):
        async with ana.on(), bo.on() as b:
            await reached(b, await send(b, "ana", f"later {n}"))
    now = bo.stores
    bo.stores = Stores(old, now.custody, now.carry)
    now.vault.close()
    async with bo.on() as b, ana.on() as a:
        looked_up = b.engine.peers_changed

        async def a_minute_later() -> None:
            await trio.sleep(SETTLED)
            await looked_up()

        monkeypatch.setattr(b.engine, "peers_changed", a_minute_later)
        with trio.fail_after(50):
            await told(a, "restored")


async def test_two_copies_of_one_image_are_a_clone(two, autojump_clock):
    net, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            await reached(b, await send(b, "ana", "one"))
        twin = Person(net, "bo's twin")
        twin.close()
        twin.stores = Stores(set_back(bo.stores.vault), Custody.memory(), bo.stores.carry)
        for n in range(3):
            async with bo.on() as b:
                await reached(b, await send(b, "ana", f"later {n}"))
        async with twin.on() as t:
            await told(t, "set-back")
            await told(a, "restored")
        async with bo.on() as b:
            await told(a, "clone")
            await told(b, "replaced")
        twin.close()


async def test_an_old_backup_still_resets_after_the_contact_has_reset(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
    old = saved(bo)
    new_ana = restored(ana, saved(ana))
    async with new_ana.on() as a, bo.on() as b:
        await reached(a, await send(a, "bo", "two"))
        await told(a, "reset-answered")
    new_bo = restored(bo, old)
    async with new_ana.on() as a, new_bo.on() as b:
        await reached(b, await send(b, "ana", "three"))
        await reached(a, await send(a, "bo", "four"))
        contact = await a.call(schema.ContactRef("bo"))
        assert (contact.state, contact.doubt) == ("active", "")
    new_ana.close()
    new_bo.close()


async def test_a_reset_is_sent_again_until_it_is_answered(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
    new = restored(bo, saved(bo))
    vault = new.stores.vault
    first = vault.resets.unanswered()[0].envelope
    month = Moment(31 * 86_400, virtual_wall())
    for _ in range(2):
        [done] = commit(new.stores, [asks.Upkeep()], month, new.entropy)
        assert done.error is None
    second = vault.resets.unanswered()[0].envelope
    assert first != second
    assert [one for _, one in vault.outbox.for_device(vault.devices.all()[0].id, 0, 9)] == [second]
    async with ana.on() as a, new.on():
        await reached(a, await send(a, "bo", "after a month"))
        assert vault.resets.unanswered() == []
    new.close()


async def test_a_repeated_reset_is_answered_again_and_changes_nothing(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
    new = restored(bo, saved(bo))
    vault = new.stores.vault
    [row] = vault.resets.unanswered()
    assert row.sent is not None
    raws = [
        reset.seal(row.sent, row.keys, alice=row.alice, n=n, entropy=new.entropy) for n in (3, 3, 4)
    ]
    assert len({raw[34:58] for raw in raws}) == 3
    async with ana.on() as a:
        [device] = ana.stores.vault.devices.all()
        for raw in raws:
            answer = await a.engine.owner.ask(asks.Arrived(99, None, device.contact, 0, raw))
            assert answer == "opened"
        contact = await a.call(schema.ContactRef("bo"))
        assert (contact.state, contact.doubt) == ("active", "")
        assert len(await reasons(a)) == 1
    new.close()


# Proposals under way -----------------------------------------------------------------------------

SETTLED = 300
"""Seconds in which two who begin anew have found each other again and told all: more than one dial
may be needed."""

WEEK = 7 * 86_400


async def rule(node, name: str) -> tuple[int, int | None, int | None]:
    """Return what is in force with a contact, what we proposed, and what the contact did."""
    [found] = (await node.call(schema.GetRules(name))).rules
    return found.seconds, found.proposed, found.offered


async def kinds(node) -> list[str]:
    """Return the kinds of all events about agreements, without their beginning."""
    page = await node.call(schema.TakeEvents(consumer="kinds", after=0, limit=1000))
    parts = [one.kind.partition("disappear.") for one in page.events]
    return [kind for _, begins, kind in parts if begins]


@pytest.mark.parametrize("seen", [False, True])
async def test_a_proposal_survives_that_the_other_is_restored(two, autojump_clock, seen):
    """Whether it had come to the old device or not, the new one is asked."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            if seen:
                await a.call(schema.Propose("bo", WEEK))
                await trio.sleep(SETTLED)
                assert await rule(b, "ana") == (0, None, WEEK)
        await a.call(schema.Propose("bo", WEEK))
        new = restored(bo, saved(bo))
        async with new.on() as n:
            await reached(n, await send(n, "ana", "from the new one"))
            await trio.sleep(SETTLED)
            assert await rule(n, "ana") == (0, None, WEEK)
            await n.call(schema.AnswerProposal("ana", True))
            await trio.sleep(SETTLED)
            assert await rule(n, "ana") == await rule(a, "bo") == (WEEK, None, None)
            assert await kinds(a) == ["agreed"]
            assert await kinds(n) == ["proposed", "agreed"]
        new.close()


async def test_a_proposal_ends_for_both_when_its_author_is_restored(two, autojump_clock):
    """A backup knows of no proposal: the answer would say yes to what nobody asks any more."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            await b.call(schema.Propose("ana", WEEK))
            await trio.sleep(SETTLED)
            assert await rule(a, "bo") == (0, None, WEEK)
        new = restored(bo, saved(bo))
        async with new.on() as n:
            await reached(n, await send(n, "ana", "from the new one"))
            assert await rule(n, "ana") == await rule(a, "bo") == (0, None, None)
            assert await kinds(a) == ["proposed", "withdrawn"]
            with pytest.raises(InvalidInput, match="nothing was proposed"):
                await a.call(schema.AnswerProposal("bo", True))
            await n.call(schema.Propose("ana", WEEK))
            await trio.sleep(SETTLED)
            await a.call(schema.AnswerProposal("bo", True))
            await trio.sleep(SETTLED)
            assert await rule(n, "ana") == await rule(a, "bo") == (WEEK, None, None)
        new.close()


@pytest.mark.parametrize("accepted", [True, False])
async def test_an_answer_lost_in_a_reset_is_asked_for_again(two, autojump_clock, accepted):
    """bo's disk goes back to before the answer came; ana had sent it, and it will not come again.
    What was accepted is in force on both sides after; what was declined is proposed anew."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            await b.call(schema.Propose("ana", WEEK))
            await trio.sleep(SETTLED)
        old = set_back(bo.stores.vault)
        for n in range(2):
            async with bo.on() as b:
                await reached(b, await send(b, "ana", f"later {n}"))
                if not n:
                    await a.call(schema.AnswerProposal("bo", accepted))
                    await trio.sleep(SETTLED)
                    assert await rule(b, "ana") == (WEEK if accepted else 0, None, None)
        now = bo.stores
        bo.stores = Stores(old, now.custody, now.carry)
        now.vault.close()
        async with bo.on() as b:
            assert await rule(b, "ana") == (0, WEEK, None)
            await told(b, "set-back")
            await told(a, "restored")
            await reached(b, await send(b, "ana", "fresh"))
            await trio.sleep(SETTLED)
            if not accepted:
                assert await rule(a, "bo") == (0, None, WEEK)
                assert await kinds(a) == ["proposed", "proposed"]
                await a.call(schema.AnswerProposal("bo", True))
                await trio.sleep(SETTLED)
            assert await rule(a, "bo") == await rule(b, "ana") == (WEEK, None, None)


async def test_proposals_that_cross_a_crossing_of_resets_end_alike(two, autojump_clock):
    """Both propose, both disks go back, both begin anew: the shorter waits for its answer."""
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
    async with ana.on() as a:
        await a.call(schema.Propose("bo", WEEK))
    async with bo.on() as b:
        await b.call(schema.Propose("ana", 2 * WEEK))
    for person in (ana, bo):
        vault = person.stores.vault
        [contact] = vault.contacts.all()
        with vault.transaction():
            resets.begin(
                person.stores,
                contact,
                person.entropy.take(16),
                Moment(0, virtual_wall()),
                person.entropy,
            )
    async with ana.on() as a, bo.on() as b:
        await reached(a, await send(a, "bo", "fresh"))
        await reached(b, await send(b, "ana", "fresh too"))
        await trio.sleep(120)
        assert await rule(a, "bo") == (0, WEEK, None)
        assert await rule(b, "ana") == (0, None, WEEK)
        await b.call(schema.AnswerProposal("ana", True))
        await trio.sleep(SETTLED)
        assert await rule(a, "bo") == await rule(b, "ana") == (WEEK, None, None)


# Redactions under way ----------------------------------------------------------------------------


async def redacted(node, name: str) -> list[str]:
    """Return the ids of messages with a contact that their author asked to have removed."""
    return [one.id for one in await history(node, name) if one.redacted]


@pytest.mark.parametrize("seen", [False, True])
async def test_a_redaction_survives_that_the_other_is_restored(two, autojump_clock, seen):
    """Whether it had come to the old device or not: the backup was made before."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            first, *_ = [await send(a, "bo", f"to stay {n}") for n in range(2)]
            sent = await send(a, "bo", "to go")
            for one in (first, sent):
                await reached(a, one)
            records = saved(bo, history=True)
            if seen:
                await a.call(schema.Redact(sent))
                await trio.sleep(SETTLED)
                assert await redacted(b, "ana") == [sent]
        if not seen:
            await a.call(schema.Redact(sent))
        new = restored(bo, records)
        async with new.on() as n:
            await reached(n, await send(n, "ana", "from the new one"))
            await trio.sleep(SETTLED)
            assert await redacted(n, "ana") == await redacted(a, "bo") == [sent]
        new.close()


async def test_a_redaction_survives_that_its_author_begins_anew(two, autojump_clock):
    """Also of a message that had not come yet, which is sealed again."""
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            sent = await send(a, "bo", "to go")
            await reached(a, sent)
        waits = await send(a, "bo", "to go, and under way")
        for one in (sent, waits):
            await a.call(schema.Redact(one))
    vault = ana.stores.vault
    [contact] = vault.contacts.all()
    with vault.transaction():
        resets.begin(
            ana.stores,
            contact,
            ana.entropy.take(16),
            Moment(0, virtual_wall()),
            ana.entropy,
        )
    async with ana.on() as a, bo.on() as b:
        await reached(a, waits)
        await trio.sleep(SETTLED)
        assert await redacted(b, "ana") == await redacted(a, "bo") == [sent, waits]


async def test_only_so_many_redactions_are_told_again(two, monkeypatch, autojump_clock):
    monkeypatch.setattr(redactions, "TOLD_AGAIN", 2)
    _, ana, bo = two
    async with ana.on() as a:
        async with bo.on() as b:
            await pair(a, b)
            sent = [await send(a, "bo", f"to go {n}") for n in range(3)]
            for one in sent:
                await reached(a, one)
            records = saved(bo, history=True)
        for one in sent:
            await a.call(schema.Redact(one))
        new = restored(bo, records)
        async with new.on() as n:
            await reached(n, await send(n, "ana", "from the new one"))
            await trio.sleep(SETTLED)
            assert await redacted(n, "ana") == sent[1:]
        new.close()


# Contacts in doubt -------------------------------------------------------------------------------


def doubt(person: Person, reason: Doubt) -> None:
    """Let the only contact be suspect, as after what the reason says."""
    vault = person.stores.vault
    [contact] = vault.contacts.all()
    with vault.transaction():
        vault.contacts.update(msgspec.structs.replace(contact, state="suspect", doubt=reason))


async def test_a_contact_that_was_set_back_is_fine_once_we_have_begun_anew(two, autojump_clock):
    """Nothing but our reset may go to it until then, and that must."""
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
    async with ana.on() as a:
        waits = await send(a, "bo", "waits")
    doubt(ana, "rollback")
    new = restored(ana, saved(ana, history=True))
    async with new.on() as n, bo.on() as b:
        await told(n, "reset-answered")
        await reached(n, waits)
        contact = await n.call(schema.ContactRef("bo"))
        assert (contact.state, contact.doubt) == ("active", "")
        await reached(b, await send(b, "ana", "welcome"))
    new.close()


async def test_a_contact_of_whom_two_are_about_gets_our_reset_and_nothing_else(two, autojump_clock):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await reached(a, await send(a, "bo", "one"))
    async with ana.on() as a:
        waits = await send(a, "bo", "waits")
    doubt(ana, "clone")
    new = restored(ana, saved(ana, history=True))
    async with new.on() as n, bo.on() as b:
        await told(n, "reset-answered")
        await trio.sleep(3_600)
        assert (await n.call(schema.ContactRef("bo"))).state == "suspect"
        assert [one.text for one in await history(b, "ana")] == ["one"]
        assert (await n.call(schema.Why(waits))).summary.startswith("Held back")
        await n.call(schema.VerifyContact("bo", matches=True))
        await reached(n, waits)
    new.close()


async def test_a_restored_contact_whose_fingerprint_did_not_match_begins_anew_once_it_does(
    two, autojump_clock
):
    _, ana, bo = two
    async with ana.on() as a, bo.on() as b:
        await pair(a, b)
        await a.call(schema.VerifyContact("bo", matches=False))
    new = restored(ana, saved(ana))
    assert new.stores.vault.resets.unanswered() == []
    async with new.on() as n:
        await n.call(schema.VerifyContact("bo", matches=True))
        assert len(new.stores.vault.resets.unanswered()) == 1
        sent = await send(n, "bo", "at last")
        async with bo.on():
            await reached(n, sent)
    new.close()
