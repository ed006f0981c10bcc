"""What travels on a link, one message a frame. Their bytes: `layout`."""

from typing import Annotated

import msgspec

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.limits import (
    MAX_ADDRESS,
    MAX_ADDRESSES,
    MAX_STATEMENTS,
    MAX_TRANSPORTS,
)
from p2pnode.protocol.primitives import digest
from p2pnode.protocol.wire import Bytes8, Unsigned, Wire

TOKEN = 8
"""Bytes in the token of a ping."""

HELLO = 1024
"""Bytes of an encoded Hello, always, so that a blank one looks like a full one."""

MAX_AGE = 0xFFFF
"""Hours an envelope may claim to be old."""

ID = 32
"""Bytes of an envelope's id."""

KEPT = 8
"""Bytes of a digest of addresses."""

PASS = 32
"""Bytes of a carry pass."""

DELIVERED_TOKEN = 16
"""Bytes of a delivered-token."""

MAX_CREDIT = 0xFFFF
"""Envelopes one Credit may grant."""

FEATURE_CARRIES = 1
"""Bit of a Hello's features: its sender carries for strangers who show work."""


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Asks for a Pong with the same 8-byte token."""

    token: bytes


class Pong(msgspec.Struct, frozen=True, gc=False):
    """Answers a Ping."""

    token: bytes


class Statement(Wire, frozen=True):
    """How far a session has come, as its holder knows: envelopes sealed, highest one opened.

    session: the 8-byte public handle that both ends of the session derive.
    """

    session: Bytes8
    sent: Unsigned
    received: Unsigned


class Hello(Wire, frozen=True):
    """The first message in each direction: link version, feature bits, index statements.

    A stranger's Hello carries no statements and is as long as any other.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
    features: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
    statements: Annotated[tuple[Statement, ...], msgspec.Meta(max_length=MAX_STATEMENTS)]


class EnvelopeOut(msgspec.Struct, frozen=True, gc=False):
    """An envelope, with its age in whole hours. The hot path."""

    age: int
    raw: bytes


class Offer(msgspec.Struct, frozen=True, gc=False):
    """Envelopes the sender has; 1 to MAX_IDS ids."""

    ids: tuple[EnvelopeId, ...]


class Want(msgspec.Struct, frozen=True, gc=False):
    """Offered envelopes the sender lacks."""

    ids: tuple[EnvelopeId, ...]


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """Envelopes that are durable at the sender of this message."""

    ids: tuple[EnvelopeId, ...]


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Envelopes that the sender of this message does not take, with a code 0..255."""

    code: int
    ids: tuple[EnvelopeId, ...]


class Receipts(msgspec.Struct, frozen=True, gc=False):
    """Envelopes that the sender of this message has opened; only on links with their author."""

    ids: tuple[EnvelopeId, ...]


class PairingMessage(msgspec.Struct, frozen=True, gc=False):
    """Bytes for the pairing machine at the other end, at most 16 KiB."""

    raw: bytes


AddressList = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_ADDRESS)], ...],
    msgspec.Meta(max_length=MAX_ADDRESSES),
]
TransportName = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]


class Addresses(Wire, frozen=True):
    """Where the sender may be reached: for each transport up to 16 opaque addresses."""

    entries: Annotated[
        tuple[tuple[TransportName, AddressList], ...], msgspec.Meta(max_length=MAX_TRANSPORTS)
    ]


class Bye(msgspec.Struct, frozen=True, gc=False):
    """The sender closes the link, with a code 0..255."""

    code: int


class Reconcile(msgspec.Struct, frozen=True, gc=False):
    """A piece of a reconciliation of what both sides carry, at most 16 KiB."""

    raw: bytes


class Work(msgspec.Struct, frozen=True, gc=False):
    """A stranger's proof of work; see `work`."""

    nonce: bytes


class Credit(msgspec.Struct, frozen=True, gc=False):
    """Answers Work: so many envelopes more may be sent on this link, 1..65535."""

    count: int


class CarryPass(msgspec.Struct, frozen=True, gc=False):
    """The 32 bytes by which the sender may be recognised while its vault is locked."""

    secret: bytes


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """Envelopes that have come, each with the token that proves it; 1 to MAX_IDS pairs."""

    pairs: tuple[tuple[EnvelopeId, bytes], ...]


class AddressesKept(msgspec.Struct, frozen=True, gc=False):
    """The addresses with this digest are durable at the sender of this message."""

    digest: bytes


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A piece of an envelope over 4 KiB, with the envelope's id and age in whole hours: number
    0 .. total - 1 of `total`."""

    envelope: EnvelopeId
    age: int
    total: int
    number: int
    raw: bytes


class Held(msgspec.Struct, frozen=True, gc=False):
    """The sender of this message has so many pieces of an envelope from an earlier link."""

    envelope: EnvelopeId
    pieces: int


def addresses_digest(told: Addresses) -> bytes:
    """Return the 8 bytes by which addresses are acknowledged."""
    parts: list[bytes] = []
    for transport, addresses in told.entries:
        parts += (transport.encode(), len(addresses).to_bytes(2), *addresses)
    return digest(b"p2pnode told", *parts, size=KEPT)


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """A kind that this version does not know; ignored."""

    kind: int


LinkMessage = (
    Ping
    | Pong
    | Hello
    | EnvelopeOut
    | Offer
    | Want
    | Accepted
    | Refused
    | Receipts
    | PairingMessage
    | Addresses
    | Bye
    | Reconcile
    | Work
    | Credit
    | CarryPass
    | Delivered
    | AddressesKept
    | Piece
    | Held
    | Unknown
)
