"""Where randomness enters the core: as an argument."""

from typing import Protocol


class Entropy(Protocol):
    """A source of randomness and the one KEM whose encapsulation draws randomness by itself.

    The engine's implementation uses the operating system and ML-KEM-768 (FIPS 203). Tests record
    or replay one; the simulator declares a stand-in of the same sizes (decision 0001), so the
    public key, encapsulation and decapsulation go through the same object.
    """

    def take(self, n: int) -> bytes:
        """Return n unpredictable bytes."""
        ...

    def kem_public(self, seed: bytes) -> bytes:
        """Return the 1,184-byte public key that belongs to a 64-byte seed."""
        ...

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Return (32-byte secret, 1,088-byte ciphertext). Raises RemoteError for a bad key."""
        ...

    def check_kem(self, public: bytes) -> None:
        """Draw nothing. Raises RemoteError when nobody could encapsulate to this public key."""
        ...

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """Return the 32-byte secret (a pseudorandom one for a forged ciphertext).

        Raises RemoteError when the ciphertext has the wrong length.
        """
        ...
