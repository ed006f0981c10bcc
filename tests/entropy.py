"""Reproducible entropy for tests: the simulator's, and the same with the real KEM."""

from p2pnode.engine.entropy import OsEntropy
from p2pnode.sim.entropy import SeededEntropy

__all__ = ["RealKemEntropy", "SeededEntropy"]


class RealKemEntropy(OsEntropy):
    """Bytes from a seed, with the real ML-KEM-768; its encapsulations draw from the system."""

    def __init__(self, seed: int) -> None:
        self._seeded = SeededEntropy(seed)

    def take(self, n: int) -> bytes:
        """Return the next n bytes."""
        return self._seeded.take(n)
