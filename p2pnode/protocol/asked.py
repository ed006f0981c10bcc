"""What was asked for lately, so that two peers that offer the same envelope do not both send it."""

from collections.abc import Iterable

from p2pnode.ids import EnvelopeId

PATIENCE = 10
"""Seconds in which what was asked of one peer is not asked of another."""

KEPT = 65_536
"""Ids remembered at most; 256 of the largest offers."""


class Asked:
    """Remembers asked ids for a while. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._until: dict[EnvelopeId, float] = {}

    def fresh(self, ids: Iterable[EnvelopeId], now: float) -> tuple[EnvelopeId, ...]:
        """Return those of the ids that are not asked for already; they are from now on."""
        found = tuple(one for one in ids if self._until.get(one, now) <= now)
        for one in found:
            self._until.pop(one, None)  # it moves to the end: the oldest stay first
            self._until[one] = now + PATIENCE
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) <= KEPT and self._until[oldest] > now:
                break
            del self._until[oldest]
        return found
