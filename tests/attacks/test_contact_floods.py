"""A contact that does over and over what it may do: what that leaves, and costs, is bounded."""

import pytest

from p2pnode.ids import EnvelopeId, id_text
from p2pnode.protocol import limits
from p2pnode.protocol.content import Proposal, Text
from p2pnode.protocol.conversation import MAX_CLOCK
from p2pnode.protocol.link.messages import Statement
from p2pnode.protocol.session import reset
from p2pnode.store import outbox
from p2pnode.turns import asks, resets
from p2pnode.turns.effects import Charge, Push
from p2pnode.turns.send import tell
from p2pnode.turns.upkeep import KEPT_ABSENT
from tests.correspondents import DAY, Correspondent, befriend, exchange

MANY = 2 * limits.MAX_REPLACED
WAITING = 5


@pytest.fixture
def people():
    ana, bo = Correspondent("ana"), Correspondent("bo")
    befriend(ana, bo)
    exchange(ana, bo)
    yield ana, bo
    for one in (ana, bo):
        assert one.stores.vault.database.check() == one.stores.custody.database.check() == []
        one.close()


def count(one: Correspondent, table: str) -> int:
    return one.stores.vault.database.value(f"SELECT count(*) FROM {table}")


def tell_all(one: Correspondent, effects) -> None:
    one.effects += effects
    one.sealed += [effect.raw for effect in effects if isinstance(effect, Push)]


def begin(one: Correspondent, other: Correspondent) -> None:
    """Begin anew, as after a restore."""
    vault = one.stores.vault
    with vault.transaction():
        contact = vault.contacts.get(one.contacts[other.name])
        restore = one.entropy.take(reset.RESTORE_ID)
        tell_all(one, resets.begin(one.stores, contact, restore, one.moment(), one.entropy))


def say(one: Correspondent, other: Correspondent, content) -> None:
    """Seal what no person of `one` wrote."""
    with one.stores.vault.transaction():
        contact = one.contacts[other.name]
        tell_all(one, tell(one.stores, contact, content, one.moment(), one.entropy))


def answered(ana: Correspondent, bo: Correspondent) -> bool:
    """Let what bo wrote come to ana, and the answer to bo; tell whether there was one."""
    ana.receive(bo.taken(), "bo")
    back = ana.taken()
    bo.receive(back[:1], "ana")
    return bool(back)


def test_resets_without_end_are_taken_a_few_times_a_day(people):
    ana, bo = people
    for n in range(WAITING):
        ana.write("bo", f"waits {n}")
    ana.taken()
    taken = 0
    for _ in range(MANY):
        begin(bo, ana)
        taken += answered(ana, bo)
    assert taken == limits.MAX_REPLACED
    vault = ana.stores.vault
    contact = vault.contacts.get(ana.contacts["bo"])
    assert (contact.state, contact.doubt) == ("suspect", "rollback")
    assert Charge(None, "resets-too-often") in ana.effects
    assert count(ana, "twins") == limits.MAX_REPLACED
    assert count(ana, "sessions") == limits.MAX_REPLACED + 1
    assert count(ana, "outbox") <= WAITING + limits.MAX_REPLACED + 1
    assert ana.texts("bo") == [f"waits {n}" for n in range(WAITING)]
    ana.now += limits.RESETS_WITHIN
    bo.now = ana.now
    with bo.stores.vault.transaction():  # it is sent again as it was
        [row] = bo.stores.vault.resets.unanswered()
        bo.stores.vault.outbox.remove(EnvelopeId(row.envelope))
        tell_all(bo, resets.send_again(bo.stores, bo.moment(), bo.entropy))
    exchange(ana, bo)
    assert ana.stores.vault.contacts.get(ana.contacts["bo"]).state == "active"
    assert sorted(bo.texts("ana")) == [f"waits {n}" for n in range(WAITING)]
    assert count(ana, "twins") == limits.MAX_REPLACED  # the oldest has given way
    assert count(ana, "sessions") == limits.MAX_REPLACED + 1


def test_who_says_without_end_that_our_store_is_old_is_believed_a_few_times_a_day(people):
    ana, bo = people
    bo.write("ana", "so that there is a session")
    exchange(ana, bo)
    begun = 0
    for _ in range(MANY):
        [device] = ana.stores.vault.devices.all()
        session = ana.stores.vault.sessions.load(device.session)
        baseline = asks.Baseline(session.received, 0, 0)
        lie = Statement(session=session.handle, sent=0, received=session.sent + 1_000)
        ana.do(asks.Stated(device.id, (lie,), baseline))
        sealed = ana.taken()
        begun += bool(sealed)
        bo.receive(sealed[:1], "ana")
        ana.receive(bo.taken()[:1], "bo")
    assert begun == limits.MAX_REPLACED
    assert Charge(None, "resets-too-often") in ana.effects
    assert ana.stores.vault.contacts.get(ana.contacts["bo"]).state == "active"
    assert count(ana, "sessions") == 1
    ana.write("bo", "goes on all the same")
    exchange(ana, bo)
    assert bo.texts("ana")[-1] == "goes on all the same"


def test_a_reset_repeated_without_end_is_not_answered_without_end(people):
    ana, bo = people
    begin(bo, ana)
    [row] = bo.stores.vault.resets.unanswered()
    ana.receive(bo.taken(), "bo")
    for _ in range(2 * outbox.MAX_ANSWERS):
        raw = reset.seal(row.sent, row.keys, alice=row.alice, n=0, entropy=bo.entropy)
        ana.receive([raw], "bo")
    assert count(ana, "outbox") <= outbox.MAX_ANSWERS + 1  # and the notice to the old device
    bo.receive(ana.taken()[:1], "ana")
    bo.write("ana", "answered it was")
    exchange(ana, bo)
    assert ana.texts("bo") == ["answered it was"]


def test_proposals_of_what_is_in_force_are_not_answered_without_end(people):
    ana, bo = people
    for _ in range(2 * outbox.MAX_ANSWERS):
        say(bo, ana, Proposal(bo.entropy.take(16), 0, b""))
    ana.receive(bo.taken(), "bo")
    assert count(ana, "outbox") == outbox.MAX_ANSWERS
    exchange(ana, bo)
    with ana.stores.vault.transaction():  # bo says that they came
        ana.stores.vault.outbox.erase(ana.contacts["bo"])
    say(bo, ana, Proposal(bo.entropy.take(16), 0, b""))
    exchange(ana, bo)
    assert count(ana, "outbox") == 1


def test_ids_that_are_named_and_never_come_are_kept_up_to_a_number(people, monkeypatch):
    ana, bo = people
    monkeypatch.setattr("p2pnode.turns.upkeep.KEPT_ABSENT", 20)
    assert KEPT_ABSENT >= limits.MAX_IN_FLIGHT * limits.MAX_HEADS
    for n in range(1, 8):
        heads = tuple(bo.entropy.take(16) for _ in range(limits.MAX_HEADS))
        text = Text(bo.entropy.take(16), n, heads, 0, f"names {n}")
        say(bo, ana, text)
    exchange(ana, bo)
    assert count(ana, "absent") == 7 * limits.MAX_HEADS
    ana.do(asks.Upkeep())
    assert count(ana, "absent") == 20
    newest = ana.stores.vault.messages.by_id(ana.contacts["bo"], text.id, mine=False)
    assert ana.stores.vault.messages.missing(ana.contacts["bo"], newest.heads) == 8


def test_a_message_under_the_id_of_one_of_ours_takes_nothing_from_us(people):
    ana, bo = people
    own = ana.write("bo", "ours")
    exchange(ana, bo)
    say(bo, ana, Text(own, 2, (), 0, "theirs, under the same id"))
    exchange(ana, bo)
    ana.do(asks.Redact(id_text(own)))
    assert ana.stores.vault.messages.by_id(ana.contacts["bo"], own, mine=True).redacted is not None
    assert ana.stores.vault.messages.by_id(ana.contacts["bo"], own, mine=False).redacted is None


def test_erasing_a_contact_takes_what_its_replaced_devices_were_told(people):
    ana, bo = people
    begin(bo, ana)
    assert answered(ana, bo)
    notice = ana.stores.vault.database.value("SELECT notice FROM twins")
    assert ana.stores.vault.outbox.get(EnvelopeId(notice)) is not None
    ana.now += DAY
    ana.do(asks.Spread(()))
    assert ana.stores.custody.has(EnvelopeId(notice))
    ana.do(asks.Erase(ana.contacts["bo"], "contact", 0))
    assert count(ana, "outbox") == count(ana, "twins") == count(ana, "sessions") == 0
    assert not ana.stores.custody.has(EnvelopeId(notice))


def test_a_blocked_contact_stays_blocked_when_its_fingerprint_does_not_match(people):
    ana, bo = people
    contact = ana.contacts["bo"]
    ana.do(asks.Block(contact, blocked=True))
    ana.do(asks.Verify(contact, matches=False))
    assert ana.stores.vault.contacts.get(contact).state == "blocked"
    bo.write("ana", "shall not be read")
    exchange(ana, bo)
    assert ana.texts("bo") == []
    ana.do(asks.Block(contact, blocked=False))
    assert ana.stores.vault.contacts.get(contact).state == "suspect"


def test_an_answer_to_a_reset_cannot_end_the_order_of_the_conversation(people):
    ana, bo = people
    before = ana.write("bo", "before")
    exchange(ana, bo)
    begin(ana, bo)
    bo.receive(ana.taken(), "ana")
    vault = bo.stores.vault
    after = next(row for row in vault.resets.of_contact(bo.contacts["ana"]) if row.parent)
    [theirs] = [row.theirs for row in vault.resets.of_contact(bo.contacts["ana"]) if row.theirs]
    bo.taken()  # the honest answer
    lie = reset.answer(after.keys, theirs, clock=MAX_CLOCK, crossing=b"", entropy=bo.entropy)
    say(bo, ana, lie)
    exchange(ana, bo)
    assert Charge(None, "bad-clock") in ana.effects
    ana.write("bo", "after")
    rows = ana.stores.vault.messages.history(ana.contacts["bo"], 10)
    assert [row.text for row in rows] == ["before", "after"]
    assert rows[1].clock <= rows[0].clock + 1
    assert rows[0].id == before
    honest = reset.answer(after.keys, theirs, clock=1, crossing=b"", entropy=bo.entropy)
    say(bo, ana, honest)
    exchange(ana, bo)
    assert not resets.under_way(ana.stores.vault, ana.contacts["bo"])
