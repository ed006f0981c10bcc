"""Inputs whose first byte chooses at which moment the rest of them comes."""

from collections.abc import Iterable


def moments(*of_moment: Iterable[bytes]) -> list[bytes]:
    """Return samples, those of each moment behind a byte that chooses it."""
    return [bytes((number,)) + raw for number, found in enumerate(of_moment) for raw in found]


def chosen(raw: bytes) -> tuple[int, bytes]:
    """Return the moment an input chooses, and what comes then."""
    return (raw[0], raw[1:]) if raw else (0, b"")
