"""Noise NN (25519, ChaChaPoly, BLAKE2b), by the Noise Protocol Framework, revision 34.

Two messages, no static keys: `-> e`, `<- e, ee`. Only what a link needs.
"""

from hashlib import blake2b

from p2pnode.errors import RemoteError
from p2pnode.protocol.primitives import (
    AEAD_TAG,
    KEY,
    ChaChaPoly,
    hkdf_blake2b,
    x25519,
    x25519_public,
)

NAME = b"Noise_NN_25519_ChaChaPoly_BLAKE2b"
HASH = 64
"""Bytes of a BLAKE2b digest, as Noise uses it."""

_FIRST_NONCE = bytes(12)
_REKEY_NONCE = bytes(4) + b"\xff" * 8


class NN:
    """One side of one handshake (Noise §5): the initiator writes then reads, the other way round.

    initiator: who writes first. ephemeral: 32 private random bytes, never used before.
    """

    def __init__(self, *, initiator: bool, prologue: bytes, ephemeral: bytes) -> None:
        self._initiator = initiator
        self._private = ephemeral
        self._public = x25519_public(ephemeral)
        self._chaining = NAME.ljust(HASH, b"\0")
        self._hash = self._chaining
        self._mix_hash(prologue)

    def write(self, payload: bytes = b"") -> bytes:
        """Return this side's message; the initiator's payload is neither secret nor authentic."""
        self._mix_hash(self._public)
        if self._initiator:
            self._mix_hash(payload)
            return self._public + payload
        sealed = self._agree().seal(_FIRST_NONCE, payload, self._hash)
        self._mix_hash(sealed)
        return self._public + sealed

    def read_untrusted(self, raw: bytes) -> bytes:
        """Return the payload of the other side's message.

        Raises RemoteError when it is too short, not authentic, or carries a low-order key.
        """
        if len(raw) < KEY + (AEAD_TAG if self._initiator else 0):
            raise RemoteError("handshake-too-short")
        self._theirs, rest = raw[:KEY], raw[KEY:]
        self._mix_hash(self._theirs)
        if not self._initiator:
            self._mix_hash(rest)
            return rest
        payload = self._agree().open_untrusted(_FIRST_NONCE, rest, self._hash)
        self._mix_hash(rest)
        return payload

    @property
    def handshake_hash(self) -> bytes:
        """The 64 bytes that name this handshake, once both messages have passed (§11.2)."""
        return self._hash

    def split(self) -> tuple[bytes, bytes]:
        """Return the keys from the initiator and to the initiator (§5.2), 32 bytes each."""
        both = hkdf_blake2b(self._chaining, b"", 2 * HASH)
        return both[:KEY], both[HASH : HASH + KEY]

    def _mix_hash(self, part: bytes) -> None:
        self._hash = blake2b(self._hash + part).digest()

    def _agree(self) -> ChaChaPoly:
        """Mix the two ephemeral keys and return the cipher of the second message's payload."""
        both = hkdf_blake2b(self._chaining, x25519(self._private, self._theirs), 2 * HASH)
        self._chaining = both[:HASH]
        return ChaChaPoly(both[HASH : HASH + KEY])


def rekeyed(key: bytes) -> bytes:
    """Return the key after REKEY (§4.2, §11.3)."""
    return ChaChaPoly(key).seal(_REKEY_NONCE, bytes(KEY), b"")[:KEY]
