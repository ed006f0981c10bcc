"""Foreign bytes, at any moment of a link: effects or RemoteError, never anything else."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode.errors import RemoteError
from p2pnode.protocol.link import layout, messages
from p2pnode.protocol.link.effects import Established, Received
from p2pnode.protocol.link.frames import Opening, Sealing
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.link.messages import EnvelopeOut
from tests.link_ends import end, pair_keys, run, strangers

frames = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda number, rest: number.to_bytes(8, "big") + rest,
        st.integers(0, 4),
        st.binary(max_size=80),
    ),
    st.sampled_from([32, 48, 56, 536, 2072, 66_560, 66_561]).map(bytes),
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 5), st.lists(frames, min_size=1, max_size=4), st.booleans())
def test_garbage_in_the_handshake_ends_it_or_changes_nothing(at, garbage, known):
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)] if known else [], marks=64)
    responder = end(initiator=False, known=[Candidate("alice", other)] if known else [], marks=64)
    count = 0

    def insert(from_initiator, frame):
        nonlocal count
        if count == at:
            for foreign in garbage:
                (responder if from_initiator else initiator).receive(foreign)
        count += 1
        return frame

    try:
        run(initiator, responder, insert)
    except RemoteError:
        return
    expected = (["bob"], ["alice"]) if known else ([None], [None])
    assert (initiator.peers, responder.peers) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5), st.integers(0, 3000), st.integers(1, 255), st.booleans())
def test_a_changed_or_cut_handshake_frame_never_ends_in_a_known_link(at, place, change, cut):
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)], marks=64)
    responder = end(initiator=False, known=[Candidate("alice", other)], marks=64)
    count = 0

    def spoil(_from_initiator, frame):
        nonlocal count
        count += 1
        if count - 1 != at:
            return frame
        where = place % len(frame)
        if cut:
            return frame[:where]
        return frame[:where] + bytes([frame[where] ^ change]) + frame[where + 1 :]

    with contextlib.suppress(RemoteError):
        run(initiator, responder, spoil)
    # The last frame may be lost or spoilt after the responder stands: then only it does.
    assert initiator.peers == []
    assert responder.peers == ([] if at < 5 else ["alice"])


@settings(max_examples=150, deadline=None)
@given(st.lists(frames, min_size=1, max_size=30))
def test_garbage_on_a_standing_link_is_dropped(garbage):
    initiator, responder = strangers()
    for foreign in garbage:
        if len(foreign) > 66_560:
            continue
        assert responder.receive(foreign) == []
    frame = initiator.link.seal(EnvelopeOut(0, bytes(4096)), 0)
    assert responder.link.receive_untrusted(frame, 0) == [Received(EnvelopeOut(0, bytes(4096)))]
    assert responder.effects[-1] == Established(None)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 14), st.binary(max_size=1100))
def test_any_bytes_decode_to_a_message_or_are_refused(kind, rest):
    try:
        message = layout.decode_message_untrusted(bytes([kind]) + rest)
    except RemoteError:
        return
    if not isinstance(message, messages.Unknown):
        again = layout.decode_message_untrusted(layout.encode_message(message))
        assert again == message


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2500), st.sampled_from(["send", "lose", "keep", "repeat"])),
        max_size=60,
    )
)
def test_whatever_the_medium_does_no_frame_arrives_twice(steps):
    """Time goes on by up to 2,500 s a frame, so epochs pass in between."""
    sealing, opening = Sealing(b"k" * 32, first=2, now=0), Opening(b"k" * 32, first=2)
    now, kept, got = 0, [], []
    for n, (seconds, fate) in enumerate(steps):
        now += seconds * 1000
        frame = sealing.seal(n.to_bytes(2, "big"), now)
        if fate == "keep":
            kept.append(frame)
        elif fate != "lose":
            got += [opening.open_untrusted(frame) for _ in range(1 + (fate == "repeat"))]
    got += [opening.open_untrusted(frame) for frame in reversed(kept)]
    opened = [one for one in got if one is not None]
    assert len(opened) == len(set(opened))
