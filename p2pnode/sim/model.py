"""A run of the model: encounters, links with bandwidth, and items that are passed on over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from p2pnode.protocol.custody import RECEIPTS, Waiting
from p2pnode.protocol.limits import LIFETIMES
from p2pnode.protocol.link.work import BOUGHT, MAX_PROOFS
from p2pnode.sim.mobility import Encounter
from p2pnode.sim.population import Message, Population
from p2pnode.sim.routing import SIZE, STRANGERS, Item, Router
from p2pnode.sim.scenario import Scenario

GATHER = 0.3
"""Seconds a fresh item waits on a link, as in the engine."""

MOST = 65_536
"""Items that wait on one direction of a link at most, as in the engine."""

WORK_SECONDS = 3.0
"""Seconds a proof of work takes: more than on a laptop, less than on a small board."""

UP, DOWN, WRITTEN, FIRST, SPREADS, ARRIVES, ANSWERS, FLOOD = range(8)
"""Kinds of events, in the order in which those of one moment happen."""

Event = tuple[float, int, int, Any, Any]


@dataclass(eq=False, slots=True)
class Way:
    """One direction of a link: what waits to go, and whether something is on it.

    first: what goes before all that waits. strange: the two do not know each other; paid: how many
    items have gone for work.
    """

    giver: int
    taker: int
    end: float
    bandwidth: float
    strange: bool = False
    first: list[Item] = field(default_factory=list)
    waiting: Waiting[Item] = field(default_factory=lambda: Waiting(STRANGERS, MOST))
    paid: int = 0
    busy: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of a run's messages."""

    messages: list[Item]
    transfers: int = 0
    """Items that crossed a link, receipts and junk included."""
    peak: int = 0
    """Most items of others that one node held at once."""


class Model:
    """One router among the people of a scenario."""

    def __init__(
        self,
        scenario: Scenario,
        people: Population,
        encounters: list[Encounter],
        router: Router,
        random: Random,
    ) -> None:
        self._scenario = scenario
        self._people = people
        self._router = router
        self._random = random
        self._numbers = count()
        self._order = count()
        self._have: list[dict[Item, None]] = [{} for _ in range(scenario.nodes)]
        self._seen: list[set[Item]] = [set() for _ in range(scenario.nodes)]
        self._wait: list[dict[Item, None]] = [{} for _ in range(scenario.nodes)]
        self._ways: list[dict[int, Way]] = [{} for _ in range(scenario.nodes)]
        self._events: list[Event] = []
        self._life = LIFETIMES[scenario.traffic.lifetime]
        self.outcome = Outcome([])
        for one in encounters:
            self._at(one.start, UP, one, None)
        for message in people.messages:
            self._at(message.at, WRITTEN, message, None)
        rate = scenario.faults.flood_per_hour
        for node in sorted(people.flooders) if router.receipts and rate else ():
            self._at(random.uniform(0, 3600 / rate), FLOOD, node, rate)
        strange = scenario.faults.hostile_per_hour
        for node in sorted(people.hostile) if router.receipts and strange else ():
            self._at(random.uniform(0, 3600 / strange), FLOOD, node, strange)

    def _at(self, time: float, kind: int, what: Any, where: Any) -> None:
        heappush(self._events, (time, kind, next(self._order), what, where))

    def run(self) -> Outcome:
        """Let everything happen, and return what became of the messages."""
        handle: dict[int, Callable[[float, Any, Any], None]] = {
            UP: self._up,
            DOWN: self._down,
            WRITTEN: self._written,
            FIRST: self._first,
            SPREADS: self._spreads,
            ARRIVES: self._arrives,
            ANSWERS: self._answers,
            FLOOD: self._flood,
        }
        end = self._scenario.seconds
        while self._events:
            time, kind, _, what, where = heappop(self._events)
            if time > end:
                break
            handle[kind](time, what, where)
        return self.outcome

    # Events ------------------------------------------------------------------------------------

    def _up(self, now: float, one: Encounter, _: None) -> None:
        bandwidth = one.bandwidth or self._scenario.link.bandwidth
        for giver, taker in ((one.a, one.b), (one.b, one.a)):
            strange = taker not in self._people.friends[giver]
            way = Way(giver, taker, one.end, bandwidth, strange)
            self._ways[giver][taker] = way
            for item in list(self._wait[giver]):
                self._first(now, item, [taker])
            if taker in self._people.hostile:
                continue  # it would drop everything
            seen = self._seen[taker]
            lacks = [item for item in self._have[giver] if item not in seen]
            self._random.shuffle(lacks)
            for item in lacks:
                self._wait_for(way, item)
            self._go_on(way, now)
        self._at(one.end, DOWN, one, None)

    def _down(self, now: float, one: Encounter, _: None) -> None:
        for giver, taker in ((one.a, one.b), (one.b, one.a)):
            way = self._ways[giver].get(taker)
            if way is not None and way.end <= now:
                del self._ways[giver][taker]

    def _written(self, now: float, message: Message, _: None) -> None:
        item = self._item(now, message.author, message.recipient)
        self.outcome.messages.append(item)
        self._write(now, item)

    def _item(
        self, now: float, author: int, recipient: int, receipt_for: Item | None = None
    ) -> Item:
        ripe = now + self._router.delay()
        number, dies = next(self._numbers), now + self._life
        return Item(number, now, ripe, dies, author, recipient, receipt_for)

    def _write(self, now: float, item: Item) -> None:
        self._seen[item.author].add(item)
        self._have[item.author][item] = None
        direct = self._ways[item.author].get(item.recipient)
        if direct is not None:
            direct.first.append(item)
            self._go_on(direct, now)
        first = self._router.first()
        if first is not None:
            self._at(item.born + first, FIRST, item, None)
        self._at(item.ripe, SPREADS, item, None)

    def _first(self, now: float, item: Item, among: Sequence[int] | None) -> None:
        """Give an item to one carrier, at random among those who are here; else to the next."""
        waiting = self._wait[item.author]
        waiting.pop(item, None)
        if now >= item.ripe or item.delivered >= 0:
            return
        here = self._ways[item.author] if among is None else among
        able = [
            other
            for other in here
            if other != item.recipient and self._router.gives(item, item.author, other)
        ]
        if not able:
            waiting[item] = None
            return
        item.one, item.given = self._random.choice(able), now
        way = self._ways[item.author][item.one]
        way.first.append(item)
        self._go_on(way, now)

    def _spreads(self, now: float, item: Item, _: None) -> None:
        self._wait[item.author].pop(item, None)
        if item.delivered < 0:
            self._offer(now, item, item.author, item.recipient)

    def _arrives(self, now: float, item: Item, way: Way) -> None:
        way.busy = False
        self._received(now, item, way.giver, way.taker)
        self._go_on(way, now)

    def _answers(self, now: float, item: Item, _: None) -> None:
        self._write(now, self._item(now, item.recipient, item.author, item))

    def _flood(self, now: float, node: int, rate: float) -> None:
        item = self._item(now, node, -1)
        item.ripe = now  # no patience
        self._write(now, item)
        self._at(now + 3600 / rate, FLOOD, node, rate)

    # Passing on --------------------------------------------------------------------------------

    def _received(self, now: float, item: Item, giver: int, taker: int) -> None:
        if item in self._seen[taker]:
            return
        self.outcome.transfers += 1
        self._router.given(item, giver, taker)
        if self._router.receipts and giver == item.author and taker == item.recipient:
            self._handed_over(now, item)
            return
        self._seen[taker].add(item)
        if taker == item.recipient and item.delivered < 0:
            self._delivered(now, item, giver)
        kept, gone = self._router.takes(item, giver, taker, now)
        for one in gone:
            self._have[taker].pop(one, None)
        if kept:
            self._have[taker][item] = None
            self.outcome.peak = max(self.outcome.peak, len(self._have[taker]))
            self._offer(now + GATHER, item, taker, giver)

    def _handed_over(self, now: float, item: Item) -> None:
        """The author's own link brought it: the recipient does not carry it on, unless a carrier
        brings it as well; and where no carrier has it yet, none will."""
        if item.delivered < 0:
            self._delivered(now, item, item.author)
        if now < item.ripe and item.one < 0:
            self._have[item.author].pop(item, None)

    def _delivered(self, now: float, item: Item, giver: int) -> None:
        item.delivered = now
        message = item.receipt_for
        if message is not None:
            message.confirmed = now if message.confirmed < 0 else message.confirmed
        elif giver == item.author:
            item.confirmed = now
        elif self._router.receipts:
            wait = self._random.uniform(*RECEIPTS[self._scenario.privacy.origin])
            self._at(now + wait, ANSWERS, item, None)

    def _offer(self, now: float, item: Item, node: int, but: int) -> None:
        for other, way in self._ways[node].items():
            if other in self._people.hostile:
                continue
            if other != but and item not in self._seen[other]:
                self._wait_for(way, item)
                self._go_on(way, now)

    def _wait_for(self, way: Way, item: Item) -> None:
        """Let an item wait: own mail for who is there goes first, the rest in turn by source."""
        if item.recipient == way.taker and item.author == way.giver:
            way.first.append(item)
        else:
            way.waiting.add(item, self._router.source(item, way.giver))

    def _next(self, way: Way) -> Item | None:
        if way.first:
            return way.first.pop(0)
        found = way.waiting.take(1)
        return found[0] if found else None

    def _go_on(self, way: Way, now: float) -> None:
        """Put the next thing on a free direction of a link."""
        seen, have = self._seen[way.taker], self._have[way.giver]
        while not way.busy and (item := self._next(way)) is not None:
            if item in seen or item not in have or item.dies <= now:
                continue
            if item.author == way.giver:
                if item.recipient == way.taker and item.delivered >= 0:
                    continue  # it is not told twice by its author
                if now < item.ripe and way.taker not in (item.recipient, item.one):
                    continue
            if not self._router.gives(item, way.giver, way.taker):
                continue
            takes = SIZE / way.bandwidth if self._router.limited else 0.0
            if way.strange and self._router.receipts:
                if way.paid >= BOUGHT * MAX_PROOFS:
                    return
                takes += 0.0 if way.paid % BOUGHT else WORK_SECONDS
                way.paid += 1
            if now + takes > way.end:
                return
            way.busy = True
            self._at(now + takes, ARRIVES, item, way)
