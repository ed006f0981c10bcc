"""Envelopes in pieces: whole after any breaks, and nothing but what was sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pnode.engine.partials import MAX_PARTIALS, Partials
from p2pnode.errors import RemoteError
from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol.envelope import envelope_id
from p2pnode.protocol.limits import BUCKETS, PIECE
from p2pnode.protocol.link.messages import Piece
from p2pnode.protocol.pieces import Partial, cut, joined_untrusted, whole_untrusted

LARGE = [bytes([number]) * size for number, size in enumerate(BUCKETS[1:])]


@given(st.sampled_from(LARGE), st.lists(st.integers(0, 15), max_size=8))
def test_it_is_whole_after_any_breaks(raw, breaks):
    """Each number is how many pieces one more link carries before it breaks."""
    held: Partial | None = None
    sent = 0
    for carried in [*breaks, 16]:
        start = 0 if held is None else held.held.pieces
        for piece in list(cut(envelope_id(raw), 3, raw, start))[:carried]:
            sent += 1
            assert piece.age == 3
            held = joined_untrusted(held, piece)
            if whole_untrusted(held):
                assert held.raw == raw
                assert sent == len(raw) // PIECE, "none went twice"
                return
    raise AssertionError


pieces = st.builds(
    Piece,
    st.sampled_from([EnvelopeId(bytes([n]) * 32) for n in range(2)]),
    st.just(0),
    st.sampled_from([4, 16]),
    st.integers(0, 15),
    st.sampled_from([bytes(PIECE), b"x" * PIECE]),
)


@given(st.lists(pieces, max_size=40))
def test_foreign_pieces_hold_no_more_than_one_envelope(found):
    held: Partial | None = None
    for piece in found:
        try:
            held = joined_untrusted(held, piece)
            assert not whole_untrusted(held), "none has this id"
        except RemoteError:
            held = None
        assert held is None or len(held.raw) < held.total * PIECE <= BUCKETS[-1]


def test_another_envelope_than_was_said_is_refused():
    raw = LARGE[0]
    held: Partial | None = None
    with pytest.raises(RemoteError) as caught:
        for piece in cut(envelope_id(LARGE[1]), 0, raw):
            held = joined_untrusted(held, piece)
            whole_untrusted(held)
    assert caught.value.reason == "bad-pieces"


def test_beginnings_are_kept_of_few_devices():
    partials = Partials()
    one = Partial(EnvelopeId(bytes(32)), 16, bytes(PIECE))
    for number in range(100):
        partials.keep(DeviceId(bytes([number]) * 32), one)
    kept = [number for number in range(100) if partials.of(DeviceId(bytes([number]) * 32))]
    assert kept == list(range(100 - MAX_PARTIALS, 100))
    partials.keep(None, one)
    assert partials.of(None) is None
    partials.keep(DeviceId(bytes([99]) * 32), None)
    assert partials.of(DeviceId(bytes([99]) * 32)) is None
