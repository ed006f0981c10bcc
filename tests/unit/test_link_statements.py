"""Index statements and the rollbacks they reveal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pnode.protocol.link.messages import Statement
from p2pnode.protocol.link.statements import check

HANDLE = b"handle 8"


@pytest.mark.parametrize(
    ("sent", "received", "verdict"),
    [
        (7, 10, "ok"),
        (9, 12, "ok"),
        (7, 9, "ok"),
        (6, 10, "they-rolled-back"),  # we have opened their 7th
        (8, 8, "they-rolled-back"),  # they said they had opened 9
        (7, 13, "we-rolled-back"),  # we have sealed 12
        (0, 13, "we-rolled-back"),  # both: ours is the one to mend first
    ],
)
def test_each_rule(sent, received, verdict):
    assert check(12, 7, 5, 9, Statement(HANDLE, sent, received)) == verdict


def test_less_than_they_once_stated_is_a_rollback_though_nothing_of_it_arrived():
    assert check(0, 0, 5, 0, Statement(HANDLE, 4, 0)) == "they-rolled-back"
    assert check(0, 0, 5, 0, Statement(HANDLE, 5, 0)) == "ok"


counts = st.integers(0, 50)


@given(st.lists(st.tuples(counts, counts, counts, counts), max_size=20))
def test_two_honest_sides_never_accuse_each_other(days):
    """Whatever was sealed, opened and lost: statements of the present pass, at any time."""
    sent = [0, 0]
    opened = [0, 0]
    stated = [(0, 0), (0, 0)]
    for alice_seals, bob_seals, bob_opens, alice_opens in days:
        sent[0] += alice_seals
        sent[1] += bob_seals
        opened[1] = max(opened[1], min(sent[0], bob_opens))
        opened[0] = max(opened[0], min(sent[1], alice_opens))
        for here, there in ((0, 1), (1, 0)):
            theirs = Statement(HANDLE, sent[there], opened[there])
            assert check(sent[here], opened[here], *stated[here], theirs) == "ok"
            stated[here] = (theirs.sent, theirs.received)


@given(counts, counts, st.integers(1, 50))
def test_an_old_copy_is_noticed_by_the_other_side(sent, received, back):
    theirs = Statement(HANDLE, max(0, sent - back), max(0, received - back))
    verdict = check(received, sent, sent, received, theirs)
    assert verdict == ("they-rolled-back" if sent or received else "ok")
