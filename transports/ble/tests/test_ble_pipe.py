"""The framing core: whatever happens to fragments, frames come out whole, once and in order."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p2pnode_ble.line import MAX_CHANNELS, Line
from p2pnode_ble.pipe import MAX_UNREAD, MAX_UNSENT, Pipe, Times
from p2pnode_ble.wire import (
    HEADER,
    MAX_FRAGMENT,
    MIN_FRAGMENT,
    WINDOW,
    Fragment,
    Kind,
    decode_untrusted,
    encode,
    nearest,
)

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import MAX_FRAME
from transports.ble.tests.ble_medium import TIMES, Medium, taken

SIZES = st.one_of(st.integers(1, 40), st.integers(1, 5_000), st.sampled_from([487, 488, MAX_FRAME]))
FRAMES = st.lists(SIZES, max_size=12)


def frames_of(sizes: list[int], seed: int) -> list[bytes]:
    return [Random(f"{seed}/{n}").randbytes(size) for n, size in enumerate(sizes)]


def feed(pipe: Pipe, frames: list[bytes]) -> None:
    """Put in as many frames as there is room for."""
    while frames and pipe.room and pipe.writable:
        pipe.put(frames.pop(0))


def exchange(medium: Medium, ends: tuple[Pipe, Pipe], frames: list[list[bytes]]) -> list[list]:
    """Send frames both ways; return what each end got."""
    waiting, got = [list(one) for one in frames], [[], []]

    def step() -> bool:
        for side in range(2):
            feed(ends[side], waiting[side])
            got[side] += taken(ends[side], medium.now)
        if any(end.ended for end in ends):
            return True
        return [len(one) for one in got] == [len(frames[1]), len(frames[0])]

    medium.run(step)
    return got


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(FRAMES, FRAMES),
    seed=st.integers(0, 1 << 32),
    loss=st.sampled_from([0.0, 0.0, 0.05, 0.2]),
    doubles=st.sampled_from([0.0, 0.1, 0.5]),
    spread=st.sampled_from([0.0, 0.02, 2.0]),
    size=st.sampled_from([MIN_FRAGMENT, 100, 182, MAX_FRAGMENT]),
)
def test_any_order_loss_and_doubling(sizes, seed, loss, doubles, spread, size):
    if size == MIN_FRAGMENT:
        sizes = tuple([min(one, 2_000) for one in side] for side in sizes)
    patient = Times(silent=1e9, stalled=1e9, opening=1e9, linger=1e9)
    medium = Medium(seed, loss, doubles, spread, size, times=patient)
    ends = medium.open()
    if seed % 2:  # the peripheral knows the line now, and may open one too
        far, near = medium.open(1)
        ends = near, far
    frames = [frames_of(side, seed) for side in sizes]
    assert exchange(medium, ends, frames) == [frames[1], frames[0]]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), loss=st.sampled_from([0.5, 0.8, 0.95]))
def test_under_any_loss_what_comes_is_right_or_the_channel_ends(seed, loss):
    medium = Medium(seed, spread=0.1)
    ends = medium.open()
    medium.loss = loss
    frames = [frames_of([900] * 40, seed), frames_of([30] * 40, seed + 1)]
    got = exchange(medium, ends, frames)
    assert got[0] == frames[1][: len(got[0])]
    assert got[1] == frames[0][: len(got[1])]
    whole = [len(one) for one in got] == [40, 40]
    assert whole or any(end.ended for end in ends)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), channels=st.integers(2, MAX_CHANNELS))
def test_channels_are_interleaved_and_kept_apart(seed, channels):
    patient = Times(silent=1e9, stalled=1e9, opening=1e9)
    medium = Medium(seed, loss=0.02, doubles=0.05, spread=0.05, times=patient)
    pairs = [medium.open() for _ in range(channels)]
    frames = [frames_of([1_500] * 10, seed + n) for n in range(channels)]
    got: list[list[bytes]] = [[] for _ in pairs]
    for (near, _), each in zip(pairs, frames, strict=True):
        for frame in each:
            near.put(frame)

    def step() -> bool:
        for n, (_, far) in enumerate(pairs):
            got[n] += taken(far, medium.now)
        return all(len(each) == 10 for each in got)

    assert medium.run(step)
    assert got == frames


def test_a_backlog_starves_nobody():
    medium = Medium()
    (greedy, _), (modest, other) = medium.open(), medium.open()
    feed(greedy, [bytes(60_000), bytes(60_000)])
    modest.put(b"short")
    said = []
    while not taken(other, 0.0):
        raw = medium.ends[0].outgoing(medium.now, 500)
        assert raw is not None
        said.append(raw)
        medium.ends[1].receive_untrusted(decode_untrusted(raw), medium.now)
    assert len(said) <= 2, "channels take turns"


def test_nobody_reads_and_memory_stays_bounded():
    medium = Medium()
    near, far = medium.open()
    frame, sent = bytes(10_000), 0
    while medium.now < 300:
        while near.room:
            near.put(frame)
            sent += 1
        medium.run(lambda: near.room, end=medium.now + 60)
        medium.now += 1
    assert not near.ended, "the other side is alive, it just does not read"
    held = sum(map(len, far._unread)) + len(far._parts)
    assert held <= MAX_UNREAD + len(frame) + WINDOW * MAX_FRAGMENT
    assert near._unsent_size <= MAX_UNSENT + len(frame)
    got = 0

    def step() -> bool:
        nonlocal got
        got += len(taken(far, medium.now))
        return got == sent

    assert medium.run(step), "it goes on where it stood"


@pytest.mark.parametrize("closer", [0, 1])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_what_was_sent_before_the_end_arrives(closer, loss):
    for seed in range(20):
        medium = Medium(seed, spread=0.1)
        ends = medium.open()
        medium.loss = loss
        frames = frames_of([3_000, 1, 700], seed)
        for frame in frames:
            ends[closer].put(frame)
        ends[closer]._times = Times(linger=1e9, silent=1e9)
        ends[closer].close(medium.now)
        assert not ends[closer].writable
        assert medium.run(lambda ends=ends: ends[1 - closer].ended)
        assert taken(ends[1 - closer], medium.now) == frames
        assert medium.run(lambda medium=medium: all(end.idle for end in medium.ends))


def test_a_peer_that_falls_silent_is_noticed():
    medium = Medium()
    ends = medium.open()
    medium.run(lambda: False, end=500.0)
    assert not any(end.ended for end in ends), "keep-alives are enough"
    medium.silent, since = True, medium.now
    assert medium.run(lambda: all(end.ended for end in ends))
    assert medium.now - since <= TIMES.silent
    medium.run(lambda: False)
    assert all(end.idle for end in medium.ends)


def test_a_medium_that_swallows_long_fragments_only_is_noticed():
    """As BlueZ 5.66 does with more than 510 bytes: keep-alives still come through."""
    medium = Medium()
    near, far = medium.open()
    near.put(bytes(2_000))
    ends = medium.ends
    while not near.ended:
        medium.now = max(medium.now, min(end.due(medium.now) for end in ends))
        for side in range(2):
            while (raw := ends[side].outgoing(medium.now, 500)) is not None:
                if len(raw) < 400:
                    ends[1 - side].receive_untrusted(decode_untrusted(raw), medium.now)
    assert TIMES.stalled - 1 <= medium.now <= TIMES.stalled + 1
    assert far.take(medium.now) is None


def test_an_opening_that_nobody_answers_ends():
    medium = Medium(silent=True)
    opened = medium.ends[0].open(0.0)
    assert opened is not None
    assert medium.run(lambda: opened[1].ended)
    assert medium.now == TIMES.opening


def test_too_many_channels_are_refused():
    medium = Medium()
    for _ in range(MAX_CHANNELS):
        medium.open()
    assert medium.ends[0].open(medium.now) is None
    assert medium.ends[1].open(medium.now) is None


def test_a_peer_that_started_over_is_told_and_takes_over():
    medium = Medium()
    near, far = medium.open()
    reborn = Line(b"new!", times=TIMES)
    opened = reborn.open(medium.now)
    assert opened is not None
    raw = reborn.outgoing(medium.now, 500)
    assert raw is not None
    medium.ends[1].receive_untrusted(decode_untrusted(raw), medium.now)
    assert far.ended, "a new line ends the old one's channels"
    near.put(b"to the old one")
    medium.run(lambda: near.ended)
    assert near.ended, "and the old line is told when it speaks"


def test_fragments_for_another_central_are_passed_over():
    line = Line(b"mine", times=TIMES)
    assert line.open(0.0) is not None
    for kind in Kind:
        body = b"x" if kind <= Kind.LAST else b""
        line.receive_untrusted(Fragment(b"not!", 0, kind, 0, 1, 2, body), 0.0)
    assert line.outgoing(0.0, 500) == encode(Fragment(b"mine", 0, Kind.OPEN, 0, 0, WINDOW))
    assert line.outgoing(0.0, 500) is None


def wrong(fragment: Fragment, reason: str) -> None:
    """A foreign fragment that breaks a rule resets its channel, and no other."""
    medium = Medium()
    (near, far), (other, _) = medium.open(), medium.open()
    far.put(b"x" * 900)
    with pytest.raises(RemoteError, match=reason):
        medium.ends[1].receive_untrusted(fragment, medium.now)
    assert far.ended
    assert medium.run(lambda: near.ended), "the other side is told"
    assert not other.ended


def part(kind: Kind, number: int, body: bytes = b"", ack: int = 0) -> Fragment:
    return Fragment(b"line", 0, kind, number, ack, ack + WINDOW, body)


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        (part(Kind.STATE, 0, ack=9), "ble-ack-of-nothing"),
        (part(Kind.PART, WINDOW + 1, b"x"), "ble-beyond-credit"),
        (part(Kind.OPEN, 1), "ble-not-opened"),
    ],
)
def test_rules_broken(fragment, reason):
    wrong(fragment, reason)


def opened() -> Pipe:
    pipe = Pipe(b"line", 0, opener=False, times=TIMES, now=0.0)
    pipe.receive_untrusted(part(Kind.OPEN, 0), 0.0)
    return pipe


def test_a_torn_frame_resets_its_channel():
    pipe = opened()
    pipe.receive_untrusted(part(Kind.PART, 1, b"half"), 0.0)
    with pytest.raises(RemoteError, match="ble-torn-frame"):
        pipe.receive_untrusted(part(Kind.CLOSE, 2), 0.0)
    assert pipe.ended
    assert pipe.take(0.0) is None


def test_an_endless_frame_resets_its_channel():
    pipe = opened()
    fits = MAX_FRAME // 487
    for number in range(1, fits + 1):
        pipe.receive_untrusted(part(Kind.PART, number, bytes(487)), 0.0)
        pipe.outgoing(1.0, 500)
    with pytest.raises(RemoteError, match="ble-frame-size"):
        pipe.receive_untrusted(part(Kind.PART, fits + 1, bytes(487)), 0.0)
    assert pipe.ended
    assert pipe.take(0.0) is None


@given(st.binary(max_size=600))
def test_foreign_bytes_are_a_fragment_or_a_remote_error(raw):
    try:
        fragment = decode_untrusted(raw)
    except RemoteError:
        return
    assert encode(fragment) == raw


@given(st.integers(0, 1 << 40), st.integers(-0x8000, 0x7FFF))
def test_numbers_are_found_again(reference, distance):
    assert nearest(reference, (reference + distance) & 0xFFFF) == reference + distance


def test_header_leaves_room_in_the_smallest_fragment():
    assert HEADER < MIN_FRAGMENT < MAX_FRAGMENT
