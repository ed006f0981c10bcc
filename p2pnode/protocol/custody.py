"""What a node carries for others: policy as pure functions.

Space is charged to the link an envelope came by, never to a claimed author. While there is room
everybody welcome may store. When there is none, strangers make room first, then whoever uses most,
so that a source that floods pushes out its own envelopes and nobody else's (max-min fairness).
"""

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, Literal, TypeVar

import msgspec

T = TypeVar("T", bound=Hashable)

Kind = Literal["own", "contact", "stranger"]
"""Whom an envelope came from: this node itself, a contact's link, or somebody unknown."""

CarryFor = Literal["contacts", "everyone", "nobody"]

SEEN_COST = 160
"""Bytes charged for each envelope besides its own, until its id is forgotten: the rows that stay
when it has gone. Otherwise envelopes that come and go would fill the disk for nothing."""

ROWS_SHARE = 4
"""When room is needed, rows of envelopes that have gone may be one part in this many of what their
source uses; beyond, the oldest are forgotten. Otherwise in a long flood they would take all."""

FORGOTTEN_AT_ONCE = 32
"""Such rows forgotten at once: room for one small envelope."""

STRANGERS_SHARE = 4
"""Strangers get at most one part in this many of the space."""

Origin = Literal["fast", "balanced", "hide"]

FIRST: dict[Origin, tuple[int, int] | None] = {
    "fast": None,
    "balanced": (5, 60),
    "hide": (300, 3_600),
}
"""Seconds, from and to, after which one contact at random gets a fresh envelope of our own, and
carries it on: so whoever else gets it first has it from somebody who did not write it."""

ORIGINS: dict[Origin, tuple[int, int]] = {
    "fast": (0, 3),
    "balanced": (300, 900),
    "hide": (3_600, 3 * 3_600),
}
"""Seconds, from and to, after which a fresh envelope of our own joins those we carry."""

RECEIPTS: dict[Origin, tuple[int, int]] = {
    "fast": (3, 6),
    "balanced": (120, 240),
    "hide": (900, 3600),
}
"""Seconds, from and to, that a receipt waits for the author's own link before it is written for
carriers, together with those that came meanwhile."""


STRANGERS_LATER: dict[Origin, int] = {"fast": 300, "balanced": 3_600, "hide": 6 * 3_600}
"""Seconds an envelope has been here before strangers may get it."""

STRANGERS_SEE = 256
"""Carried envelopes that strangers get to see at one time, wherever they meet this node."""

STRANGERS_EPOCH = 6 * 3_600
"""Seconds after which strangers see others."""

TOKENS = (3_600, 12 * 3_600)
"""Seconds, from and to, after a receipt until its author tells carriers that the envelope has come,
where it does: apart from the receipt, so that the two are not matched."""


class CarryPolicy(msgspec.Struct, frozen=True):
    """limit: bytes kept for others at most. who: whom this node carries for."""

    limit: int
    who: CarryFor = "contacts"


class Usage(msgspec.Struct, frozen=True):
    """Bytes in custody: altogether, of the source at hand, of all strangers, and of the source
    that uses most (with its slot)."""

    total: int
    source: int
    strangers: int
    most: int
    most_slot: bytes


class Candidate(msgspec.Struct, frozen=True):
    """An envelope that could make room: seconds of age, bytes."""

    id: bytes
    age: int
    size: int


class Admit(msgspec.Struct, frozen=True):
    """There is room."""


class Refuse(msgspec.Struct, frozen=True):
    """It is not taken."""


class EvictFrom(msgspec.Struct, frozen=True):
    """There is room once an envelope of this source's slot has gone.

    older: only one that is worth less than the newcomer (its own source pays).
    """

    slot: bytes
    older: bool


Verdict = Admit | Refuse | EvictFrom


def within(policy: CarryPolicy, usage: Usage, room: int) -> CarryPolicy:
    """Return the policy on a disk that has only so many bytes left: own mail must find room there
    too, so what is carried may use no more than is there and this."""
    limit = min(policy.limit, usage.total + max(0, room))
    return msgspec.structs.replace(policy, limit=limit)


def judge(
    policy: CarryPolicy, usage: Usage, kind: Kind, slot: bytes, strangers: bytes, size: int
) -> Verdict:
    """Say whether an envelope of `size` bytes may be stored, or who makes room for it.

    slot: of the envelope's source. strangers: the slot all strangers share.
    """
    need = size + SEEN_COST
    if kind == "stranger" and policy.who != "everyone":
        return Refuse()
    if (kind == "contact" and policy.who == "nobody") or need > policy.limit:
        return Refuse()
    if kind == "stranger":
        share = policy.limit // STRANGERS_SHARE
        if usage.strangers + need <= share and usage.total + need <= policy.limit:
            return Admit()
        return EvictFrom(strangers, older=True) if usage.strangers else Refuse()
    if usage.total + need <= policy.limit:
        return Admit()
    if usage.strangers:
        return EvictFrom(strangers, older=False)
    if usage.source + need > usage.most:
        return EvictFrom(slot, older=True) if usage.source else Refuse()
    return EvictFrom(usage.most_slot, older=False)


def forgets(rows: int, used: int) -> bool:
    """Tell whether a source that uses so many bytes has too many rows of what has gone."""
    return rows * SEEN_COST * ROWS_SHARE > used


def weight(age: int, size: int) -> int:
    """Return how ready an envelope is to go: seconds of age times bytes."""
    return age * size


def victim(found: Iterable[Candidate], *, age: int, size: int, older: bool) -> Candidate | None:
    """Return which of a source's envelopes goes for a newcomer of this age and size; None when
    each is worth as much."""
    worst = max(found, key=lambda one: (weight(one.age, one.size), one.id), default=None)
    if worst is None or (older and weight(worst.age, worst.size) <= weight(age, size)):
        return None
    return worst


class Waiting(Generic[T]):
    """Envelopes (by id) that wait to be offered on one link, taken in turn from all sources.

    Within a source they keep their order: a recipient keeps only so many keys for what it has not
    seen. A source that floods waits for itself, and strangers' envelopes wait for everybody's.
    """

    def __init__(self, strangers: bytes, limit: int) -> None:
        self._strangers = strangers
        self._limit = limit
        self._ids: set[T] = set()
        self._by_source: dict[bytes, deque[T]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, envelope: T, source: bytes) -> None:
        """Let an envelope wait; again is harmless. At the limit the source that has most waiting
        loses its newest: the next reconciliation finds it."""
        if envelope in self._ids:
            return
        if len(self._ids) >= self._limit:
            longest = max(self._by_source.values(), key=len)
            if len(self._by_source.get(source, ())) >= len(longest):
                return
            self._ids.discard(longest.pop())
        self._ids.add(envelope)
        self._by_source.setdefault(source, deque()).append(envelope)

    def take(self, count: int) -> list[T]:
        """Take up to `count` off, one of each source after the other."""
        found: list[T] = []
        while self._ids and len(found) < count:
            known = [source for source in self._by_source if source != self._strangers]
            for source in known or [self._strangers]:
                if len(found) == count:
                    break
                queue = self._by_source.pop(source)
                one = queue.popleft()
                self._ids.discard(one)
                found.append(one)
                if queue:  # goes to the back of the line
                    self._by_source[source] = queue
        return found
