"""The chain of link keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pnode.protocol.link import keys
from p2pnode.protocol.link.keys import Candidate
from tests.link_ends import SECRET, pair_keys


def test_both_sides_start_with_the_same_key_and_different_sides():
    one, other = keys.first(SECRET, alice=True), keys.first(SECRET, alice=False)
    assert one.current == other.current != SECRET
    assert (one.index, one.previous, one.alice, other.alice) == (0, b"", True, False)


def test_a_step_keeps_the_key_before():
    key = keys.first(SECRET, alice=True)
    after = keys.stepped(key, 0)
    assert after == keys.LinkKey(1, keys.following(key.current), key.current, True)


def test_a_proof_with_the_next_key_steps_past_it():
    key = keys.first(SECRET, alice=False)
    after = keys.stepped(key, 1)
    assert after == keys.stepped(keys.stepped(key, 0), 1)
    assert after.index == 2


def test_a_proof_with_the_next_but_one_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="further ahead"):
        keys.stepped(keys.first(SECRET, alice=True), 2)


@given(st.lists(st.integers(0, 30), max_size=30))
def test_stepping_never_goes_back(proven):
    key = keys.first(SECRET, alice=True)
    for one in proven:
        if one > key.index + 1:
            continue
        after = keys.stepped(key, one)
        assert after.index == max(key.index, one + 1)
        assert after == pair_keys(after.index)[0]
        key = after


def test_the_responder_expects_current_next_and_previous():
    one, _ = pair_keys(5)
    found = keys.expected(Candidate("x", one))
    assert [(each.proven, each.key) for each in found] == [
        (5, pair_keys(5)[0].current),
        (6, pair_keys(6)[0].current),
        (4, pair_keys(4)[0].current),
    ]
    assert [each.proven for each in keys.expected(Candidate("x", pair_keys(0)[0]))] == [0, 1]


def test_marks_and_proofs_differ_by_role_side_handshake_and_key():
    marks = {
        keys.mark(key, initiator=initiator, alice=alice, handshake=handshake)
        for key in (b"k" * 32, b"l" * 32)
        for initiator in (True, False)
        for alice in (True, False)
        for handshake in (b"h" * 64, b"i" * 64)
    }
    proofs = {
        keys.proof(key, initiator=initiator, alice=alice, handshake=handshake, pages=pages)
        for key in (b"k" * 32, b"l" * 32)
        for initiator in (True, False)
        for alice in (True, False)
        for handshake in (b"h" * 64, b"i" * 64)
        for pages in (b"p" * 32, b"q" * 32)
    }
    assert (len(marks), len(proofs)) == (16, 32)
    assert {len(mark) for mark in marks} == {8}
    assert {len(proof) for proof in proofs} == {32}


def test_pages_cannot_be_shifted_into_each_other():
    assert keys.pages_digest(b"ab", b"c") != keys.pages_digest(b"a", b"bc")


def test_strangers_and_contacts_never_share_a_transport_key():
    noise = b"n" * 32
    assert (
        len(
            {
                noise,
                keys.recognition_key(noise),
                keys.transport_key(noise, None),
                keys.transport_key(noise, b"k" * 32),
                keys.transport_key(noise, b"l" * 32),
            }
        )
        == 5
    )
