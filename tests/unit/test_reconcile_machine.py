"""Reconciliation between two honest sides: results, bytes, turns, and reads of the store."""

import pytest

from p2pnode.protocol.reconcile import estimate, machine
from p2pnode.protocol.reconcile.effects import Finished, Found, ReadDigests, ReadIds
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.protocol.reconcile.messages import (
    AskCells,
    AskList,
    Cells,
    Digests,
    Listed,
    MoreCells,
    MoreShorts,
    Open,
    Same,
    Want,
    Whole,
)
from tests.reconcile_sides import check, in_leaf, kinds, made, run, sides

SEEMS_EQUAL = 25618
"""A number that was searched for: a group's 2-byte digest is the same with it and without."""


def size(turns):
    return sum(len(piece) for turn in turns for piece in turn)


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_equal_sets_cost_next_to_nothing(count):
    initiator, responder = sides(made(0, count), made(0, count))
    turns = run(initiator, responder)
    check(initiator, responder)
    assert kinds(turns) == [Open, Same]
    assert size(turns) < 200
    assert initiator.reads == responder.reads == [ReadDigests(False)]


def test_a_hundred_differences_among_a_hundred_thousand_keep_within_the_bars():
    common = made(0, 99_950)
    initiator, responder = sides(common | made(200_000, 200_050), common | made(300_000, 300_050))
    turns = run(initiator, responder)
    check(initiator, responder)
    assert size(turns) <= 50 * 100
    assert len(turns) <= 6
    looked_at = sum(len(effect.buckets) for effect in initiator.reads if type(effect) is ReadIds)
    assert looked_at < 1024 / 4  # the work grows with the differences, not with the store


@pytest.mark.parametrize(
    ("common", "mine", "theirs", "expected"),
    [
        (0, 7, 5, [Open, Whole, Want]),
        (0, 0, 5, [Open, Whole, Want]),
        (0, 500, 0, [Open, Whole, Want]),
        (20, 900, 80, [Open, Whole, Want]),
        (0, 0, 500, [Open, Digests, Listed, Want]),
        (100, 5, 5, [Open, Digests, Listed, Want]),
        (3000, 8, 8, [Open, Digests, Cells, Want]),
        (3000, 0, 40, [Open, Digests, Cells, Want]),
        (3000, 40, 0, [Open, Digests, Cells, Want]),
        (9000, 800, 900, [Open, Digests, Cells, AskCells, MoreCells, Want]),
        (0, 1000, 1000, [Open, Digests, Cells, AskList, MoreShorts, Want]),
    ],
)
def test_each_way_finds_exactly_what_differs(common, mine, theirs, expected):
    shared = made(0, common)
    initiator, responder = sides(
        shared | made(100_000, 100_000 + mine), shared | made(200_000, 200_000 + theirs)
    )
    turns = run(initiator, responder)
    check(initiator, responder)
    assert kinds(turns) == expected
    assert all(len(piece) <= 16_384 for turn in turns for piece in turn)


@pytest.mark.parametrize("differing", [0, 1, 10])
def test_a_slow_medium_is_asked_little_first(differing):
    """With 2,000 ids a side, what tells how much differs fits one small frame each way."""
    initiator, responder = sides(made(0, 2_000), made(differing, 2_000 + differing))
    run(initiator, responder)
    check(initiator, responder)
    assert sum(map(len, initiator.sent[0])) <= 64
    assert sum(map(len, responder.sent[0])) <= 200
    said = sum(
        len(piece) for side in (initiator, responder) for turn in side.sent for piece in turn
    )
    assert said <= (100 if not differing else 900)


@pytest.mark.parametrize("order", [list, reversed])
def test_the_order_of_pieces_does_not_matter(order):
    initiator, responder = sides(made(0, 6_000), made(3_500, 9_500))
    turns = run(initiator, responder, order)
    check(initiator, responder)
    assert max(map(len, turns)) > 2


def test_a_table_that_is_too_small_is_extended():
    """All differences lie in one bucket, so their number cannot be told from the digests."""
    common = in_leaf(5, 2_000)
    mine, theirs = in_leaf(5, 2_150) - common, in_leaf(5, 2_300) - in_leaf(5, 2_150)
    common |= made(0, 4_000)
    initiator, responder = sides(common | mine, common | theirs)
    turns = run(initiator, responder)
    check(initiator, responder)
    assert kinds(turns) == [Open, Digests, Cells, AskCells, MoreCells, Want]


def test_a_table_that_still_will_not_decode_is_extended_again_and_then_listed(monkeypatch):
    monkeypatch.setattr(estimate, "from_sketches", lambda _mine, _theirs: 1)
    common = in_leaf(5, 2_000)
    mine, theirs = in_leaf(5, 2_150) - common, in_leaf(5, 2_300) - in_leaf(5, 2_150)
    common |= made(0, 4_000)
    initiator, responder = sides(common | mine, common | theirs)
    turns = run(initiator, responder)
    check(initiator, responder)
    more = [AskCells, MoreCells] * 3
    assert kinds(turns) == [Open, Digests, Cells, *more, AskList, MoreShorts, Want]


def converge(mine, theirs):
    """Exchange and transfer until the sets are equal; return how many exchanges that took."""
    for count in range(1, 60):
        salts = (count.to_bytes(16, "big"), bytes(16))
        initiator, responder = sides(mine, theirs, salts=salts)
        run(initiator, responder)
        assert set(initiator.found.they_lack) <= mine - theirs
        assert set(responder.found.they_lack) <= theirs - mine
        assert initiator.token == responder.token
        mine, theirs = (
            mine | set(responder.found.they_lack),
            theirs | set(initiator.found.they_lack),
        )
        assert (initiator.token is not None) == (mine == theirs)
        if mine == theirs:
            return count
    raise AssertionError


@pytest.mark.parametrize(
    ("limit", "value", "common"),
    [("MAX_DIFFERENCE", 100, 6_000), ("MAX_FOUND", 100, 6_000), ("MAX_SHORTS", 300, 0)],
)
def test_more_than_one_exchange_may_tell_is_found_by_several(monkeypatch, limit, value, common):
    monkeypatch.setattr(machine, limit, value)
    mine, theirs = made(10_000, 10_700), made(20_000, 20_700)
    assert 1 < converge(made(0, common) | mine, made(0, common) | theirs) < 60


@pytest.mark.parametrize("all_at_the_initiator", [True, False])
def test_an_empty_store_is_filled_by_several_exchanges(monkeypatch, all_at_the_initiator):
    monkeypatch.setattr(machine, "MAX_FOUND", 300)
    full, empty = made(0, 700), set()
    assert converge(*((full, empty) if all_at_the_initiator else (empty, full))) == 3


def test_what_is_new_since_a_checkpoint_both_have_is_compared_alone():
    initiator, responder = sides(
        made(0, 50), made(0, 90), checkpoint=b"8 bytes.", recent=made(50, 60)
    )
    responder.sets[True] = made(55, 65)
    run(initiator, responder)
    check(initiator, responder)
    assert initiator.reads[0] == responder.reads[0] == ReadDigests(True)
    assert set(initiator.found.they_lack) == made(50, 55)


@pytest.mark.parametrize("count", [10, 3_000])
@pytest.mark.parametrize("theirs", [None, b"another."])
def test_checkpoints_that_differ_mean_everything_is_compared(theirs, count):
    everything = made(0, count)
    initiator, responder = sides(everything | made(9_000, 9_002), everything | made(9_002, 9_005))
    initiator.machine = Reconciler(initiator=True, salt=b"i" * 16, checkpoint=b"8 bytes.")
    responder.machine = Reconciler(initiator=False, salt=b"r" * 16, checkpoint=theirs)
    turns = run(initiator, responder)
    check(initiator, responder)
    assert len(turns) <= 4  # finding out costs no round trip
    assert initiator.reads[:2] == [ReadDigests(True), ReadDigests(False)]


def test_all_of_one_side_is_not_compared_with_the_recent_ones_of_the_other():
    initiator, responder = sides(made(0, 60), made(0, 40))
    initiator.machine = Reconciler(initiator=True, salt=b"i" * 16, checkpoint=b"8 bytes.")
    initiator.sets[True] = made(0, 40)
    turns = run(initiator, responder)
    check(initiator, responder)
    assert kinds(turns)[1] is Digests
    assert set(initiator.found.they_lack) == made(40, 60)


def test_a_checkpoint_leads_to_the_next_exchange():
    initiator, responder = sides(made(0, 100), made(50, 150))
    run(initiator, responder)
    again, other = sides(
        made(0, 160), made(0, 150), salts=(b"j" * 16, b"s" * 16), checkpoint=initiator.token
    )
    again.sets[True] = made(150, 160)
    run(again, other)
    check(again, other)
    assert set(again.found.they_lack) == made(150, 160)
    assert again.token != initiator.token


def test_a_group_that_only_seems_equal_leaves_no_checkpoint():
    common = made(0, 100)
    hidden = made(SEEMS_EQUAL, SEEMS_EQUAL + 1)
    initiator, responder = sides(common | hidden | made(1_000, 1_001), common)
    run(initiator, responder)
    assert set(initiator.found.they_lack) == made(1_000, 1_001)
    assert initiator.token is responder.token is None
    salts = (b"j" * 16, b"s" * 16)
    initiator, responder = sides(common | hidden, common, salts=salts)
    run(initiator, responder)
    check(initiator, responder)


def test_ids_that_come_and_go_during_an_exchange_do_no_harm():
    common = made(0, 3_000)
    initiator, responder = sides(common | made(5_000, 5_010), common | made(6_000, 6_010))
    opening = initiator.start()
    for side, gone, come in ((initiator, 20, 7_000), (responder, 40, 8_000)):
        side.sets[False] = side.sets[False] - made(gone, gone + 10) | made(come, come + 10)
    run(initiator, responder, first=opening)
    mine, theirs = initiator.sets[False], responder.sets[False]
    assert set(initiator.found.they_lack) <= mine - theirs
    assert set(responder.found.they_lack) <= theirs - mine
    assert made(5_000, 5_010) <= set(initiator.found.they_lack)
    assert made(6_000, 6_010) <= set(responder.found.they_lack)


def test_large_reads_are_asked_for_in_parts():
    initiator, responder = sides(made(0, 20_000), made(20_000, 40_000))
    run(initiator, responder)
    check(initiator, responder)
    asked = [effect.buckets for effect in responder.reads if type(effect) is ReadIds]
    assert len(asked) == 3
    assert len({one for part in asked for one in part}) == sum(map(len, asked)) == 1024


def test_what_comes_late_changes_nothing():
    initiator, responder = sides(made(0, 40), made(10, 50))
    turns = run(initiator, responder)
    for turn in turns:
        assert initiator.machine.receive_untrusted(turn[0]) == []
        assert responder.machine.receive_untrusted(turn[0]) == []
    assert initiator.machine.digests(()) == initiator.machine.ids(()) == []
    other, _ = sides(made(0, 40), made(10, 50), salts=(b"another exchange", b"r" * 16))
    other.start()
    assert other.machine.receive_untrusted(turns[1][0]) == []
    assert not other.machine.over


def test_an_owner_that_answers_unasked_is_told():
    initiator, responder = sides(set(), set())
    with pytest.raises(RuntimeError):
        responder.machine.ids([])
    with pytest.raises(RuntimeError):
        responder.machine.digests([object()] * 1024)
    with pytest.raises(ValueError, match="LEAVES"):
        initiator.machine.digests([])
    for salt, checkpoint in ((b"short", None), (bytes(16), b"short")):
        with pytest.raises(ValueError, match="16 bytes"):
            Reconciler(initiator=True, salt=salt, checkpoint=checkpoint)


def test_results_come_in_order_and_once():
    machine_, other = sides(made(0, 3), made(0, 3))
    for piece in machine_.start():
        answer = other.receive(piece)
    effects = machine_.machine.receive_untrusted(answer[0])
    assert [type(one) for one in effects] == [Found, Finished]
