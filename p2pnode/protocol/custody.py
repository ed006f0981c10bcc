"""What a node carries for others: policy as pure functions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CarryPolicy:
    """limit: bytes of envelopes kept for others; 0 means none."""

    limit: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes in custody: altogether, and from the source at hand."""

    total: int
    source: int


def admits(policy: CarryPolicy, usage: Usage, size: int) -> bool:
    """Tell whether an envelope of `size` bytes from a contact's link may be stored.

    One source gets at most half of the space, so that no single contact can crowd out the others.
    """
    return usage.total + size <= policy.limit and usage.source + size <= policy.limit // 2
