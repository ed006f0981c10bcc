"""How messages end: retention, disappearing as both agreed, redaction requests, erasing."""

import pytest

from p2pnode.errors import InvalidInput, StoreFull
from p2pnode.protocol.content import Fading, Redaction
from p2pnode.protocol.envelope import envelope_id
from p2pnode.store.database import Database
from p2pnode.turns import agreements, asks, keeping, views
from p2pnode.turns.effects import Charge, Scrub
from p2pnode.turns.send import tell
from p2pnode.turns.start import catch_up
from tests.correspondents import DAY, Correspondent, befriend, decrypted, exchange

WEEK = 7 * DAY


@pytest.fixture
def people():
    ana, bo = Correspondent("ana"), Correspondent("bo")
    befriend(ana, bo)
    exchange(ana, bo)
    ana.happened()
    bo.happened()
    yield ana, bo
    for one in (ana, bo):
        assert one.stores.vault.database.check() == one.stores.custody.database.check() == []
        one.close()


def rule(one: Correspondent, other: Correspondent):
    return one.stores.vault.conversations.get(one.contacts[other.name])


def agree(ana: Correspondent, bo: Correspondent, span: int) -> None:
    ana.do(asks.Propose(ana.contacts[bo.name], span))
    exchange(ana, bo)
    bo.do(asks.Decide(bo.contacts[ana.name], accepted=True))
    exchange(ana, bo)
    assert rule(ana, bo).span == rule(bo, ana).span == span


# Disappearing ----------------------------------------------------------------------------------


def test_it_is_in_force_when_the_other_accepts_and_each_message_carries_its_life(people):
    ana, bo = people
    ana.write("bo", "before")
    exchange(ana, bo)
    ana.do(asks.Propose(ana.contacts["bo"], WEEK))
    ana.write("bo", "proposed, not agreed")
    exchange(ana, bo)
    assert bo.happened()[-2:] == ["disappear.proposed", "message.received"]
    assert (rule(ana, bo).span, rule(bo, ana).span) == (0, 0)
    bo.do(asks.Decide(bo.contacts["ana"], accepted=True))
    bo.write("ana", "agreed")
    exchange(ana, bo)
    assert "disappear.agreed" in ana.happened()
    ana.write("bo", "agreed too")
    exchange(ana, bo)
    for one, other in ((ana, "bo"), (bo, "ana")):
        rows = one.stores.vault.messages.history(one.contacts[other], 10)
        assert [row.span for row in rows] == [0, 0, WEEK, WEEK]
        assert [row.due for row in rows] == [None, None, 1_000 + WEEK, 1_000 + WEEK]
    bo.now += WEEK - 1
    bo.collect()
    assert bo.texts("ana") == ["before", "proposed, not agreed", "agreed", "agreed too"]
    bo.now += 1
    bo.collect()
    assert bo.texts("ana") == ["before", "proposed, not agreed"]
    agree(bo, ana, 0)  # and off again, agreed as well
    bo.write("ana", "stays")
    exchange(ana, bo)
    assert ana.stores.vault.messages.history(ana.contacts["bo"], 1)[0].due is None


def test_the_recipients_time_begins_when_it_comes(people):
    ana, bo = people
    agree(ana, bo, WEEK)
    ana.write("bo", "late")
    under_way = ana.taken()
    bo.now += 5 * DAY
    bo.receive(under_way, "ana")
    bo.now += WEEK - 1
    bo.collect()
    assert bo.texts("ana") == ["late"]
    bo.now += 1
    bo.collect()
    assert bo.texts("ana") == []


def test_declined_leaves_everything_as_it_was(people):
    ana, bo = people
    ana.do(asks.Propose(ana.contacts["bo"], WEEK))
    exchange(ana, bo)
    bo.do(asks.Decide(bo.contacts["ana"], accepted=False))
    exchange(ana, bo)
    assert "disappear.declined" in ana.happened()
    assert rule(ana, bo).span == rule(bo, ana).span == 0
    assert not rule(ana, bo).own_offer
    with pytest.raises(InvalidInput, match="nothing was proposed"):
        bo.do(asks.Decide(bo.contacts["ana"], accepted=True))


@pytest.mark.parametrize(("one", "other"), [(WEEK, WEEK), (DAY, WEEK), (WEEK, DAY), (WEEK, 0)])
def test_who_propose_at_once_end_with_the_same(people, one, other):
    ana, bo = people
    if not other:
        agree(ana, bo, 2 * WEEK)
    ana.do(asks.Propose(ana.contacts["bo"], one))
    bo.do(asks.Propose(bo.contacts["ana"], other))
    exchange(ana, bo)
    if one == other:
        assert rule(ana, bo).span == rule(bo, ana).span == WEEK
        return
    shorter, longer = (ana, bo) if (one or 2**62) < (other or 2**62) else (bo, ana)
    assert rule(shorter, longer).own_offer
    assert not rule(shorter, longer).their_offer
    assert rule(longer, shorter).their_offer
    assert not rule(longer, shorter).own_offer
    longer.do(asks.Decide(longer.contacts[shorter.name], accepted=True))
    exchange(ana, bo)
    assert rule(ana, bo).span == rule(bo, ana).span == min(one or 2**62, other or 2**62)


def test_a_counter_proposal_replaces_what_it_answers(people):
    ana, bo = people
    ana.do(asks.Propose(ana.contacts["bo"], DAY))
    exchange(ana, bo)
    bo.do(asks.Propose(bo.contacts["ana"], WEEK))
    exchange(ana, bo)
    assert rule(ana, bo).their_span == WEEK
    ana.do(asks.Propose(ana.contacts["bo"], WEEK))  # the same is a yes
    exchange(ana, bo)
    assert rule(ana, bo).span == rule(bo, ana).span == WEEK


def test_nobody_makes_vanish_alone_what_he_wrote(people):
    ana, bo = people
    contact = bo.contacts["ana"]
    place = (b"i" * 16, 1, (), 0)

    def hostile(number: int, span: int) -> None:
        sealed = Fading(bytes((number,)) * 16, *place[1:], "threat", span)
        with ana.stores.vault.transaction(), ana.stores.custody.transaction():
            tell(ana.stores, ana.contacts["bo"], sealed, ana.moment(), ana.entropy)
        rows = ana.stores.vault.outbox.page(0, 100, None)
        bo.receive([rows[-1][1].raw], "ana")

    hostile(1, 300)
    assert bo.stores.vault.messages.history(contact, 1)[0].due is None
    agree(ana, bo, WEEK)
    hostile(2, 300)
    newest = max(bo.stores.vault.messages.history(contact, 9), key=lambda row: row.ref or 0)
    assert newest.span == WEEK
    assert agreements.granted(rule(bo, ana), 9 * WEEK) == 9 * WEEK


# Collecting ------------------------------------------------------------------------------------


def test_what_goes_takes_everything_with_it_and_does_not_come_back(people):
    ana, bo = people
    agree(ana, bo, DAY)
    contact = ana.contacts["bo"]
    ana.write("bo", "fades")
    [raw] = ana.taken()
    ana.now += 60
    ana.do(asks.Spread())  # a copy for carriers
    bo.receive([raw], "ana")  # by a carrier: kept to be carried on
    sealed = envelope_id(raw)
    assert ana.stores.custody.get(sealed) is not None
    assert bo.stores.custody.get(sealed) is not None
    [row] = bo.stores.vault.messages.history(bo.contacts["ana"], 5)
    bo.write("ana", "stays a little longer")
    [answer] = bo.taken()
    ana.now += DAY
    bo.now += DAY
    ana.collect()
    for one, other in ((ana, "bo"), (bo, "ana")):
        one.collect()
        vault, custody = one.stores.vault, one.stores.custody
        assert one.texts(other) == []
        assert vault.database.value("SELECT count(*) FROM traces") == 0
        assert vault.database.value("SELECT count(*) FROM events WHERE message NOT NULL") == 0
        assert custody.get(sealed) is None
        assert custody.database.value("SELECT count(*) FROM bodies WHERE raw=?", (raw,)) == 0
    assert ana.stores.vault.outbox.get(sealed) is None
    # Neither by a carrier, nor from a sender who seals it anew.
    for one in (ana, bo):
        one.receive([raw])
        assert one.stores.custody.get(sealed) is None
    again = Fading(row.id, row.clock, row.heads, row.at, row.text, DAY)
    with ana.stores.vault.transaction(), ana.stores.custody.transaction():
        tell(ana.stores, contact, again, ana.moment(), ana.entropy)
    bo.receive([ana.stores.vault.outbox.page(0, 9, None)[-1][1].raw], "ana")
    assert bo.texts("ana") == []
    # What was written after it comes without a gap, and the order goes on.
    ana.receive([answer], "bo")
    [late] = ana.stores.vault.messages.history(contact, 5)
    assert ana.stores.vault.messages.missing(contact, late.heads) == 0
    assert late.clock > row.clock
    ana.write("bo", "and on")
    assert ana.stores.vault.messages.top_clock(contact) > late.clock


def test_a_large_conversation_goes_in_many_turns(people):
    ana, _ = people
    for number in range(600):
        ana.write("bo", f"text {number}")
    ana.do(asks.Erase(ana.contacts["bo"], "conversation", 0))
    turns = 0
    while ana.do(asks.Collect()):
        turns += 1
    assert turns == 2
    assert ana.texts("bo") == []
    assert ana.stores.vault.contacts.by_name("bo") is not None


@pytest.mark.parametrize("own", [None, 0, 2 * DAY])
def test_retention_by_settings_and_by_conversation(own):
    ana, bo = Correspondent("ana", retention=5 * DAY), Correspondent("bo")
    befriend(ana, bo)
    if own is not None:
        ana.do(asks.SetRetention(ana.contacts["bo"], own))
    ana.write("bo", "one")
    exchange(ana, bo)
    bo.write("ana", "two")
    exchange(ana, bo)
    ana.now += 2 * DAY
    ana.collect()
    assert len(ana.texts("bo")) == (0 if own == 2 * DAY else 2)
    ana.now += 3 * DAY
    ana.collect()
    assert len(ana.texts("bo")) == (2 if own == 0 else 0)
    ana.do(asks.SetRetention(ana.contacts["bo"], DAY))
    ana.collect()
    assert ana.texts("bo") == []
    assert bo.texts("ana") == ["one", "two"]  # the other's are the other's
    ana.close()
    bo.close()


def test_settings_that_change_count_for_what_is_here(people):
    ana, _ = people
    ana.write("bo", "old")
    ana.now += 10 * DAY
    ana.write("bo", "new")
    object.__setattr__(ana.stores, "retention", 3 * DAY)
    catch_up(ana.stores, ana.moment(), ana.entropy)
    assert ana.texts("bo") == ["new"]
    object.__setattr__(ana.stores, "retention", 0)
    catch_up(ana.stores, ana.moment(), ana.entropy)
    ana.now += 100 * DAY
    ana.collect()
    assert ana.texts("bo") == ["new"]


# Redaction -------------------------------------------------------------------------------------


def test_a_redaction_is_recorded_and_hides_the_text_where_the_person_wants_that(people):
    ana, bo = people
    id_ = ana.write("bo", "regretted")
    exchange(ana, bo)
    message = ana.stores.vault.messages.by_id(ana.contacts["bo"], id_, True)
    assert ana.do(asks.Redact(views.message(message, "").id[:8])) == id_
    ana.do(asks.Redact(views.message(message, "").id))  # asks no more
    assert len(ana.sealed) == 1
    exchange(ana, bo)
    row = bo.stores.vault.messages.by_id(bo.contacts["ana"], id_, False)
    assert row.redacted is not None
    assert bo.happened()[-1] == "message.redacted"
    assert views.message(row, "ana").text == ""
    assert views.message(row, "ana").redacted
    assert views.message(row, "ana", hide=False).text == "regretted"
    mine = ana.stores.vault.messages.by_id(ana.contacts["bo"], id_, True)
    assert views.message(mine, "bo").text == "regretted"


def test_a_redaction_that_overtakes_its_message_counts(people):
    ana, bo = people
    id_ = ana.write("bo", "regretted")
    raws = ana.taken()
    message = ana.stores.vault.messages.by_id(ana.contacts["bo"], id_, True)
    ana.do(asks.Redact(views.message(message, "").id))
    bo.receive([*ana.taken(), *raws], "ana")
    row = bo.stores.vault.messages.by_id(bo.contacts["ana"], id_, False)
    assert views.message(row, "ana").text == ""
    assert bo.stores.vault.gone.get(bo.contacts["ana"], id_) is None


def test_only_ones_own_messages_can_be_redacted(people):
    ana, bo = people
    id_ = bo.write("ana", "bo's own")
    exchange(ana, bo)
    theirs = ana.stores.vault.messages.by_id(ana.contacts["bo"], id_, False)
    assert isinstance(ana.refused(asks.Redact(views.message(theirs, "").id)), InvalidInput)
    # A hostile node asks all the same, for what bo wrote and for what others wrote to bo.
    cy = Correspondent("cy")
    befriend(bo, cy)
    exchange(bo, cy)
    by_cy = cy.write("bo", "cy's")
    exchange(bo, cy)
    bo.effects.clear()
    for target in (id_, by_cy):
        with ana.stores.vault.transaction(), ana.stores.custody.transaction():
            tell(ana.stores, ana.contacts["bo"], Redaction(target), ana.moment(), ana.entropy)
        bo.receive([ana.stores.vault.outbox.page(0, 99, None)[-1][1].raw], "ana")
    rows = bo.stores.vault.database.rows("SELECT redacted FROM messages")
    assert rows == [(None,), (None,)]
    charges = [one.reason for one in bo.effects if isinstance(one, Charge)]
    assert charges == ["foreign-redaction"]
    cy.close()


def test_requests_for_what_never_comes_are_bounded(people):
    _, bo = people
    with bo.stores.vault.transaction():
        for number in range(1_000):
            bo.stores.vault.gone.add_redaction(bo.contacts["ana"], number.to_bytes(16), 1, 10**9)
    assert bo.stores.vault.database.value("SELECT count(*) FROM gone") == 256


# Erasing ---------------------------------------------------------------------------------------


def test_an_erasure_waits_can_be_cancelled_and_comes(people):
    ana, bo = people
    ana.write("bo", "one")
    exchange(ana, bo)
    contact = ana.contacts["bo"]
    ana.do(asks.Erase(contact, "contact", DAY))
    ana.do(asks.Erase(contact, "conversation", DAY))
    ana.now += DAY - 1
    ana.collect()
    assert ana.texts("bo") == ["one"]
    assert ana.do(asks.CancelErasures(None)) == 2
    ana.now += DAY
    ana.collect()
    assert ana.texts("bo") == ["one"]
    ana.do(asks.Erase(contact, "contact", DAY))
    ana.now += DAY
    ana.collect()
    assert ana.stores.vault.contacts.all() == []
    assert bo.texts("ana") == ["one"]  # what is shared stays with the other


def test_erasing_a_contact_takes_its_envelopes_from_custody_and_leaves_those_of_others(people):
    ana, bo = people
    cy = Correspondent("cy")
    befriend(ana, cy)
    exchange(ana, cy)
    ana.write("bo", "to bo")
    ana.write("cy", "to cy")
    to_bo, to_cy = ana.taken()
    ana.now += 60
    ana.do(asks.Spread())
    bo.write("ana", "from bo, by cy")
    [from_bo] = bo.taken()
    cy.receive([from_bo])
    ana.receive([from_bo], "cy")
    assert ana.stores.custody.count_bytes()[0] == 3
    ana.do(asks.Erase(ana.contacts["bo"], "contact", 0))
    assert ana.stores.custody.count_bytes()[0] == 1
    ana.receive([to_bo, from_bo], "cy")
    assert ana.stores.custody.count_bytes()[0] == 1
    vault = ana.stores.vault
    assert vault.database.rows("SELECT device FROM opened WHERE refused=1") == [(b"",)] * 2
    assert ana.texts("cy") == ["to cy"]
    cy.receive([to_cy], "ana")
    assert cy.texts("ana") == ["to cy"]
    cy.close()


def test_a_full_disk_puts_scrubbing_off_and_ends_nothing(tmp_path, monkeypatch):
    ana, bo = Correspondent("ana", tmp_path), Correspondent("bo")
    befriend(ana, bo)
    ana.write("bo", "canary-to-be-scrubbed")
    ana.do(asks.Erase(ana.contacts["bo"], "conversation", 0))
    ana.collect()
    real = Database.scrub

    def full(self, *, rewrite):
        raise StoreFull("the disk is full")

    monkeypatch.setattr(Database, "scrub", full)
    keeping.scrub(ana.stores, ana.moment())
    assert keeping.wants_scrub(ana.stores, ana.moment())
    monkeypatch.setattr(Database, "scrub", real)
    ana.reopen()  # a crash forgets nothing
    assert keeping.wants_scrub(ana.stores, ana.moment())
    keeping.scrub(ana.stores, ana.moment())
    assert not keeping.wants_scrub(ana.stores, ana.moment())
    assert b"canary" not in decrypted(ana.stores.vault)
    ana.close()
    bo.close()


def test_what_goes_all_the_time_rewrites_the_file_once_an_hour(people):
    ana, _ = people
    ana.do(asks.SetRetention(ana.contacts["bo"], DAY))
    rewritten = 0
    for _ in range(6 * 60):  # a message every minute, for six hours; a day later they go
        ana.write("bo", "x")
        ana.now += 60
    ana.now += DAY - 6 * 3_600
    for _ in range(6 * 60):
        ana.now += 60
        ana.effects.clear()
        ana.collect()
        if Scrub() in ana.effects:
            before = ana.stores.vault.meta.get(keeping.REWRITTEN)
            keeping.scrub(ana.stores, ana.moment())
            rewritten += ana.stores.vault.meta.get(keeping.REWRITTEN) != before
    assert ana.texts("bo") == []
    assert rewritten in (6, 7)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_large_vault_is_rewritten_when_nobody_writes_or_after_two_days(
    people, monkeypatch, quiet
):
    ana, _ = people
    monkeypatch.setattr(keeping, "SMALL", 0)
    ana.do(asks.SetRetention(ana.contacts["bo"], 3_600))
    ana.write("bo", "x")
    ana.now += 3_700
    ana.collect()
    keeping.scrub(ana.stores, ana.moment())
    first = rewritten = ana.now
    for _ in range(5 * 24 * 6):  # what is written goes an hour later, for five days
        ana.now += 600
        by_day = (ana.now - first) % DAY < DAY // 2
        if by_day or not quiet:
            ana.write("bo", "x")
        ana.effects.clear()
        ana.collect()
        if Scrub() not in ana.effects:
            continue
        before = ana.stores.vault.meta.get(keeping.REWRITTEN)
        keeping.scrub(ana.stores, ana.moment())
        if ana.stores.vault.meta.get(keeping.REWRITTEN) != before:
            waited, rewritten = ana.now - rewritten, ana.now
            if quiet:
                assert DAY <= waited < 1.6 * DAY
                assert not by_day or (ana.now - first) % DAY == 0
            else:
                assert waited == 2 * DAY
    assert rewritten > first + 3 * DAY
