"""The operating system's entropy and the real ML-KEM: the only place both are called."""

import os

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from p2pnode.errors import RemoteError


class OsEntropy:
    """`protocol.entropy.Entropy` from the operating system, with ML-KEM-768 (FIPS 203)."""

    def take(self, n: int) -> bytes:
        """Return n unpredictable bytes."""
        return os.urandom(n)

    def kem_public(self, seed: bytes) -> bytes:
        """Return the 1,184-byte public key that belongs to a 64-byte seed (d ‖ z)."""
        return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Return (32-byte secret, 1,088-byte ciphertext). Raises RemoteError for a bad key."""
        try:
            return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError:
            raise RemoteError("bad-kem-key") from None

    def check_kem(self, public: bytes) -> None:
        """Draw nothing. Raises RemoteError for a bad key (FIPS 203, 7.2: length and range)."""
        try:
            MLKEM768PublicKey.from_public_bytes(public)
        except ValueError:
            raise RemoteError("bad-kem-key") from None

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """Return the 32-byte secret (a pseudorandom one for a forged ciphertext).

        Raises RemoteError when the ciphertext has the wrong length.
        """
        try:
            return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
        except ValueError:
            raise RemoteError("bad-kem-ciphertext") from None
