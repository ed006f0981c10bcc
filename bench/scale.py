"""Load by population: the model at growing populations, laws fitted to it, and settings.

`python -m bench.scale` takes some ten minutes and 2 GB on one processor,
`python -m bench.scale quick` one minute.
docs/scale.md says what follows from the figures.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from heapq import heappop, heappush
from itertools import count
from math import exp, log, sqrt
from random import Random
from statistics import fmean, linear_regression
from typing import Any

from msgspec.structs import replace

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.custody import SEEN_COST, Admit, CarryPolicy, EvictFrom, judge, victim
from p2pnode.protocol.limits import LIFETIMES
from p2pnode.sim import routing
from p2pnode.sim.mobility import Movement, movement
from p2pnode.sim.model import Model
from p2pnode.sim.population import Population, populate, usable
from p2pnode.sim.report import simulate
from p2pnode.sim.routing import LOOKED_AT, SIZE, Direct, Item, Reach, Router, Spray
from p2pnode.sim.scenario import (
    CarrySettings,
    Friends,
    LinkSettings,
    Mobility,
    Scenario,
    Traffic,
)
from p2pnode.store.custody import Custody

DENSITY = 100
"""People that run p2pnode on a square kilometre."""

PLACE = 20
"""People to each place around which they stay."""

EACH_DAY = 2.0
"""Messages a person writes a day."""

DAYS = 3.0
"""A run: messages on the first day, two more for the last ones to arrive."""

SOON = 48.0
"""Hours within which a message must have come to count as delivered; every one has as many."""

TOLD = 10_000, 100_000, 1_000_000, 10_000_000
"""Populations the laws are carried on to: a district, a city, a large city, a country."""

QUOTA = 200_000_000
"""Bytes that custody may fill by default."""

ON_LINKS = 1.5
"""Bytes on a link for each byte of envelopes: frames, offers, reconciliation. Real nodes of the
scenarios two-offices and village-bus sent 1.25 and 1.57."""

SAMPLE = 400
"""Messages where nothing is scarce, so that their number changes no delay and no copies."""

Way = Callable[[Scenario, Population, Random], Router]


class Flood(routing.Friends):
    """p2pnode's way, counting by node: what it sent, and what it holds that is not over yet."""

    def __init__(self, scenario: Scenario, people: Population, random: Random) -> None:
        super().__init__(scenario, people, random)
        self.sent = [0] * scenario.nodes
        self.most = 0
        self._alive: list[set[int]] = [set() for _ in range(scenario.nodes)]
        self._dying: list[list[tuple[float, int]]] = [[] for _ in range(scenario.nodes)]

    def given(self, item: Item, giver: int, taker: int) -> None:
        """Count it."""
        self.sent[giver] += 1

    def takes(self, item: Item, giver: int, taker: int, now: float) -> tuple[bool, list[Item]]:
        """Let the policy decide, and count what is held."""
        kept, gone = super().takes(item, giver, taker, now)
        alive = self._alive[taker]
        alive.difference_update(one.number for one in gone)
        if kept:
            alive.add(item.number)
            heappush(self._dying[taker], (item.dies, item.number))
            self.most = max(self.most, self.held(taker, now))
        return kept, gone

    def held(self, node: int, now: float) -> int:
        """Return how many envelopes a node carries for others."""
        alive, dying = self._alive[node], self._dying[node]
        while dying and dying[0][0] <= now:
            alive.discard(heappop(dying)[1])
        return len(alive)


class Budget(Flood):
    """Stand-in: as many copies as `copies`, halved at each giving, among friends; the last one goes
    to the recipient alone."""

    def __init__(self, scenario: Scenario, people: Population, random: Random) -> None:
        super().__init__(scenario, people, random)
        self._copies: dict[tuple[int, int], int] = {}

    def _left(self, item: Item, node: int) -> int:
        first = self.scenario.copies if node == item.author else 0
        return self._copies.get((item.number, node), first)

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Give while there is more than one copy."""
        more = taker == item.recipient or self._left(item, giver) > 1
        return more and super().gives(item, giver, taker)

    def given(self, item: Item, giver: int, taker: int) -> None:
        """Split the copies."""
        super().given(item, giver, taker)
        left = self._left(item, giver)
        self._copies[item.number, giver] = left - left // 2
        self._copies[item.number, taker] = left // 2


class Hops(Flood):
    """Stand-in: at most `limit` carriers one after another."""

    def __init__(
        self, scenario: Scenario, people: Population, random: Random, *, limit: int
    ) -> None:
        super().__init__(scenario, people, random)
        self._limit = limit
        self._away: dict[tuple[int, int], int] = {}

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Give to the recipient, and to others while the item has not come too far."""
        near = taker == item.recipient or self._away.get((item.number, giver), 0) < self._limit
        return near and super().gives(item, giver, taker)

    def given(self, item: Item, giver: int, taker: int) -> None:
        """Count the hop."""
        super().given(item, giver, taker)
        self._away[item.number, taker] = self._away.get((item.number, giver), 0) + 1


class Region(Flood):
    """Stand-in that knows what no carrier of p2pnode may know: only people of the author's place
    and of the recipient's carry."""

    def gives(self, item: Item, giver: int, taker: int) -> bool:
        """Give to friends of either place."""
        places = self.scenario.mobility.places
        ends = (item.author % places, item.recipient % places)
        return taker % places in ends and super().gives(item, giver, taker)


def town(nodes: int, seed: int = 1, **other: Any) -> Scenario:
    """Return people at a constant density, with as many friends and messages each as anywhere."""
    side = 1_000 * sqrt(nodes / DENSITY)
    plain = Scenario(
        title=f"{nodes} people",
        nodes=nodes,
        seed=seed,
        days=DAYS,
        mobility=Mobility(
            kind="community",
            area=(side, side),
            range=40,
            places=max(1, nodes // PLACE),
            radius=120,
            roaming=0.15,
        ),
        friends=Friends(each=8),
        traffic=Traffic(messages=round(EACH_DAY * nodes), to_hour=24),
        carry=CarrySettings(max_mb=200),
    )
    return replace(plain, **other)


def sampled(nodes: int, seed: int = 1, **other: Any) -> Scenario:
    """Return a town in which few write."""
    few = Traffic(messages=min(SAMPLE, round(EACH_DAY * nodes)), to_hour=24)
    return town(nodes, seed, traffic=few, **other)


@lru_cache(maxsize=1)
def _moved(nodes: int, seed: int, days: float) -> Movement:
    return movement(town(nodes, seed, days=days), Random(seed))


def run(scenario: Scenario, way: Way, *, strangers: bool = False) -> dict[str, float]:
    """Return the figures of one run.

    strangers: whether people who do not know each other give each other anything. Where they do
    not, their encounters are left out, which changes nothing but the time it takes.
    """
    moved = _moved(scenario.nodes, scenario.seed, scenario.days)
    random = Random(scenario.seed + 1_000)
    people = populate(scenario, moved.places, random)
    known = [one for one in moved.encounters if one.b in people.friends[one.a]]
    met = usable(scenario, moved.encounters if strangers else known, people, random)
    began = time.process_time()
    router = way(scenario, people, random)
    done = Model(scenario, people, met, router, random).run()
    hours = sorted((one.delivered - one.born) / 3600 for one in done.messages if one.delivered >= 0)
    last = scenario.seconds - SOON * 3600
    timely = [one for one in done.messages if one.born <= last]
    soon = sum(0 <= one.delivered - one.born <= SOON * 3600 for one in timely)
    node_days = scenario.nodes * scenario.days
    figures = {
        "delivered_in_2_days": soon / max(1, len(timely)),
        "p50_h": _at(hours, 0.5),
        "p95_h": _at(hours, 0.95),
        "copies": done.transfers / len(done.messages),
        "encounters_a_day": 2 * len(moved.encounters) / node_days,
        "encounters_with_friends_a_day": 2 * len(known) / node_days,
        "hours_near_friends_a_day": 2
        * sum(one.end - one.start for one in known)
        / 3600
        / node_days,
        "seconds_taken": time.process_time() - began,
    }
    if isinstance(router, Flood):
        ends = [router.held(node, scenario.seconds) for node in range(scenario.nodes)]
        figures |= {
            "envelopes_a_message": done.transfers / len(done.messages) / (scenario.nodes - 1),
            "sent_mb_a_node": done.transfers * SIZE / 1e6 / scenario.nodes,
            "busiest_times_mean": max(router.sent) * scenario.nodes / max(1, sum(router.sent)),
            "peak_mb": router.most * SIZE / 1e6,
            "held_at_end": fmean(ends),
        }
    return figures


def _at(ordered: Sequence[float], share: float) -> float:
    """Return a quantile; of nothing, infinity."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def mean(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the means of some runs, and how far apart their slow delays are."""
    found = list(runs)
    figures = {name: fmean(one[name] for one in found) for name in found[0]}
    slow = [one["p95_h"] for one in found]
    return figures | {"seeds": len(found), "p95_h_least": min(slow), "p95_h_most": max(slow)}


def law(points: dict[int, dict[str, float]], name: str) -> dict[str, float]:
    """Fit figure = factor · population^power by least squares on logarithms.

    last_power: between the two greatest populations alone.
    """
    ordered = sorted(points)
    x = [log(nodes) for nodes in ordered]
    y = [log(points[nodes][name]) for nodes in ordered]
    fitted = linear_regression(x, y)
    return {
        "factor": exp(fitted.intercept),
        "power": fitted.slope,
        "last_power": (y[-1] - y[-2]) / (x[-1] - x[-2]),
        "worst_miss": max(
            abs(exp(fitted.intercept + fitted.slope * a - b) - 1) for a, b in zip(x, y, strict=True)
        ),
    }


def carried_on(found: dict[str, float], population: float) -> float:
    """Return what a law says of a population."""
    return float(found["factor"] * population ** found["power"])


def breaks(
    each_day: float, envelopes: float, laws: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Return at which population p2pnode's defaults fail, by what fails.

    each_day: messages a person. envelopes: of every message, its receipt counted by its share.
    Messages live for 14 days and receipts for 7, and each row is charged for twice as long.
    """
    message, receipt = (LIFETIMES[number] / 86_400 for number in (3, 2))
    lived = message + (envelopes - 1) * receipt
    rows = 2 * SEEN_COST * lived

    def kept(nodes: float) -> float:
        return 24 * (QUOTA / (nodes * each_day) - rows) / (SIZE * envelopes)

    def first(fails: Callable[[float], bool]) -> float:
        return next(nodes for nodes in (10 * 1.01**step for step in count()) if fails(nodes))

    def told(nodes: float, name: str) -> float:
        return carried_on(laws[name], nodes)

    found = {
        "quota_full": QUOTA / (each_day * (SIZE * lived + rows)),
        "kept_less_than_the_slow_take": first(lambda nodes: kept(nodes) < told(nodes, "p95_h")),
        "kept_less_than_half_take": first(lambda nodes: kept(nodes) < told(nodes, "p50_h")),
        "rows_fill_the_quota": QUOTA / (each_day * rows),
    }
    day = each_day * envelopes * SIZE * ON_LINKS

    def full(rate: int, nodes: float) -> bool:
        return nodes * day > 3600 * told(nodes, "hours_near_friends_a_day") * rate

    for rate in (5_000, 10_000, 20_000, 50_000, 1_000_000):
        found[f"links_of_{rate}_bytes_a_second_full"] = first(partial(full, rate))
    return found


def by_population(
    sizes: dict[int, tuple[int, int]],
) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Return p2pnode's figures by population, and what friends could do at best.

    sizes: populations, and how many runs of each of the two.
    """
    grown: dict[int, dict[str, float]] = {}
    best: dict[int, dict[str, float]] = {}
    for nodes, (floods, bests) in sizes.items():
        seeds = range(1, max(floods, bests) + 1)
        pairs = [
            (
                run(town(nodes, seed), Flood) if seed <= floods else None,
                run(sampled(nodes, seed), Reach) if seed <= bests else None,
            )
            for seed in seeds
        ]
        if floods:
            grown[nodes] = mean(one for one, _ in pairs if one)
        best[nodes] = mean(one for _, one in pairs if one)
    return grown, best


def bounded(sizes: Sequence[int]) -> dict[str, dict[int, dict[str, float]]]:
    """Return the stand-ins by population: what stays the same however many there are."""
    ways: dict[str, tuple[Way, int, bool]] = {
        "direct": (Direct, 1, False),
        "budget-8": (Budget, 8, False),
        "budget-32": (Budget, 32, False),
        "budget-128": (Budget, 128, False),
        "hops-2": (partial(Hops, limit=2), 1, False),
        "hops-3": (partial(Hops, limit=3), 1, False),
        "region": (Region, 1, False),
        "spray-4": (Spray, 4, True),
        "spray-16": (Spray, 16, True),
    }
    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in ways}
    for nodes in sizes:
        for name, (way, copies, anybody) in ways.items():
            told = run(sampled(nodes, copies=copies), way, strangers=anybody)
            found[name][nodes] = told
    return found


def settings(nodes: int, *, quick: bool) -> dict[str, dict[str, float]]:
    """Return p2pnode's figures at one population under other settings."""
    plain = town(nodes)
    found = {"as-above": run(plain, Flood)}
    for megabytes in (2.0,) if quick else (5.0, 2.0, 1.0, 0.5, 0.1):
        less = replace(plain, carry=CarrySettings(max_mb=megabytes))
        found[f"max_mb-{megabytes}"] = run(less, Flood)
    found["for-nobody"] = run(replace(plain, carry=CarrySettings(for_="nobody")), Flood)
    found["near-0.95"] = run(replace(plain, friends=Friends(each=8, near=0.95)), Flood)
    for bandwidth in (250.0,) if quick else (1_000.0, 500.0, 250.0, 100.0):
        slower = replace(plain, link=LinkSettings(bandwidth=bandwidth))
        found[f"bandwidth-{bandwidth:.0f}"] = run(slower, Flood)
    return found


def lifetimes(nodes: int, days: float, each_day: float) -> dict[str, Any]:
    """Return what a node holds at the end of a long run by the lifetime of what is written."""
    written = round(each_day * nodes * days)
    found: dict[str, Any] = {"days": days, "messages_a_day": each_day}
    for number, seconds in enumerate(LIFETIMES):
        traffic = Traffic(messages=written, to_hour=24 * days, lifetime=number)
        figures = run(town(nodes, days=days, traffic=traffic), Flood)
        flow = each_day * nodes * figures["envelopes_a_message"]
        found[f"{seconds // 86_400} days"] = {
            "delivered_in_2_days": figures["delivered_in_2_days"],
            "copies": figures["copies"],
            "held_at_end": figures["held_at_end"],
            "flow_times_lifetime": flow * min(days, seconds / 86_400),
        }
    return found


def overfull(shares: Sequence[float], days: int = 84) -> dict[str, dict[str, float]]:
    """Return how real custody of 1 MB fares under a steady flow, told as if it had 200.

    shares: the flow by what the rows that stay of it fill of the quota, were all of it taken.
    Figures are means over the days after two lifetimes, and the least held at the end of a day.
    """
    limit, lifetime = 1_000_000, 3
    remembered = 2 * LIFETIMES[lifetime] // 86_400
    found: dict[str, dict[str, float]] = {}
    for share in shares:
        flow = round(share * limit / (SEEN_COST * remembered))
        took, held = _filled(limit, lifetime, flow, days)
        found[str(share)] = {
            "envelopes_a_day_of_200_mb": flow * 200,
            "taken": fmean(took[remembered:]) / flow,
            "held_of_what_fits": fmean(held[remembered:]) * (SIZE + SEEN_COST) / limit,
            "least_held_of_what_fits": min(held[remembered:]) * (SIZE + SEEN_COST) / limit,
        }
    return found


def _filled(limit: int, lifetime: int, flow: int, days: int) -> tuple[list[int], list[int]]:
    """Return how many envelopes a custody store took on each day, and held at its end."""
    store, policy, random = Custody.memory(), CarryPolicy(limit), Random(1)
    sources = [bytes([number]) * 8 for number in range(1, 9)]
    strangers, raw = bytes(8), bytes(SIZE)
    took, held = [], []
    with store.transaction():
        for day in range(days):
            taken = 0
            for number in range(flow):
                now = int((day + number / flow) * 86_400)
                source, envelope = random.choice(sources), EnvelopeId(random.randbytes(32))
                verdict = judge(
                    policy, store.usage(source, strangers), "contact", source, strangers, SIZE
                )
                while isinstance(verdict, EvictFrom):
                    looked_at = store.candidates(verdict.slot, LOOKED_AT)
                    gone = victim(looked_at, age=0, size=SIZE, older=verdict.older)
                    if gone is None:
                        break
                    store.remove([EnvelopeId(gone.id)])
                    verdict = judge(
                        policy, store.usage(source, strangers), "contact", source, strangers, SIZE
                    )
                if isinstance(verdict, Admit):
                    store.put(envelope, envelope[:16], raw, lifetime, 0, source, now)
                    taken += 1
            while store.expire((day + 1) * 86_400):
                pass
            took.append(taken)
            held.append(store.count_bytes()[0])
    store.close()
    return took, held


def agrees(nodes: int) -> dict[str, dict[str, float]]:
    """Return figures of `simulate` beside those from here, for the same people."""
    found = {}
    told = simulate(town(nodes), lambda line: None, only=("p2pnode", "friends-at-best"))
    for row, way in zip(told.rows, (Flood, Reach), strict=True):
        own = run(town(nodes), way)
        found[row.name] = {
            "copies": row.copies,
            "copies_here": own["copies"],
            "p95_h": (row.p95_min or 0) / 60,
            "p95_h_here": own["p95_h"],
        }
    return found


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return figures by population, the laws fitted to them, what they say of more people, and
    figures under other settings. quick: smaller, one run of each."""
    began = time.process_time()
    sizes = {50: (5, 5), 100: (5, 5), 200: (4, 4), 400: (3, 3), 800: (2, 2)}
    sizes |= {1_600: (1, 1), 3_200: (0, 1), 6_400: (0, 1)}
    if quick:
        sizes = dict.fromkeys((50, 100, 200, 400), (1, 1))
    grown, slow = by_population(sizes)
    large = {nodes: one for nodes, one in slow.items() if nodes >= (50 if quick else 200)}
    laws = {
        name: law(grown, name)
        for name in ("copies", "sent_mb_a_node", "peak_mb", "encounters_with_friends_a_day")
    }
    laws |= {name: law(large, name) for name in ("p50_h", "p95_h", "hours_near_friends_a_day")}
    found: dict[str, Any] = {
        "what": f"model of p2pnode: {DENSITY} people a km², {PLACE} to a place, 8 friends or more"
        f" each, {EACH_DAY} messages a person on the first of {DAYS} days; sent and peak are what"
        " that day's messages and their receipts cost a node; 200 MB, 50 kB/s, 14 days",
        "populations": grown,
        "friends_at_best": slow,
        "laws": laws,
        "laws_are": "figure = factor · population^power, least squares on logarithms",
        "extrapolated": {
            population: {name: carried_on(one, population) for name, one in laws.items()}
            for population in TOLD
        },
        "defaults_fail_at": {
            f"{each_day} messages a day": breaks(
                each_day, grown[max(grown)]["envelopes_a_message"], laws
            )
            for each_day in (2, 20)
        },
        "agrees_with_simulate": agrees(100),
        "settings": settings(100 if quick else 400, quick=quick),
        "bounded": bounded((50, 100) if quick else (100, 400, 1_600)),
        "lifetimes": lifetimes(100, 4.0, 0.5) if quick else lifetimes(400, 16.0, 0.1),
        "custody_beyond_its_quota": overfull((0.5, 2.0) if quick else (0.1, 0.5, 0.9, 1.1, 2.0)),
    }
    return found | {"seconds_taken": time.process_time() - began}


if __name__ == "__main__":
    from bench.__main__ import rounded

    print(json.dumps(rounded(measure(quick="quick" in sys.argv[1:])), indent=1))
