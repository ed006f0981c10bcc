"""The messages of a link: exact layouts, both ways, and what is refused."""

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.limits import BUCKETS, MAX_FRAME, MAX_IDS, MAX_PAIRING
from p2pnode.protocol.link import layout
from p2pnode.protocol.link import messages as m
from p2pnode.protocol.wire import encode

IDS = tuple(bytes([n]) * 32 for n in range(3))
FULL = m.Hello(1, 0xFFFFFFFF, tuple(m.Statement(bytes([n]) * 8, 2**53 - 1, n) for n in range(16)))
MESSAGES = [
    m.Ping(b"12345678"),
    m.Pong(b"12345678"),
    m.Hello(1, 0, ()),
    FULL,
    *(m.EnvelopeOut(age, b"e" * size) for age in (0, 0xFFFF) for size in BUCKETS),
    m.Offer(IDS),
    m.Want(IDS[:1]),
    m.Accepted(IDS),
    m.Accepted(IDS[:1] * MAX_IDS),
    m.Refused(255, IDS),
    m.Receipts(IDS),
    m.PairingMessage(b"p"),
    m.PairingMessage(b"p" * MAX_PAIRING),
    m.Addresses(()),
    m.Addresses((("lan", (b"a", b"b" * 256)), ("tor", ()))),
    m.Addresses(tuple(("t" * 16, (b"a" * 256,) * 16) for _ in range(8))),
    m.Bye(0),
    m.Work(b"n" * 16),
    m.Credit(1),
    m.Credit(0xFFFF),
    m.CarryPass(b"p" * 32),
    m.AddressesKept(b"12345678"),
    m.Piece(IDS[0], 0, 4, 0, b"p" * 4096),
    m.Piece(IDS[0], 0xFFFF, 16, 15, b"p" * 4096),
    m.Held(IDS[0], 1),
    m.Held(IDS[0], 15),
    m.Delivered(((IDS[0], b"t" * 16),)),
    m.Delivered(((IDS[0], b"t" * 16),) * MAX_IDS),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_every_message_comes_back_as_it_went(message):
    raw = layout.encode_message(message)
    assert layout.decode_message_untrusted(raw) == message
    assert len(raw) + 8 + 16 <= MAX_FRAME


def test_layouts_are_the_written_ones():
    assert layout.encode_message(m.Ping(b"12345678")) == b"\x0112345678"
    assert layout.encode_message(m.Pong(b"12345678")) == b"\x0212345678"
    assert layout.encode_message(m.EnvelopeOut(258, b"e" * 4096)) == b"\x04\x01\x02" + b"e" * 4096
    assert layout.encode_message(m.Offer(IDS)) == b"\x05" + b"".join(IDS)
    assert layout.encode_message(m.Want(IDS)) == b"\x06" + b"".join(IDS)
    assert layout.encode_message(m.Accepted(IDS)) == b"\x07" + b"".join(IDS)
    assert layout.encode_message(m.Refused(9, IDS)) == b"\x08\x09" + b"".join(IDS)
    assert layout.encode_message(m.Receipts(IDS)) == b"\x09" + b"".join(IDS)
    assert layout.encode_message(m.PairingMessage(b"raw")) == b"\x0araw"
    assert (
        layout.encode_message(m.Addresses((("lan", (b"a",)),)))
        == b"\x0b\x91\x91\x92\xa3lan\x91\xc4\x01a"
    )
    assert layout.encode_message(m.Bye(3)) == b"\x0c\x03"
    assert layout.encode_message(m.Work(b"n" * 16)) == b"\x0e" + b"n" * 16
    assert layout.encode_message(m.Credit(258)) == b"\x0f\x01\x02"
    assert layout.encode_message(m.CarryPass(b"p" * 32)) == b"\x10" + b"p" * 32
    pairs = ((IDS[1], b"t" * 16), (IDS[2], b"u" * 16))
    assert layout.encode_message(m.Delivered(pairs)) == b"".join(
        (b"\x11", IDS[1], b"t" * 16, IDS[2], b"u" * 16)
    )
    piece = m.Piece(IDS[1], 258, 16, 3, b"p" * 4096)
    assert layout.encode_message(piece) == b"\x13" + IDS[1] + b"\x01\x02\x10\x03" + b"p" * 4096
    assert layout.encode_message(m.Held(IDS[1], 3)) == b"\x14" + IDS[1] + b"\x03"


def test_hello_is_one_size_blank_or_full():
    blank = layout.encode_message(m.Hello(1, 0, ()))
    assert blank == b"\x03\x00\x04\x93\x01\x00\x90" + bytes(1017)
    assert len(blank) == len(layout.encode_message(FULL)) == m.HELLO


@pytest.mark.parametrize("kind", [0, 21, 255])
def test_unknown_kinds_are_left_for_later_versions(kind):
    assert layout.decode_message_untrusted(bytes([kind]) + b"anything") == m.Unknown(kind)


def _hello(record: bytes, length: int | None = None) -> bytes:
    return (b"\x03" + (length or len(record)).to_bytes(2, "big") + record).ljust(1024, b"\0")


REFUSED = {
    "work too short": (b"\x0e" + bytes(15), "bad-work"),
    "work too long": (b"\x0e" + bytes(17), "bad-work"),
    "credit of nothing": (b"\x0f\0\0", "bad-credit"),
    "credit cut short": (b"\x0f\1", "bad-credit"),
    "a pass too short": (b"\x10" + bytes(31), "bad-carry-pass"),
    "addresses kept, cut short": (b"\x12" + bytes(7), "bad-addresses-kept"),
    "a piece too short": (b"\x13" + IDS[0] + b"\0\0\x04\0" + bytes(4095), "bad-piece-size"),
    "a piece too long": (b"\x13" + IDS[0] + b"\0\0\x04\0" + bytes(4097), "bad-piece-size"),
    "the fifth of four": (b"\x13" + IDS[0] + b"\0\0\x04\x04" + bytes(4096), "bad-piece"),
    "a piece of no bucket": (b"\x13" + IDS[0] + b"\0\0\x05\0" + bytes(4096), "bad-piece"),
    "the one piece of 4 KiB": (b"\x13" + IDS[0] + b"\0\0\x01\0" + bytes(4096), "bad-piece"),
    "no piece held": (b"\x14" + IDS[0] + b"\0", "bad-held"),
    "all pieces held": (b"\x14" + IDS[0] + b"\x10", "bad-held"),
    "held cut short": (b"\x14" + IDS[0], "bad-held"),
    "nothing delivered": (b"\x11", "bad-delivered"),
    "half a pair": (b"\x11" + bytes(47), "bad-delivered"),
    "too much delivered": (b"\x11" + bytes(48 * (MAX_IDS + 1)), "bad-delivered"),
    "empty": (b"", "empty-message"),
    "ping without token": (b"\x01", "bad-token"),
    "ping with a long token": (b"\x01123456789", "bad-token"),
    "pong with a short token": (b"\x021234567", "bad-token"),
    "envelope of no bucket": (b"\x04\0\0" + bytes(4095), "bad-envelope-size"),
    "envelope without age": (b"\x04", "bad-envelope-size"),
    "offer of nothing": (b"\x05", "bad-ids"),
    "want with a torn id": (b"\x06" + bytes(33), "bad-ids"),
    "accepted beyond the bound": (b"\x07" + bytes(32 * (MAX_IDS + 1)), "bad-ids"),
    "refusal without code": (b"\x08", "bad-refusal"),
    "refusal of nothing": (b"\x08\x01", "bad-ids"),
    "receipts of a torn id": (b"\x09" + bytes(31), "bad-ids"),
    "empty pairing": (b"\x0a", "bad-pairing-size"),
    "long pairing": (b"\x0a" + bytes(MAX_PAIRING + 1), "bad-pairing-size"),
    "bye without code": (b"\x0c", "bad-bye"),
    "bye with more": (b"\x0c\0\0", "bad-bye"),
    "short hello": (_hello(b"\x93\x01\x00\x90")[:-1], "bad-hello-size"),
    "hello with dirty padding": (_hello(b"\x93\x01\x00\x90")[:-1] + b"\x01", "bad-padding"),
    "hello with a length too long": (_hello(b"\x93\x01\x00\x90", 1022), "bad-padding"),
    "hello with a length into the padding": (_hello(b"\x93\x01\x00\x90", 5), "bad-record"),
    "hello of version 0": (_hello(b"\x93\x00\x00\x90"), "bad-record"),
    "hello with a short handle": (
        _hello(b"\x93\x01\x00\x91\x93\xc4\x0712345670\0\0"),
        "bad-record",
    ),
    "hello with 17 statements": (
        _hello(b"\x93\x01\x00\xdc\x00\x11" + b"\x93\xc4\x0812345678\0\0" * 17),
        "bad-record",
    ),
    "hello with a negative index": (
        _hello(b"\x93\x01\x00\x91\x93\xc4\x0812345678\xff\0"),
        "bad-record",
    ),
    "addresses that are no list": (b"\x0b\xc0", "bad-record"),
    "addresses of nine transports": (
        b"\x0b" + encode(m.Addresses(tuple(("t", ()) for _ in range(9)))),
        "bad-record",
    ),
    "an address too long": (b"\x0b" + encode(m.Addresses((("t", (bytes(257),)),))), "bad-record"),
    "an empty address": (b"\x0b" + encode(m.Addresses((("t", (b"",)),))), "bad-record"),
    "17 addresses": (b"\x0b" + encode(m.Addresses((("t", (b"a",) * 17),))), "bad-record"),
    "a transport name too long": (b"\x0b" + encode(m.Addresses((("t" * 17, ()),))), "bad-record"),
}


@pytest.mark.parametrize(("raw", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_foreign_bytes_are_refused_with_a_reason(raw, reason):
    with pytest.raises(RemoteError) as caught:
        layout.decode_message_untrusted(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "message",
    [
        m.Ping(b"short"),
        m.EnvelopeOut(0, b"e" * 4095),
        m.EnvelopeOut(-1, b"e" * 4096),
        m.EnvelopeOut(0x10000, b"e" * 4096),
        m.Offer(()),
        m.Offer(IDS[:1] * (MAX_IDS + 1)),
        m.Want((b"short",)),
        m.Refused(256, IDS),
        m.PairingMessage(b""),
        m.PairingMessage(bytes(MAX_PAIRING + 1)),
        m.Hello(1, 0, FULL.statements * 4),
        m.Bye(-1),
        m.Work(b"short"),
        m.Credit(0),
        m.Credit(0x10000),
        m.CarryPass(b"short"),
        m.AddressesKept(b"short"),
        m.Piece(b"short", 0, 4, 0, bytes(4096)),
        m.Piece(IDS[0], 0, 4, 4, bytes(4096)),
        m.Piece(IDS[0], 0, 1, 0, bytes(4096)),
        m.Piece(IDS[0], 0x10000, 4, 0, bytes(4096)),
        m.Piece(IDS[0], 0, 4, 0, bytes(4095)),
        m.Held(IDS[0], 0),
        m.Held(IDS[0], 16),
        m.Delivered(()),
        m.Delivered(((b"short", b"t" * 16),)),
        m.Delivered(((IDS[0], b"short"),)),
        m.Unknown(77),
    ],
)
def test_our_own_mistakes_do_not_leave(message):
    with pytest.raises(ValueError, match=r"."):
        layout.encode_message(message)
