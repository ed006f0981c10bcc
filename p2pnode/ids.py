"""Typed ids. All of them are bytes; the type says which, and mypy keeps them apart."""

from base64 import b32decode, b32encode
from typing import NewType

AccountId = NewType("AccountId", bytes)
"""32 bytes: the Ed25519 public key of an account."""

DeviceId = NewType("DeviceId", bytes)
"""16 bytes: personalised BLAKE2b of the device's two public keys."""

ContactId = NewType("ContactId", bytes)
"""16 random bytes: names an address-book entry on this node only; it never leaves it."""

EnvelopeId = NewType("EnvelopeId", bytes)
"""32 bytes: BLAKE2b-256 of an envelope's bytes as received."""

MessageId = NewType("MessageId", bytes)
"""16 random bytes chosen by the author; unique within one author's account."""

PairingId = NewType("PairingId", bytes)
"""16 random bytes: names one shown or scanned code on this node only."""

Lane = NewType("Lane", bytes)
"""16 random bytes under which a transport keeps what belongs to one contact or one pairing."""

SessionRef = NewType("SessionRef", int)
"""Row number of a session in this vault."""

Cursor = NewType("Cursor", int)
"""Position in this node's stored event stream; grows by one an event."""


def id_text(raw: bytes) -> str:
    """Return the lower-case unpadded base32 text of an id, as people and scripts see it."""
    return b32encode(raw).decode("ascii").rstrip("=").lower()


def id_bytes(text: str) -> bytes:
    """Return the bytes behind `id_text`. Raises ValueError when text is not base32."""
    upper = text.strip().upper()
    return b32decode(upper + "=" * (-len(upper) % 8))
