"""The envelope: the sealed, padded, immutable unit that nodes store and forward.

Layout, all sizes in bytes; the total is exactly one of `limits.BUCKETS`:

    version 1 · tag 16 · lifetime class 1 · token hash 16 · nonce 24   the outer bytes (58)
    sealed header 2,332 + 16                                           associated: outer bytes
    sealed body                                                        associated: all before it

A body's plaintext is the content's length (u32, big endian), the content and zeros. One nonce
serves both seals because their keys differ. A carrier sees the outer bytes and the size.
"""

from hashlib import blake2b

import msgspec

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol import limits, primitives

VERSION = 1
TAG = 16
TOKEN_HASH = 16
OUTER = 1 + TAG + 1 + TOKEN_HASH + primitives.NONCE
HEADER = 2332
"""Bytes of header plaintext; a pairing envelope may fill them with other things than a session."""

_NONCE_AT = OUTER - primitives.NONCE
_BODY_AT = OUTER + HEADER + primitives.AEAD_TAG
_LENGTH = 4


class Outer(msgspec.Struct, frozen=True, gc=False):
    """What everyone sees of an envelope; `raw` is the whole of it, as received."""

    tag: bytes
    lifetime: int
    token_hash: bytes
    raw: bytes

    @property
    def nonce(self) -> bytes:
        """The 24 random bytes both seals use."""
        return self.raw[_NONCE_AT:OUTER]


def envelope_id(raw: bytes) -> EnvelopeId:
    """Return the BLAKE2b-256 (RFC 7693) of an envelope's bytes as received."""
    return EnvelopeId(blake2b(raw, digest_size=32, person=b"p2pnode envelope").digest())


def token_hash(token: bytes) -> bytes:
    """Return the 16-byte hash under which an envelope's delivered-token travels outside."""
    return primitives.digest(b"p2pnode token#", token, size=TOKEN_HASH)


def bucket(content: int) -> int:
    """Return the smallest total size that holds this many bytes of content.

    Raises InvalidInput when none does.
    """
    for total in limits.BUCKETS:
        if content <= limits.MAX_CONTENT[total]:
            return total
    raise InvalidInput(
        "the message is too long",
        why=f"{content} bytes, at most {limits.MAX_CONTENT[limits.BUCKETS[-1]]} fit",
        hint="Send it in several messages",
    )


def parse_untrusted(raw: bytes) -> Outer:
    """Return the outer view of foreign bytes. Raises RemoteError when they are no envelope.

    Nothing is authenticated yet: only size, version and lifetime class are looked at.
    """
    if len(raw) not in limits.BUCKETS:
        raise RemoteError("bad-size")
    if raw[0] != VERSION:
        raise RemoteError("unknown-version")
    lifetime = raw[1 + TAG]
    if lifetime >= len(limits.LIFETIMES):
        raise RemoteError("bad-lifetime")
    return Outer(raw[1 : 1 + TAG], lifetime, raw[2 + TAG : 2 + TAG + TOKEN_HASH], raw)


def assemble(
    *,
    tag: bytes,
    lifetime: int,
    token: bytes,
    nonce: bytes,
    header_key: bytes,
    header: bytes,
    body_key: bytes,
    content: bytes,
) -> bytes:
    """Return the sealed envelope in the smallest bucket that holds the content.

    `header` is exactly `HEADER` bytes; both keys are 32 bytes, differ, and serve this envelope
    alone. Raises InvalidInput when no bucket holds the content, ValueError for wrong shapes.
    """
    total = bucket(len(content))
    if not 0 <= lifetime < len(limits.LIFETIMES) or len(header) != HEADER or len(tag) != TAG:
        raise ValueError("an envelope of the wrong shape")
    outer = bytes((VERSION,)) + tag + bytes((lifetime,)) + token_hash(token) + nonce
    start = outer + primitives.seal(header_key, nonce, header, outer)
    room = total - _BODY_AT - primitives.AEAD_TAG
    body = (len(content).to_bytes(_LENGTH, "big") + content).ljust(room, b"\0")
    return start + primitives.seal(body_key, nonce, body, start)


def open_header(outer: Outer, header_key: bytes) -> bytes:
    """Return the header's `HEADER` bytes. Raises RemoteError when it does not authenticate."""
    raw = outer.raw
    return primitives.open_sealed(
        header_key, raw[_NONCE_AT:OUTER], raw[OUTER:_BODY_AT], raw[:OUTER]
    )


def open_body(outer: Outer, body_key: bytes) -> bytes:
    """Return the content. Raises RemoteError when it does not authenticate or is badly padded."""
    raw = outer.raw
    body = primitives.open_sealed(body_key, raw[_NONCE_AT:OUTER], raw[_BODY_AT:], raw[:_BODY_AT])
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
    if end > len(body) or body.count(0, end) != len(body) - end:
        raise RemoteError("bad-padding")
    return body[_LENGTH:end]
