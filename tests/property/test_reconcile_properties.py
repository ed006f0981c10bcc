"""Any sets, any order of pieces, any bytes: the right result or a refusal, and always an end."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode.errors import RemoteError
from p2pnode.protocol.reconcile import messages
from tests.reconcile_sides import check, in_leaf, made, opened, run, sides

counts = st.sampled_from([0, 1, 2, 7, 30, 33, 90, 300, 700])
salts = st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))


@settings(max_examples=60, deadline=None)
@given(counts, counts, counts, counts, salts, st.randoms(use_true_random=False))
def test_two_sets_end_up_knowing_what_the_other_lacks(common, mine, theirs, ground, both, chance):
    shared = made(0, common) | in_leaf(700, ground)
    split = ground // 3
    sets = (
        (shared - in_leaf(700, split)) | made(10_000, 10_000 + mine),
        shared | made(20_000, 20_000 + theirs),
    )
    initiator, responder = sides(*sets, salts=both)
    turns = run(initiator, responder, lambda pieces: chance.sample(pieces, len(pieces)))
    if initiator.token is None:
        # One differing group in 65,536 seems equal. That is noticed, and the next exchange tells.
        assert responder.token is None
        assert set(initiator.found.they_lack) <= sets[0] - sets[1]
        initiator, responder = sides(*sets, salts=(both[1], both[0][::-1]))
        run(initiator, responder)
    check(initiator, responder)
    assert len(turns) <= 12
    assert all(len(piece) <= 16_384 for turn in turns for piece in turn)
    assert len(opened(turns[0]).root) == 16


@settings(max_examples=40, deadline=None)
@given(counts, counts, st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_recent_sets_are_compared_exactly_when_the_checkpoints_agree(mine, theirs, one, other):
    for checkpoint in (one, other):
        initiator, _ = sides(made(0, 100), (), checkpoint=one, recent=made(200, 200 + mine))
        _, responder = sides((), made(0, 90), checkpoint=checkpoint)
        responder.sets[True] = made(300, 300 + theirs)
        run(initiator, responder)
        check(initiator, responder)
        assert responder.reads[-1].recent == (checkpoint == one)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([(40, 8, 0), (20, 8, 9), (300, 40, 30), (300, 0, 60), (0, 500, 500)]),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
    st.sampled_from(["flip", "cut", "grow", "replace"]),
)
def test_spoilt_pieces_are_refused_or_come_to_an_end(case, at, chance, how):
    common, mine, theirs = case
    initiator, responder = sides(
        made(0, common) | made(1_000, 1_000 + mine), made(0, common) | made(2_000, 2_000 + theirs)
    )
    done = 0

    def spoil(pieces):
        nonlocal done
        done += 1
        return [spoilt(pieces[0], how, chance), *pieces[1:]] if done - 1 == at else pieces

    try:
        run(initiator, responder, spoil)
    except RemoteError:
        assert initiator.machine.over or responder.machine.over
    for side in (initiator, responder):
        assert side.finished <= 1
        if side.found is not None:
            assert set(side.found.they_lack) <= side.sets[False]
            assert len(side.found.they_lack) == len(set(side.found.they_lack))


def spoilt(raw, how, chance):
    """Return bytes like these, with something wrong."""
    place = chance.randrange(len(raw))
    if how == "flip":
        return raw[:place] + bytes([raw[place] ^ chance.randrange(1, 256)]) + raw[place + 1 :]
    if how == "cut":
        return raw[:place]
    if how == "grow":
        return raw + chance.randbytes(3)
    kept = min(place, 8)
    return raw[:kept] + random.Random(place).randbytes(len(raw) - kept)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 12), st.binary(max_size=300))
def test_any_bytes_decode_to_a_message_or_are_refused(kind, rest):
    try:
        message = messages.decode_message_untrusted(bytes([kind]) + rest)
    except RemoteError:
        return
    again = messages.decode_message_untrusted(messages.encode_message(message))
    assert again == message
