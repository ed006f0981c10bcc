"""Turns that pair anew with somebody who is in the address book."""

from collections.abc import Iterator

import pytest

from p2pnode.ids import id_text
from p2pnode.turns import asks
from tests.correspondents import DAY, Correspondent, befriend, exchange

WEEK = 7 * DAY


@pytest.fixture
def two() -> Iterator[tuple[Correspondent, Correspondent]]:
    people = Correspondent("ana"), Correspondent("bo")
    befriend(*people)
    yield people
    for one in people:
        one.close()


def pair_anew(one: Correspondent, other: Correspondent) -> None:
    """Pair again, because fingerprints had not matched; what was under way is lost."""
    for who, of in ((one, other), (other, one)):
        who.do(asks.Verify(who.contacts[of.name], False))
        who.taken()
    befriend(one, other)


def test_what_a_carrier_has_is_sealed_again_for_the_new_keys(two) -> None:
    """The copy there is of no use any more: without this it would be said to be on its way, with
    that carrier, for ever."""
    ana, bo = two
    sent = ana.write("bo", "with a carrier")
    with ana.stores.vault.transaction():
        [row] = ana.stores.vault.messages.history(ana.contacts["bo"], 9)
        ana.stores.vault.messages.set_state(row.ref, "handed")
    pair_anew(ana, bo)
    exchange(ana, bo)
    assert bo.texts("ana") == ["with a carrier"]
    assert ana.stores.vault.outbox.to_contact(ana.contacts["bo"])[0] == 1
    assert ana.stores.vault.messages.by_id(ana.contacts["bo"], sent, mine=True).state == "handed"


def test_a_proposal_and_a_redaction_under_way_are_told_again(two) -> None:
    ana, bo = two
    sent = ana.write("bo", "to go")
    exchange(ana, bo)
    ana.do(asks.Propose(ana.contacts["bo"], WEEK))
    ana.do(asks.Redact(id_text(sent)))
    pair_anew(ana, bo)
    exchange(ana, bo)
    rule = bo.stores.vault.conversations.get(bo.contacts["ana"])
    assert rule.their_span == WEEK
    [row] = bo.stores.vault.messages.history(bo.contacts["ana"], 9)
    assert row.redacted is not None
    bo.do(asks.Decide(bo.contacts["ana"], True))
    exchange(ana, bo)
    for one, other in ((ana, "bo"), (bo, "ana")):
        rule = one.stores.vault.conversations.get(one.contacts[other])
        assert (rule.span, rule.own_offer, rule.their_offer) == (WEEK, b"", b"")
