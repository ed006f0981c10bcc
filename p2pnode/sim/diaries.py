"""Who had what when: the model of p2pnode, with all that carriers could write down."""

from random import Random
from typing import Any, NamedTuple

import msgspec

from p2pnode.sim.mobility import Encounter
from p2pnode.sim.model import ANSWERS, Model
from p2pnode.sim.population import Population
from p2pnode.sim.routing import Friends, Item
from p2pnode.sim.scenario import Scenario
from p2pnode.turns.posting import AGES_AT_BIRTH

HOUR = 3_600.0
"""Seconds in an hour: ages are told in whole ones."""

TOKEN_AFTER = (1.0, 12.0)
"""Hours, from and to, after which an author lets its copy end once it knows of the delivery."""

COMPARED_AGAIN = 600.0
"""Seconds at most until two nodes on a standing link compare what they hold again."""


class Sight(NamedTuple):
    """When a node first had something, whom from (itself for its own), and the age in hours it
    was told."""

    time: float
    giver: int
    age: int


class Trail(msgspec.Struct):
    """Where one item was, and when.

    held: each node that offered it to others, with how it came by it. ended: each node that knew
    its token, with when and by whom. counted: since when each node counts the item's age.
    """

    item: Item
    held: dict[int, Sight]
    ended: dict[int, Sight]
    counted: dict[int, float]


class Watched(Model):
    """The model of p2pnode, writing down who had what when; with or without delivered-tokens."""

    def __init__(
        self, scenario: Scenario, people: Population, encounters: list[Encounter], *, tokens: bool
    ) -> None:
        chance = Random(scenario.seed)
        router = Friends(scenario, people, chance)
        super().__init__(scenario, people, encounters, router, chance)
        self.tokens = tokens
        self._told = Random(f"{scenario.seed} ages and tokens")
        self._ended: list[dict[Item, None]] = [{} for _ in range(scenario.nodes)]
        self.trails: dict[int, Trail] = {}

    def _write(self, now: float, item: Item) -> None:
        born = now - self._told.randrange(AGES_AT_BIRTH) * HOUR
        own = Sight(item.ripe, item.author, 0)
        self.trails[item.number] = Trail(item, {item.author: own}, {}, {item.author: born})
        super()._write(now, item)

    def _received(self, now: float, item: Item, giver: int, taker: int) -> None:
        if item in self._seen[taker]:
            return
        super()._received(now, item, giver, taker)
        if item not in self._have[taker] or taker in self._people.droppers:
            return
        trail = self.trails[item.number]
        age = int((now - trail.counted[giver]) / HOUR)
        trail.counted[taker] = now - age * HOUR
        trail.held[taker] = Sight(now, giver, age)
        knows = (
            other
            for other in self._ways[taker]
            if item in self._ended[other] and other in self._people.friends[taker]
        )
        other = next(knows, None) if self.tokens else None
        if other is not None:
            self._end(now, item, other, taker)

    def _handed_over(self, now: float, item: Item) -> None:
        super()._handed_over(now, item)
        if item not in self._have[item.author]:
            self.trails[item.number].held.pop(item.author, None)

    # Tokens ------------------------------------------------------------------------------------

    def _delivered(self, now: float, item: Item, giver: int) -> None:
        super()._delivered(now, item, giver)
        message = item.receipt_for or item
        if self.tokens and message.confirmed == now:
            wait = self._told.uniform(*TOKEN_AFTER) * HOUR
            self._at(now + wait, ANSWERS, message, (message.author, message.author))

    def _answers(self, now: float, item: Item, where: Any) -> None:
        """Write a receipt; or, between the two nodes of `where`, pass the token on."""
        if where is None:
            super()._answers(now, item, None)
            return
        giver, taker = where
        if item in self._have[taker] and (giver == taker or taker in self._ways[giver]):
            self._end(now, item, giver, taker)

    def _up(self, now: float, one: Encounter, _: None) -> None:
        super()._up(now, one, None)
        if one.b not in self._people.friends[one.a]:
            return
        for giver, taker in ((one.a, one.b), (one.b, one.a)):
            held = self._have[taker]
            for item in [item for item in self._ended[giver] if item in held]:
                self._end(now, item, giver, taker)

    def _end(self, now: float, item: Item, giver: int, taker: int) -> None:
        """Let a node that has been shown the token drop the item, and show the token in turn."""
        del self._have[taker][item]
        self._ended[taker][item] = None
        self.trails[item.number].ended[taker] = Sight(now, giver, 0)
        for other in self._ways[taker]:
            if other in self._people.friends[taker] and item in self._have[other]:
                wait = self._told.uniform(0, COMPARED_AGAIN)
                self._at(now + wait, ANSWERS, item, (taker, other))
