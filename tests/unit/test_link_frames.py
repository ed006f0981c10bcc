"""Frames of a standing link: numbers, replay window, epochs, bad frames."""

import random

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.limits import MAX_BAD_FRAMES, REKEY_AFTER, REPLAY_WINDOW
from p2pnode.protocol.link import frames
from p2pnode.protocol.link.frames import Opening, Sealing

KEY = b"k" * 32
HOUR = REKEY_AFTER * 1000


def halves() -> tuple[Sealing, Opening]:
    return Sealing(KEY, first=2, now=0), Opening(KEY, first=2)


def header(frame: bytes) -> tuple[int, int]:
    return int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:8], "big")


def test_frames_are_numbered_from_the_first_and_cost_24_bytes():
    sealing, opening = halves()
    sent = [sealing.seal(b"text", 0) for _ in range(3)]
    assert [header(frame) for frame in sent] == [(0, 2), (0, 3), (0, 4)]
    assert {len(frame) for frame in sent} == {4 + 24}
    assert [opening.open_untrusted(frame) for frame in sent] == [b"text"] * 3


@pytest.mark.parametrize("seed", range(5))
def test_any_disorder_within_the_window_arrives_once(seed):
    sealing, opening = halves()
    sent = [sealing.seal(bytes([n % 256]), 0) for n in range(REPLAY_WINDOW)]
    shuffled = sent * 2
    random.Random(seed).shuffle(shuffled)
    opened = [opening.open_untrusted(frame) for frame in shuffled]
    assert len([one for one in opened if one is not None]) == REPLAY_WINDOW
    assert (opening.repeated, opening.bad) == (REPLAY_WINDOW, 0)


def test_a_frame_at_the_edge_of_the_window_passes_and_one_behind_it_does_not():
    sealing, opening = halves()
    sent = [sealing.seal(b"text", 0) for _ in range(REPLAY_WINDOW + 1)]
    assert opening.open_untrusted(sent[-1]) == b"text"
    assert opening.open_untrusted(sent[0]) is None
    assert opening.open_untrusted(sent[1]) == b"text"
    assert opening.open_untrusted(sent[1]) is None
    assert opening.repeated == 2


def test_numbers_before_the_first_are_refused():
    opening = Opening(KEY, first=2)
    for number in (0, 1):
        assert opening.open_untrusted(Sealing(KEY, first=number, now=0).seal(b"x", 0)) is None
    assert opening.repeated == 2


def test_a_far_jump_costs_nothing():
    opening = Opening(KEY, first=2)
    far = Sealing(KEY, first=2**48 - 2, now=0)
    assert opening.open_untrusted(far.seal(b"far", 0)) == b"far"
    assert opening.open_untrusted(far.seal(b"next", 0)) == b"next"
    assert opening.open_untrusted(Sealing(KEY, first=2, now=0).seal(b"x", 0)) is None


@pytest.mark.parametrize("place", [0, 1, 2, 7, 8, 20, -1])
def test_every_byte_of_a_frame_is_authenticated(place):
    sealing, opening = halves()
    frame = bytearray(sealing.seal(b"some text in a frame", 0))
    whole = bytes(frame)
    frame[place] ^= 1
    assert opening.open_untrusted(bytes(frame)) is None
    assert opening.bad == 1
    assert opening.open_untrusted(whole) == b"some text in a frame"


def test_a_truncated_frame_is_dropped_whatever_is_left_of_it():
    sealing, opening = halves()
    frame = sealing.seal(b"text", 0)
    for length in range(len(frame)):
        assert opening.open_untrusted(frame[:length]) is None
    assert opening.bad == len(frame)
    assert opening.open_untrusted(frame) == b"text"


def test_bad_frames_are_borne_up_to_the_bound():
    opening = Opening(KEY, first=2)
    garbage = b"\0\0\0\0\0\0\0\x09" + bytes(40)
    for _ in range(MAX_BAD_FRAMES):
        assert opening.open_untrusted(garbage) is None
    with pytest.raises(RemoteError, match="too-many-bad-frames"):
        opening.open_untrusted(garbage)


def test_repeats_alone_never_end_a_link():
    sealing, opening = halves()
    frame = sealing.seal(b"text", 0)
    assert opening.open_untrusted(frame) == b"text"
    for _ in range(10 * MAX_BAD_FRAMES):
        assert opening.open_untrusted(frame) is None
    assert opening.repeated == 10 * MAX_BAD_FRAMES


def test_the_key_changes_each_hour_and_the_sequence_runs_on():
    sealing, opening = halves()
    sent = [sealing.seal(b"text", now) for now in (0, HOUR - 1, HOUR, HOUR, 2 * HOUR, 9 * HOUR)]
    assert [header(frame) for frame in sent] == [(0, 2), (0, 3), (1, 4), (1, 5), (2, 6), (3, 7)]
    assert [opening.open_untrusted(frame) for frame in sent] == [b"text"] * 6


def test_the_key_changes_after_so_many_frames():
    sealing, opening = halves()
    sealing._next = sealing._rekey_from - 1
    sent = [sealing.seal(b"text", 0) for _ in range(2)]
    assert [header(frame) for frame in sent] == [(0, 2**32 + 1), (1, 2**32 + 2)]
    assert [opening.open_untrusted(frame) for frame in sent] == [b"text"] * 2


def test_previous_current_and_next_epoch_open_and_no_other():
    sealing, opening = halves()
    sent = [sealing.seal(bytes([n]), n * HOUR) for n in range(6)]
    assert [header(frame)[0] for frame in sent] == [0, 1, 2, 3, 4, 5]
    assert opening.open_untrusted(sent[2]) is None  # two ahead: that much silence ends a link
    assert opening.open_untrusted(sent[1]) == b"\x01"
    assert opening.open_untrusted(sent[0]) == b"\x00"  # the one before still opens
    assert opening.open_untrusted(sent[2]) == b"\x02"
    assert opening.open_untrusted(sent[3]) == b"\x03"
    late = Opening(KEY, first=2)
    late.open_untrusted(sent[1])
    late.open_untrusted(sent[2])
    assert late.open_untrusted(sent[0]) is None  # two behind: its key is gone
    assert (opening.bad, late.bad) == (1, 1)


def test_a_forged_frame_of_the_next_epoch_moves_nothing():
    sealing, opening = halves()
    forged = (1).to_bytes(2, "big") + (2).to_bytes(6, "big") + bytes(40)
    assert opening.open_untrusted(forged) is None
    assert opening.open_untrusted(sealing.seal(b"text", 0)) == b"text"
    assert opening.open_untrusted(sealing.seal(b"text", HOUR)) == b"text"


def test_an_old_key_is_not_kept():
    sealing, opening = halves()
    for hour in range(3):
        opening.open_untrusted(sealing.seal(b"text", hour * HOUR))
    assert KEY not in (sealing._key, opening._key)


def test_after_the_last_epoch_the_half_is_worn():
    sealing = Sealing(KEY, first=2, now=0)
    sealing._next |= frames.LAST_EPOCH << 48
    sealing._rekey_from = sealing._next + 100
    sealing.seal(b"text", HOUR - 1)
    assert not sealing.worn
    assert header(sealing.seal(b"text", HOUR))[0] == frames.LAST_EPOCH
    assert sealing.worn
