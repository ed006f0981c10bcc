"""Reproducible entropy for tests: the simulator's, and the same with the real KEM."""

from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)

from p2pnode.errors import RemoteError
from p2pnode.sim.entropy import SeededEntropy

__all__ = ["RealKemEntropy", "SeededEntropy"]


class RealKemEntropy(SeededEntropy):
    """The same, with the real ML-KEM-768; its encapsulations draw from the operating system."""

    def kem_public(self, seed: bytes) -> bytes:
        """Return the ML-KEM-768 public key of a 64-byte seed."""
        return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Return a fresh secret and ciphertext."""
        try:
            return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError:
            raise RemoteError("bad-kem-key") from None

    def check_kem(self, public: bytes) -> None:
        """Refuse what is no ML-KEM-768 public key."""
        try:
            MLKEM768PublicKey.from_public_bytes(public)
        except ValueError:
            raise RemoteError("bad-kem-key") from None

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """Return the secret of a ciphertext."""
        try:
            return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
        except ValueError:
            raise RemoteError("bad-kem-ciphertext") from None
