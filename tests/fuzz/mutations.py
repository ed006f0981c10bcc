"""Bytes made worse: what the fuzzer does to a sample."""

from collections.abc import Callable, Sequence
from random import Random

TYPES = bytes(
    (0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, *range(0xC4, 0xE0), 0xFF)
)
"""First bytes of MessagePack values, the one it never uses among them."""

STRINGS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First bytes of MessagePack strings: how many bytes their length has."""

MARKS = (b"[", b"{", b'"', b"\\u", b"\xed\xa0\x80", b"\0", b"\r\n", b"9", b"-", b".", b"=", b"\x91")
"""What means something to the text and record formats, to stand somewhere many times."""

MOST = 4
"""Changes made to one sample at most."""

Change = Callable[[bytearray, Random, Sequence[bytes]], None]


def mutated(draw: Random, samples: Sequence[bytes], others: Sequence[bytes], most: int) -> bytes:
    """Return the next input, of at most `most` bytes.

    It is a changed sample, seldom an unchanged one or nothing but random bytes. samples: inputs
    that mean something to the target. others: bytes to splice in besides.
    """
    if draw.random() < 0.03:
        return draw.randbytes(int(most ** draw.random()))
    raw = bytearray(draw.choice(samples))
    for _ in range(draw.randint(0, MOST)):
        draw.choice(CHANGES)(raw, draw, samples if draw.random() < 0.7 else others)
    return bytes(raw[:most])


def _place(raw: bytearray, draw: Random) -> int:
    """Return a place; headers are short, so half of the time near the beginning."""
    end = len(raw) if draw.random() < 0.5 else min(len(raw), 48)
    return draw.randint(0, end)


def _span(raw: bytearray, draw: Random) -> slice:
    start = _place(raw, draw)
    return slice(start, start + int((len(raw) - start + 1) ** draw.random()))


def _flip(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    for _again in range(draw.randint(1, 8)):
        if raw:
            raw[_place(raw, draw) % len(raw)] ^= 1 << draw.randrange(8)


def _insert(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    at = _place(raw, draw)
    raw[at:at] = draw.randbytes(draw.randint(1, 32))


def _delete(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    del raw[_span(raw, draw)]


def _truncate(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    del raw[_place(raw, draw) :]


def _splice(raw: bytearray, draw: Random, from_: Sequence[bytes]) -> None:
    """Go on as another one does, or put a part of it here."""
    other = bytearray(draw.choice(from_))
    at = _place(raw, draw)
    if draw.random() < 0.5:
        raw[at:] = other[_place(other, draw) :]
    else:
        raw[at:at] = other[_span(other, draw)]


def _number(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    """Write a boundary value over an integer of 1 to 8 bytes, in either order."""
    size = draw.choice((1, 2, 3, 4, 6, 8))
    power = 1 << draw.randint(0, 8 * size)
    near = draw.choice((0, power, len(raw), len(raw) - _place(raw, draw))) + draw.randint(-2, 2)
    at = _place(raw, draw)
    raw[at : at + size] = (near % (1 << 8 * size)).to_bytes(size, draw.choice(("big", "little")))


def _length(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    """Change a field that reads like the length of something that follows it."""
    size = draw.choice((1, 2, 2, 4))
    found = [
        at
        for at in range(min(len(raw) - size + 1, 96))
        if 0 < int.from_bytes(raw[at : at + size]) <= len(raw) - at - size
    ]
    if found:
        at = draw.choice(found)
        changed = int.from_bytes(raw[at : at + size]) + draw.choice((-2, -1, 1, 2, 255, 1 << 15))
        raw[at : at + size] = (changed % (1 << 8 * size)).to_bytes(size)


def _resize(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    """Make a MessagePack string of bytes or letters longer or shorter, and its length with it."""
    start = draw.randrange(len(raw)) if len(raw) > 512 and draw.random() < 0.3 else 0
    found = []
    for at in range(start, min(len(raw), start + 512)):
        size = STRINGS.get(raw[at], 0)
        length = int.from_bytes(raw[at + 1 : at + 1 + size])
        if size and 0 < length <= len(raw) - at - 1 - size:
            found.append((at + 1, size, length))
    if found:
        at, size, length = draw.choice(found)
        wanted = (length // 2, 2 * length, length - 1, length + 1, length + draw.randint(2, 300), 0)
        changed = draw.choice(wanted) % (1 << 8 * size)
        part = bytes(raw[at + size : at + size + length])
        part = part[:changed] + draw.randbytes(max(0, changed - length))
        raw[at : at + size + length] = changed.to_bytes(size) + part


def _type(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    at = _place(raw, draw)
    raw[at : at + 1] = bytes((draw.choice(TYPES),))


def _repeat(raw: bytearray, draw: Random, _: Sequence[bytes]) -> None:
    """Put a short part many times: what nests too deep, or counts too far."""
    at = _place(raw, draw)
    part = draw.choice((*MARKS, bytes(raw[at : at + draw.randint(1, 8)])))
    raw[at:at] = part * int(6_000 ** draw.random())


CHANGES: tuple[Change, ...] = (
    _flip,
    _flip,
    _insert,
    _delete,
    _truncate,
    _splice,
    _splice,
    _number,
    _number,
    _length,
    _resize,
    _resize,
    _type,
    _repeat,
)
