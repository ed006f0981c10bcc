"""Entropy that is a function of a seed, for runs that must come out alike. Never for real keys."""

from hashlib import blake2b, shake_256

from p2pnode.errors import RemoteError
from p2pnode.protocol.primitives import KEM_CIPHERTEXT, KEM_PUBLIC


class SeededEntropy:
    """`protocol.entropy.Entropy` from its seed alone.

    The KEM is a declared stand-in with ML-KEM-768's sizes and no security whatever: the public key
    is a hash of the seed, the ciphertext is expanded randomness, and the secret hashes both.
    """

    def __init__(self, seed: int) -> None:
        self._key = blake2b(seed.to_bytes(16, "big", signed=True), digest_size=32).digest()
        self._taken = 0

    def take(self, n: int) -> bytes:
        """Return the next n bytes."""
        out = b""
        while len(out) < n:
            counter = self._taken.to_bytes(8, "big")
            out += blake2b(counter, key=self._key, digest_size=64).digest()
            self._taken += 1
        return out[:n]

    def kem_public(self, seed: bytes) -> bytes:
        """Return the stand-in public key of a 64-byte seed."""
        return shake_256(b"public" + seed).digest(KEM_PUBLIC)

    def check_kem(self, public: bytes) -> None:
        """Raise RemoteError for a public key of another length; every other serves."""
        if len(public) != KEM_PUBLIC:
            raise RemoteError("bad-kem-key")

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Return a secret and its ciphertext for a public key of the right length."""
        self.check_kem(public)
        ciphertext = shake_256(b"ciphertext" + self.take(32)).digest(KEM_CIPHERTEXT)
        return self._secret(public, ciphertext), ciphertext

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """Return the secret; any ciphertext of the right length has one, as in ML-KEM."""
        if len(ciphertext) != KEM_CIPHERTEXT:
            raise RemoteError("bad-kem-ciphertext")
        return self._secret(self.kem_public(seed), ciphertext)

    @staticmethod
    def _secret(public: bytes, ciphertext: bytes) -> bytes:
        return blake2b(public + ciphertext, digest_size=32, person=b"stand-in kem").digest()
