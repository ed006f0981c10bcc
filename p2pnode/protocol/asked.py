"""What was asked for lately, so that two peers that offer the same envelope do not both send it."""

from collections.abc import Iterable

from p2pnode.ids import EnvelopeId

REFUSED_ASKED = 3
"""Refusal code: another link is bringing the envelope just now."""

PATIENCE = 10
"""Seconds in which what was asked of one peer is not asked of another."""

KEPT = 65_536
"""Ids remembered at most: 128 of the largest offers."""


class Asked:
    """Remembers on which link ids were asked for. Times are seconds of a clock that never goes
    back."""

    def __init__(self) -> None:
        self._asked: dict[EnvelopeId, tuple[int, float]] = {}

    def fresh(self, ids: Iterable[EnvelopeId], link: int, now: float) -> tuple[EnvelopeId, ...]:
        """Return those of the ids that no other link is bringing; this one is from now on."""
        found = []
        for one in ids:
            by, until = self._asked.pop(one, (link, now))
            if by != link and until > now:
                self._asked[one] = by, until
                continue
            self._asked[one] = link, now + PATIENCE
            found.append(one)
        while len(self._asked) > KEPT:
            del self._asked[next(iter(self._asked))]
        return tuple(found)

    def forget(self, link: int) -> None:
        """A link has ended: what it was to bring may be asked of others at once."""
        for one in [one for one, (by, _) in self._asked.items() if by == link]:
            del self._asked[one]
