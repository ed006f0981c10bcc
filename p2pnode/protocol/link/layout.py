"""The bytes of link messages. The first is the kind.

Fixed layouts, big-endian, except Hello and Addresses, which carry MessagePack. A message of an
unknown kind decodes to `Unknown`, so that later versions may add kinds.
"""

from collections.abc import Callable, Sequence
from struct import Struct

from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.limits import BUCKETS, MAX_IDS, MAX_PAIRING, PIECE
from p2pnode.protocol.link.messages import (
    DELIVERED_TOKEN,
    HELLO,
    ID,
    KEPT,
    MAX_AGE,
    MAX_CREDIT,
    PASS,
    TOKEN,
    Accepted,
    Addresses,
    AddressesKept,
    Bye,
    CarryPass,
    Credit,
    Delivered,
    EnvelopeOut,
    Held,
    Hello,
    LinkMessage,
    Offer,
    PairingMessage,
    Piece,
    Ping,
    Pong,
    Receipts,
    Reconcile,
    Refused,
    Unknown,
    Want,
    Work,
)
from p2pnode.protocol.link.work import NONCE
from p2pnode.protocol.reconcile.limits import MAX_RECONCILE
from p2pnode.protocol.wire import decode_untrusted, encode

PING, PONG, HELLO_KIND, ENVELOPE, OFFER, WANT, ACCEPTED = 1, 2, 3, 4, 5, 6, 7
REFUSED, RECEIPTS, PAIRING, ADDRESSES, BYE, RECONCILE = 8, 9, 10, 11, 12, 13
WORK, CREDIT, CARRY_PASS, DELIVERED, ADDRESSES_KEPT, PIECE_KIND, HELD = 14, 15, 16, 17, 18, 19, 20

_ENVELOPE = Struct(">BH")
_HELLO = Struct(">BH")
_PIECE = Struct(f">B{ID}sHBB")
_HELD = Struct(f">B{ID}sB")
TOTALS = tuple(size // PIECE for size in BUCKETS if size > PIECE)
"""Pieces an envelope may have."""

_ID_KINDS: dict[type, int] = {Offer: OFFER, Want: WANT, Accepted: ACCEPTED, Receipts: RECEIPTS}


def encode_message(message: LinkMessage) -> bytes:
    """Return the bytes of a message. Raises ValueError when it breaks one of its own bounds."""
    if type(message) is EnvelopeOut:
        if len(message.raw) not in BUCKETS or not 0 <= message.age <= MAX_AGE:
            raise ValueError("not an envelope")
        return _ENVELOPE.pack(ENVELOPE, message.age) + message.raw
    match message:
        case Offer() | Want() | Accepted() | Receipts():
            return bytes((_ID_KINDS[type(message)],)) + _joined(message.ids)
        case Refused():
            return bytes((REFUSED, message.code)) + _joined(message.ids)
        case Ping():
            return bytes((PING,)) + _exactly(message.token, TOKEN)
        case Pong():
            return bytes((PONG,)) + _exactly(message.token, TOKEN)
        case Hello():
            return _padded(encode(message))
        case PairingMessage():
            if not 1 <= len(message.raw) <= MAX_PAIRING:
                raise ValueError("a pairing message has 1 to MAX_PAIRING bytes")
            return bytes((PAIRING,)) + message.raw
        case Reconcile():
            if not 1 <= len(message.raw) <= MAX_RECONCILE:
                raise ValueError("a piece has 1 to MAX_RECONCILE bytes")
            return bytes((RECONCILE,)) + message.raw
        case Work(nonce=nonce):
            return bytes((WORK,)) + _exactly(nonce, NONCE)
        case Credit(count=count):
            if not 1 <= count <= MAX_CREDIT:
                raise ValueError("a credit is 1 to MAX_CREDIT envelopes")
            return bytes((CREDIT,)) + count.to_bytes(2)
        case CarryPass(secret=secret):
            return bytes((CARRY_PASS,)) + _exactly(secret, PASS)
        case Delivered(pairs=pairs):
            if not 1 <= len(pairs) <= MAX_IDS:
                raise ValueError("1 to MAX_IDS pairs")
            joined = (_exactly(id_, ID) + _exactly(token, DELIVERED_TOKEN) for id_, token in pairs)
            return bytes((DELIVERED,)) + b"".join(joined)
        case Addresses():
            return bytes((ADDRESSES,)) + encode(message)
        case AddressesKept():
            return bytes((ADDRESSES_KEPT,)) + _exactly(message.digest, KEPT)
        case Piece(envelope=id_, age=age, total=total, number=number):
            if total not in TOTALS or not 0 <= number < total or not 0 <= age <= MAX_AGE:
                raise ValueError("not a piece of an envelope")
            head = _PIECE.pack(PIECE_KIND, _exactly(id_, ID), age, total, number)
            return head + _exactly(message.raw, PIECE)
        case Held(envelope=id_, pieces=pieces):
            if not 1 <= pieces < max(TOTALS):
                raise ValueError("not the beginning of an envelope")
            return _HELD.pack(HELD, _exactly(id_, ID), pieces)
        case Bye():
            return bytes((BYE, message.code))
        case _:
            raise ValueError("an unknown message cannot be sent")


def decode_message_untrusted(raw: bytes) -> LinkMessage:
    """Return the message in foreign bytes, `Unknown` for a kind this version does not know.

    Raises RemoteError when a known kind is not exactly as laid out.
    """
    if not raw:
        raise RemoteError("empty-message")
    kind = raw[0]
    if kind == ENVELOPE:
        if len(raw) - _ENVELOPE.size not in BUCKETS:
            raise RemoteError("bad-envelope-size")
        return EnvelopeOut(raw[1] << 8 | raw[2], raw[_ENVELOPE.size :])
    decode = _DECODE.get(kind)
    return Unknown(kind) if decode is None else decode(raw)


def _joined(ids: Sequence[bytes]) -> bytes:
    if not 1 <= len(ids) <= MAX_IDS or any(len(one) != ID for one in ids):
        raise ValueError("1 to MAX_IDS ids of 32 bytes")
    return b"".join(ids)


def _exactly(field: bytes, size: int) -> bytes:
    if len(field) != size:
        raise ValueError(f"a field of {size} bytes")
    return field


def _padded(record: bytes) -> bytes:
    if len(record) > HELLO - _HELLO.size:
        raise ValueError("too much for one Hello")
    return (_HELLO.pack(HELLO_KIND, len(record)) + record).ljust(HELLO, b"\0")


def _ids_untrusted(raw: bytes, start: int) -> tuple[EnvelopeId, ...]:
    count, rest = divmod(len(raw) - start, ID)
    if rest or not 1 <= count <= MAX_IDS:
        raise RemoteError("bad-ids")
    return tuple(EnvelopeId(raw[at : at + ID]) for at in range(start, len(raw), ID))


def _token_untrusted(raw: bytes) -> bytes:
    if len(raw) != 1 + TOKEN:
        raise RemoteError("bad-token")
    return raw[1:]


def _refused_untrusted(raw: bytes) -> Refused:
    if len(raw) < 2:
        raise RemoteError("bad-refusal")
    return Refused(raw[1], _ids_untrusted(raw, 2))


def _hello_untrusted(raw: bytes) -> Hello:
    if len(raw) != HELLO:
        raise RemoteError("bad-hello-size")
    end = _HELLO.size + (raw[1] << 8 | raw[2])
    if end > HELLO or any(raw[end:]):
        raise RemoteError("bad-padding")
    return decode_untrusted(raw[_HELLO.size : end], Hello)


def _pairing_untrusted(raw: bytes) -> PairingMessage:
    if not 1 <= len(raw) - 1 <= MAX_PAIRING:
        raise RemoteError("bad-pairing-size")
    return PairingMessage(raw[1:])


def _reconcile_untrusted(raw: bytes) -> Reconcile:
    if not 1 <= len(raw) - 1 <= MAX_RECONCILE:
        raise RemoteError("bad-reconcile-size")
    return Reconcile(raw[1:])


def _work_untrusted(raw: bytes) -> Work:
    if len(raw) != 1 + NONCE:
        raise RemoteError("bad-work")
    return Work(raw[1:])


def _credit_untrusted(raw: bytes) -> Credit:
    if len(raw) != 3 or not any(raw[1:]):
        raise RemoteError("bad-credit")
    return Credit(int.from_bytes(raw[1:]))


def _pass_untrusted(raw: bytes) -> CarryPass:
    if len(raw) != 1 + PASS:
        raise RemoteError("bad-carry-pass")
    return CarryPass(raw[1:])


def _delivered_untrusted(raw: bytes) -> Delivered:
    size = ID + DELIVERED_TOKEN
    count, rest = divmod(len(raw) - 1, size)
    if rest or not 1 <= count <= MAX_IDS:
        raise RemoteError("bad-delivered")
    starts = range(1, len(raw), size)
    return Delivered(
        tuple((EnvelopeId(raw[at : at + ID]), raw[at + ID : at + size]) for at in starts)
    )


def _kept_untrusted(raw: bytes) -> AddressesKept:
    if len(raw) != 1 + KEPT:
        raise RemoteError("bad-addresses-kept")
    return AddressesKept(raw[1:])


def _piece_untrusted(raw: bytes) -> Piece:
    if len(raw) != _PIECE.size + PIECE:
        raise RemoteError("bad-piece-size")
    _, id_, age, total, number = _PIECE.unpack_from(raw)
    if total not in TOTALS or number >= total:
        raise RemoteError("bad-piece")
    return Piece(EnvelopeId(id_), age, total, number, raw[_PIECE.size :])


def _held_untrusted(raw: bytes) -> Held:
    if len(raw) != _HELD.size:
        raise RemoteError("bad-held")
    _, id_, pieces = _HELD.unpack(raw)
    if not 1 <= pieces < max(TOTALS):
        raise RemoteError("bad-held")
    return Held(EnvelopeId(id_), pieces)


def _bye_untrusted(raw: bytes) -> Bye:
    if len(raw) != 2:
        raise RemoteError("bad-bye")
    return Bye(raw[1])


_DECODE: dict[int, Callable[[bytes], LinkMessage]] = {
    PING: lambda raw: Ping(_token_untrusted(raw)),
    PONG: lambda raw: Pong(_token_untrusted(raw)),
    HELLO_KIND: _hello_untrusted,
    OFFER: lambda raw: Offer(_ids_untrusted(raw, 1)),
    WANT: lambda raw: Want(_ids_untrusted(raw, 1)),
    ACCEPTED: lambda raw: Accepted(_ids_untrusted(raw, 1)),
    REFUSED: _refused_untrusted,
    RECEIPTS: lambda raw: Receipts(_ids_untrusted(raw, 1)),
    PAIRING: _pairing_untrusted,
    ADDRESSES: lambda raw: decode_untrusted(raw[1:], Addresses),
    BYE: _bye_untrusted,
    RECONCILE: _reconcile_untrusted,
    WORK: _work_untrusted,
    CREDIT: _credit_untrusted,
    CARRY_PASS: _pass_untrusted,
    DELIVERED: _delivered_untrusted,
    ADDRESSES_KEPT: _kept_untrusted,
    PIECE_KIND: _piece_untrusted,
    HELD: _held_untrusted,
}
