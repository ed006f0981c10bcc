"""The ways of passing messages on that a run compares, as rules over a model of a node.

`p2pnode` here is a stand-in without cryptography and databases: the same policy functions decide
(`p2pnode.protocol.custody`), with envelopes as numbers of the same size.
"""

from dataclasses import dataclass
from math import inf
from random import Random

from p2pnode.protocol.custody import (
    FIRST,
    ORIGINS,
    SEEN_COST,
    Admit,
    Candidate,
    CarryPolicy,
    EvictFrom,
    Kind,
    Usage,
    judge,
    victim,
)
from p2pnode.sim.population import Population
from p2pnode.sim.scenario import Scenario

SIZE = 4_096
"""Bytes of an envelope."""

STRANGERS, OWN = b"strangers", b"own"
LOOKED_AT = 32
"""Items that make room for one at most, and of a source that are looked at for that."""


@dataclass(eq=False, slots=True)
class Item:
    """Something that travels: a message, a receipt for one, or junk (recipient -1).

    ripe: from when on its author gives it to everybody, not to its recipient alone, or to the one
    that carries it first (`one`, since `given`).
    """

    number: int
    born: float
    ripe: float
    dies: float
    author: int
    recipient: int
    receipt_for: "Item | None" = None
    delivered: float = -1.0
    confirmed: float = -1.0
    one: int = -1
    given: float = inf


class Router:
    """Epidemic routing: everything to everybody, without limits. The others restrict it."""

    name = "epidemic"
    limited = False
    """Whether links have their bandwidth; without, they carry anything at once."""
    receipts = False
    """Whether recipients answer."""

    def __init__(self, scenario: Scenario, people: Population, random: Random) -> None:
        self.scenario = scenario
        self.people = people
        self.random = random

    def delay(self) -> float:
        """Return how long after it was written a message may go to everybody."""
        return 0.0

    def first(self) -> float | None:
        """Return how long after it was written one carrier may have it; None for all at once."""
        return None

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Tell whether a node passes an item on to another that lacks it."""
        return giver not in self.people.droppers and giver not in self.people.hostile

    def takes(self, item: Item, giver: int, taker: int, now: float) -> tuple[bool, list[Item]]:
        """Tell whether a node keeps an item for others, and which ones make room for it."""
        return True, []

    def source(self, item: Item, node: int) -> bytes:
        """Return whom a node has an item from, where that matters for its turn."""
        return b""

    def given(self, item: Item, giver: int, taker: int) -> None:
        """Note that an item was passed on."""


class Reach(Router):
    """Where contacts carry and nothing is scarce: what friends alone could deliver at best."""

    name = "friends-at-best"

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Pass everything on to contacts."""
        return giver not in self.people.droppers and taker in self.people.friends[giver]


class Epidemic(Router):
    """Epidemic routing over the links as they are, with room for everything."""

    name = "epidemic-on-these-links"
    limited = True


class Direct(Router):
    """Only the author hands over, and only to the recipient."""

    name = "direct"
    limited = True

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Hand over to the recipient."""
        return taker == item.recipient and giver == item.author


class Spray(Router):
    """Binary spray and wait: half of one's copies to whomever one meets; the last one waits."""

    name = "spray-and-wait"
    limited = True

    def __init__(self, scenario: Scenario, people: Population, random: Random) -> None:
        super().__init__(scenario, people, random)
        self._copies: dict[tuple[int, int], int] = {}

    def _left(self, item: Item, node: int) -> int:
        first = self.scenario.copies if node == item.author else 0
        return self._copies.get((item.number, node), first)

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Spray while there is more than one copy; then wait for the recipient."""
        dropper = giver in self.people.droppers or giver in self.people.hostile
        if dropper and giver != item.author:
            return False
        return taker == item.recipient or self._left(item, giver) > 1

    def given(self, item: Item, giver: int, taker: int) -> None:
        """Split the copies."""
        left = self._left(item, giver)
        self._copies[item.number, giver] = left - left // 2
        self._copies[item.number, taker] = left // 2


class Friends(Router):
    """p2pnode: contacts carry within quotas, authors wait before others get copies."""

    name = "p2pnode"
    limited = True
    receipts = True

    def __init__(self, scenario: Scenario, people: Population, random: Random) -> None:
        super().__init__(scenario, people, random)
        limit = int(scenario.carry.max_mb * 1_000_000)
        self._policy = CarryPolicy(limit, scenario.carry.for_)
        self._held: list[dict[bytes, dict[int, Item]]] = [{} for _ in range(scenario.nodes)]
        self._total = [0] * scenario.nodes
        self._source: list[dict[int, bytes]] = [{} for _ in range(scenario.nodes)]

    def source(self, item: Item, node: int) -> bytes:
        """Return the slot an item is charged to; an author's own are one source, too."""
        return self._source[node].get(item.number, OWN)

    def delay(self) -> float:
        """Return the origin's delay."""
        return self.random.uniform(*ORIGINS[self.scenario.privacy.origin])

    def first(self) -> float | None:
        """Return when one carrier may have a message."""
        span = FIRST[self.scenario.privacy.origin]
        return None if span is None else self.random.uniform(*span)

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Pass on to contacts; to strangers where everybody carries for everyone."""
        if giver in self.people.droppers and giver != item.author:
            return False
        if taker in self.people.hostile:
            return False  # whatever they get they drop
        if giver in self.people.hostile:
            return item.author == giver and self._policy.who == "everyone"
        return taker in self.people.friends[giver] or self._policy.who == "everyone"

    def takes(self, item: Item, giver: int, taker: int, now: float) -> tuple[bool, list[Item]]:
        """Let the policy decide; `used` counts an id as long as its envelope is held."""
        held = self._held[taker]
        gone: list[Item] = []
        known = giver in self.people.friends[taker]
        kind: Kind = "contact" if known else "stranger"
        slot = b"%d" % giver if known else STRANGERS
        if giver == taker:
            kind, slot = "own", OWN
        for _ in range(LOOKED_AT):
            verdict = judge(self._policy, self._usage(taker, slot), kind, slot, STRANGERS, SIZE)
            if isinstance(verdict, Admit):
                held.setdefault(slot, {})[item.number] = item
                self._source[taker][item.number] = slot
                self._total[taker] += SIZE + SEEN_COST
                return True, gone
            if not isinstance(verdict, EvictFrom):
                break
            found = list(held.get(verdict.slot, {}).values())[:LOOKED_AT]
            aged = [Candidate(b"%d" % one.number, int(now - one.born), SIZE) for one in found]
            worst = victim(aged, age=int(now - item.born), size=SIZE, older=verdict.older)
            if worst is None:
                break
            gone.append(held[verdict.slot].pop(int(worst.id)))
            self._source[taker].pop(int(worst.id), None)
            self._total[taker] -= SIZE + SEEN_COST
        return False, gone

    def _usage(self, node: int, slot: bytes) -> Usage:
        total, held = self._total[node], self._held[node]
        if total + SIZE + SEEN_COST <= self._policy.limit and slot != STRANGERS:
            return Usage(total, 0, 0, 0, b"")
        each = SIZE + SEEN_COST
        known = {one: len(items) * each for one, items in held.items() if one != STRANGERS}
        most = max(known, key=lambda one: known[one], default=b"")
        strangers = len(held.get(STRANGERS, ())) * each
        return Usage(total, len(held.get(slot, ())) * each, strangers, known.get(most, 0), most)


COMPARED: tuple[type[Router], ...] = (Friends, Reach, Router, Epidemic, Spray, Direct)
