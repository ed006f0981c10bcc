"""Random fragments by the hundred thousand, from several peers in turn: nothing but RemoteError,
bounded memory, and an honest peer, even on the same line as the fuzzer, is served all the while.
BLE_FUZZ_FRAGMENTS sets how many there are."""

import os
from random import Random

from p2pnode_ble.line import MAX_CHANNELS, MAX_REFUSALS, Line
from p2pnode_ble.pipe import MAX_UNREAD
from p2pnode_ble.wire import MAX_FRAGMENT, WINDOW, Fragment, Kind, decode_untrusted, encode

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import MAX_FRAME
from transports.ble.tests.ble_medium import TIMES, Medium, taken

FRAGMENTS = int(os.environ.get("BLE_FUZZ_FRAGMENTS", "100000"))

OTHERS = 3
"""Further peers, each with a connection of its own, that say nothing sensible."""

PLAUSIBLE = range(20, 30)
"""Channels the fuzzer plays with; the honest one has another."""


def raw_fragment(random: Random, seen: list[bytes]) -> bytes:
    """Return bytes between noise and an almost right fragment."""
    choice = random.random()
    if choice < 0.1:
        return random.randbytes(random.randrange(0, 600))
    if choice < 0.3 and seen:
        raw = bytearray(random.choice(seen))
        for _ in range(random.randrange(3)):
            raw[random.randrange(4, len(raw))] = random.randrange(256)
        return bytes(raw[: random.randrange(4, len(raw) + 1)] if choice < 0.15 else raw)
    kind = random.choice(list(Kind))
    number = random.randrange(4) if choice < 0.6 else random.randrange(2 * WINDOW)
    ack = random.choice([0, 0, 1, random.randrange(1 << 16)])
    body = random.randbytes(random.choice([1, 20, 487])) if kind <= Kind.LAST else b""
    if kind >= Kind.STATE:
        number = 0
    line = b"line" if random.random() < 0.98 else random.randbytes(4)
    return encode(Fragment(line, random.choice(PLAUSIBLE), kind, number, ack, ack + WINDOW, body))


def held(line: Line) -> int:
    """Return the bytes a line holds for its peers."""
    total = 0
    for pipe in line.pipes.values():
        total += len(pipe._parts) + sum(map(len, pipe._unread))
        total += sum(len(one.body) for one in pipe._early.values())
        total += sum(len(body) for _, body in pipe._flight.values()) + pipe._unsent_size
    return total


def test_random_fragments_break_nothing():
    random = Random(5)
    medium = Medium()
    near, far = medium.open()
    line = medium.ends[1]
    others = [Line(None, times=TIMES) for _ in range(OTHERS)]
    seen: list[bytes] = []
    refused = honest = 0
    bound = MAX_CHANNELS * (MAX_UNREAD + MAX_FRAME + 2 * WINDOW * MAX_FRAGMENT)
    for step in range(FRAGMENTS):
        raw = raw_fragment(random, seen)
        if step % 2:  # from another peer
            other = random.choice(others)
            try:
                opened = other.receive_untrusted(decode_untrusted(raw), medium.now)
            except RemoteError:
                refused += 1
                continue
            while other.outgoing(medium.now, MAX_FRAGMENT) is not None:
                pass
            assert opened is None or len(other.pipes) <= MAX_CHANNELS
            continue
        if raw[:4] == b"line" and raw[4:6] == bytes(2):
            raw = raw[:5] + b"\x14" + raw[6:]  # the honest peer's own channel is not the fuzzer's
        elif raw[:4] != b"line" and raw[6:7] == bytes((Kind.OPEN,)):
            continue  # a new line ends the one before by right: it is the same device
        if len(raw) > 4 and (len(seen) < 64 or random.random() < 0.01):
            seen = [*seen[-63:], raw]
        try:
            line.receive_untrusted(decode_untrusted(raw), medium.now)
        except RemoteError:
            refused += 1
        if step // 100 == honest:
            assert len(line._refusals) <= MAX_REFUSALS
            assert all(held(one) <= bound for one in (line, *others))
            assert len(line.pipes) <= MAX_CHANNELS
            frame = step.to_bytes(4, "big") * 250
            near.put(frame)
            got: list[bytes] = []

            def arrived(got: list[bytes] = got) -> bool:
                got += taken(far, medium.now)
                return bool(got)

            assert medium.run(arrived, end=medium.now + 5)
            assert got == [frame]
            honest += 1
            for pipe in line.pipes.values():
                if random.random() < 0.1 and pipe is not far:
                    pipe.close(medium.now)
    assert not near.ended
    assert refused > FRAGMENTS // 50
    assert honest >= FRAGMENTS // 100
    assert medium.times is TIMES
