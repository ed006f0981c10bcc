"""Who meets whom, and when: encounters from movement or from a recorded trace."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from math import hypot, isnan
from pathlib import Path
from random import Random
from typing import NamedTuple

from p2pnode.errors import InvalidInput
from p2pnode.sim.scenario import Mobility, Scenario

DAY = 86_400.0
MAX_ROWS = 5_000_000
"""Lines of a trace that are read."""

Point = tuple[float, float]
Next = Callable[[int, float], tuple[Point, float]]
"""(node, time) → where it goes next, and how long it stays there."""


class Encounter(NamedTuple):
    """Two nodes in reach of each other; bandwidth in bytes a second, 0 for the scenario's."""

    start: float
    end: float
    a: int
    b: int
    bandwidth: float


class Movement(NamedTuple):
    """All encounters in the order of their starts, and each node's place."""

    encounters: list[Encounter]
    places: list[int]


def movement(scenario: Scenario, random: Random) -> Movement:
    """Return who meets whom in a scenario. Raises InvalidInput for a trace that cannot be read."""
    settings = scenario.mobility
    places = [node % settings.places for node in range(scenario.nodes)]
    if settings.kind == "trace":
        return Movement(sorted(_trace(scenario)), places)
    centres = [
        (random.uniform(0, settings.area[0]), random.uniform(0, settings.area[1]))
        for _ in range(settings.places)
    ]
    chosen = _plan(settings, centres, places, random)
    return Movement(sorted(_walked(scenario, chosen, random)), places)


def _plan(settings: Mobility, centres: list[Point], places: list[int], random: Random) -> Next:
    width, height = settings.area

    def anywhere() -> Point:
        return random.uniform(0, width), random.uniform(0, height)

    def around(centre: Point) -> Point:
        r = settings.radius
        return centre[0] + random.uniform(-r, r), centre[1] + random.uniform(-r, r)

    def stay() -> float:
        return random.uniform(*settings.pause)

    if settings.kind == "waypoint":
        return lambda node, time: (anywhere(), stay())
    if settings.kind == "community":
        return lambda node, time: (
            anywhere() if random.random() < settings.roaming else around(centres[places[node]]),
            stay(),
        )
    if settings.kind == "bus":
        turns = [0] * len(places)

        def ride(node: int, time: float) -> tuple[Point, float]:
            if node >= settings.riders:
                return around(centres[places[node]]), stay()
            turns[node] += 1
            return around(centres[turns[node] % len(centres)]), stay()

        return ride
    homes = [anywhere() for _ in places]

    def work(node: int, time: float) -> tuple[Point, float]:
        hour = time % DAY / 3600
        if 8 <= hour < 17:
            return around(centres[places[node]]), stay()
        if 17 <= hour < 21 and random.random() < settings.roaming:
            return anywhere(), stay()
        until = (8 - hour) % 24 * 3600
        return homes[node], until + random.uniform(0, 3600)

    return work


def _walked(scenario: Scenario, plan: Next, random: Random) -> Iterator[Encounter]:
    settings = scenario.mobility
    count, step = scenario.nodes, settings.step
    here: list[Point] = [plan(node, 0.0)[0] for node in range(count)]
    goal, until = list(here), [random.uniform(*settings.pause) for _ in range(count)]
    speed = [random.uniform(*settings.speed) for _ in range(count)]
    stays = list(until)
    began: dict[tuple[int, int], float] = {}
    time = 0.0
    while time < scenario.seconds:
        for node in range(count):
            if here[node] == goal[node]:
                if time >= until[node]:
                    goal[node], stays[node] = plan(node, time)
                    speed[node] = random.uniform(*settings.speed)
                continue
            x, y = here[node]
            away_x, away_y = goal[node][0] - x, goal[node][1] - y
            away, reach = hypot(away_x, away_y), speed[node] * step
            if away <= reach:
                here[node], until[node] = goal[node], time + stays[node]
            else:
                here[node] = x + away_x * reach / away, y + away_y * reach / away
        near = _near(here, settings.range)
        for pair in [known for known in began if known not in near]:
            yield Encounter(began.pop(pair), time, *pair, 0.0)
        for pair in near:
            began.setdefault(pair, time)
        time += step
    for pair, start in began.items():
        yield Encounter(start, scenario.seconds, *pair, 0.0)


def _near(here: list[Point], reach: float) -> set[tuple[int, int]]:
    """Return the pairs within reach, by a grid of cells as wide as the reach."""
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for node, (x, y) in enumerate(here):
        cells[int(x // reach), int(y // reach)].append(node)
    found = set()
    square = reach * reach
    for (column, row), nodes in cells.items():
        for other in (
            (column, row),
            (column + 1, row - 1),
            (column + 1, row),
            (column + 1, row + 1),
            (column, row + 1),
        ):
            for a in nodes:
                for b in cells.get(other, ()):
                    if (other != (column, row) or a < b) and a != b:
                        x, y = here[a][0] - here[b][0], here[a][1] - here[b][1]
                        if x * x + y * y <= square:
                            found.add((a, b) if a < b else (b, a))
    return found


def _trace(scenario: Scenario) -> Iterator[Encounter]:
    """Yield the encounters of a CSV: time, node, node, duration, bandwidth."""
    numbers: dict[str, int] = {}
    try:
        with Path(scenario.mobility.file).open(newline="") as file:
            for number, row in enumerate(csv.reader(file)):
                if number >= MAX_ROWS:
                    break
                if not row or row[0].strip().lower() == "time":
                    continue
                start, duration = _number(row[0]), _number(row[3])
                a, b = (numbers.setdefault(name.strip(), len(numbers)) for name in row[1:3])
                if a == b or max(a, b) >= scenario.nodes or start >= scenario.seconds:
                    continue
                end = min(start + duration, scenario.seconds)
                bandwidth = _number(row[4]) if len(row) > 4 and row[4].strip() else 0.0
                yield Encounter(start, end, min(a, b), max(a, b), bandwidth)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise InvalidInput(
            "the trace cannot be read",
            why=str(error),
            hint="Lines of time,node,node,duration,bandwidth",
        ) from None


def _number(text: str) -> float:
    """Return the number written there; what is no number must not be put in order of time."""
    found = float(text)
    if isnan(found):
        raise ValueError(f"{text.strip()} is no number")
    return found
