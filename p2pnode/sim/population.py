"""People and what they write: who knows whom, messages, and who is faulty. From the seed alone."""

from random import Random
from typing import NamedTuple

from p2pnode.sim.mobility import Encounter
from p2pnode.sim.scenario import Scenario


class Message(NamedTuple):
    """Something a person writes to a contact at a time."""

    number: int
    at: float
    author: int
    recipient: int


class Population(NamedTuple):
    """friends: each node's contacts. off: for each node, spans (from, to) it is off. hostile: those
    who know nobody and flood everybody."""

    friends: list[set[int]]
    messages: list[Message]
    droppers: frozenset[int]
    flooders: frozenset[int]
    off: list[list[tuple[float, float]]]
    hostile: frozenset[int]


def populate(scenario: Scenario, places: list[int], random: Random) -> Population:
    """Return the people of a scenario."""
    count = scenario.nodes
    friends: list[set[int]] = [set() for _ in range(count)]
    strange = round(scenario.faults.hostile * count)
    hostile = frozenset(random.sample(range(count), strange)) if strange else frozenset()
    people = [node for node in range(count) if node not in hostile]
    by_place: dict[int, list[int]] = {}
    for node in people:
        by_place.setdefault(places[node], []).append(node)
    for node in people:
        for _ in range(count * 4):
            if len(friends[node]) >= min(scenario.friends.each, len(people) - 1):
                break
            near = random.random() < scenario.friends.near
            other = random.choice(by_place[places[node]] if near else people)
            if other != node:
                friends[node].add(other)
                friends[other].add(node)
    faulty = random.sample(people, len(people))
    droppers = frozenset(faulty[: round(scenario.faults.droppers * len(people))])
    flooding = round(scenario.faults.flooders * len(people))
    flooders = frozenset(faulty[len(people) - flooding :]) - droppers
    honest = [node for node in people if node not in droppers | flooders]
    traffic = scenario.traffic
    last = min(traffic.to_hour * 3600, scenario.seconds)
    messages: list[Message] = []
    first = traffic.from_hour * 3600
    for at in sorted(random.uniform(first, last) for _ in range(traffic.messages)):
        author = random.choice(honest)
        known = sorted(friends[author] - droppers - flooders) or [random.choice(honest)]
        recipient = random.choice(known)
        if recipient == author:
            continue
        messages.append(Message(len(messages), at, author, recipient))
    return Population(friends, messages, droppers, flooders, _off(scenario, random), hostile)


def _off(scenario: Scenario, random: Random) -> list[list[tuple[float, float]]]:
    """Return when each node is off: spans about `off_hours` long, the given share of all time."""
    share, span = scenario.faults.off, scenario.faults.off_hours * 3600
    found: list[list[tuple[float, float]]] = []
    for _ in range(scenario.nodes):
        spans, time = [], 0.0
        while share and time < scenario.seconds:
            on = random.expovariate(1 / (span * (1 - share) / share)) if share < 1 else 0.0
            length = random.uniform(0.5, 1.5) * span
            spans.append((time + on, time + on + length))
            time += on + length
        found.append(spans)
    return found


def usable(
    scenario: Scenario, met: list[Encounter], people: Population, random: Random
) -> list[Encounter]:
    """Return what is left of the encounters when nodes are off and links fail to come up."""
    left = []
    for one in met:
        if random.random() < scenario.link.lost:
            continue
        if one.a in people.hostile and one.b in people.hostile:
            continue  # what they do among themselves matters to nobody
        start = one.start + scenario.link.setup
        for span in _on(start, one.end, people.off[one.a], people.off[one.b]):
            left.append(one._replace(start=span[0], end=span[1]))
    return sorted(left)


def _on(start: float, end: float, *offs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    spans = [(start, end)] if start < end else []
    for off in offs:
        for gone, back in off:
            if gone >= end or back <= start:
                continue
            spans = [
                part
                for a, b in spans
                for part in ((a, min(b, gone)), (max(a, back), b))
                if part[0] < part[1]
            ]
    return spans
