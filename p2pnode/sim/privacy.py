"""What colluding carriers can tell: how often they name who wrote an envelope, and who it is for.

Carriers follow the protocol and write down what they see; afterwards they put it together. What
they see and by which rules they guess: docs/privacy-analysis.md.
"""

from collections.abc import Sequence
from itertools import product
from math import sqrt
from random import Random
from typing import NamedTuple, get_args

import msgspec

from p2pnode.protocol.custody import Origin
from p2pnode.sim.colluders import Carriers
from p2pnode.sim.diaries import Watched
from p2pnode.sim.mobility import movement
from p2pnode.sim.population import Population, populate, usable
from p2pnode.sim.report import Progress
from p2pnode.sim.scenario import PrivacySettings, Scenario

COLLUDERS = (1, 2, 5, 10)
SHARE = 0.1
"""How many carriers collude: each of these numbers, and this share of all nodes."""

LOOKED_AT = 40
"""Messages that one draw of colluders is asked about, at most, chosen at random."""


class PrivacyRow(msgspec.Struct, frozen=True):
    """One origin, with or without tokens, against one number of colluders. All figures but
    `colluders` are shares.

    seen: of the messages, those of which any colluder got the envelope; the others are shares of
    these. author, recipient: how often each is named. author_prior, recipient_prior: by guessing
    blindly. near: the author, where a colluder is a contact of the author's; None where none ever
    was. friend: the recipient, by naming any contact of the named author. Errors are standard
    errors.
    """

    origin: Origin
    tokens: bool
    colluders: int
    seen: float
    author: float
    author_error: float
    author_prior: float
    near: float | None
    recipient: float
    recipient_error: float
    recipient_prior: float
    friend: float


class PrivacyReport(msgspec.Struct, frozen=True):
    """What colluding carriers tell in a scenario."""

    title: str
    seed: int
    nodes: int
    messages: int
    draws: int
    rows: list[PrivacyRow]


def analyse(scenario: Scenario, progress: Progress, draws: int = 200) -> PrivacyReport:
    """Run a scenario with each origin, without and with tokens, and let carriers guess.

    draws: how often the colluders are chosen anew, for each number of them. They are the same for
    all origins, and so are the encounters and what is written.
    """
    random = Random(scenario.seed)
    moved = movement(scenario, random)
    people = populate(scenario, moved.places, random)
    met = usable(scenario, moved.encounters, people, random)
    progress(f"{len(met)} encounters")
    rows: list[PrivacyRow] = []
    origins: tuple[Origin, ...] = get_args(Origin)
    for origin, tokens in product(origins, (False, True)):
        chosen = msgspec.structs.replace(scenario, privacy=PrivacySettings(origin=origin))
        watched = Watched(chosen, people, met, tokens=tokens)
        watched.run()
        carriers = Carriers(chosen, people, met, watched)
        rows += (_row(carriers, count, draws) for count in _counts(scenario, people))
        progress(f"{origin}, tokens {'on' if tokens else 'off'}: done")
    return PrivacyReport(
        title=scenario.title,
        seed=scenario.seed,
        nodes=scenario.nodes,
        messages=len(people.messages),
        draws=draws,
        rows=rows,
    )


def table(report: PrivacyReport) -> str:
    """Return a report's rows as a Markdown table, in per cent."""
    heads = (
        "origin",
        "tokens",
        "colluders",
        "seen",
        "author",
        "blindly",
        "of a contact",
        "recipient",
        "blindly",
        "any friend",
    )
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'--:|' * (len(heads) - 2)}"]
    for row in report.rows:
        cells = (
            row.origin,
            "on" if row.tokens else "off",
            str(row.colluders),
            _percent(row.seen),
            f"{_percent(row.author)} ± {_percent(row.author_error)}",
            _percent(row.author_prior),
            "" if row.near is None else _percent(row.near),
            f"{_percent(row.recipient)} ± {_percent(row.recipient_error)}",
            _percent(row.recipient_prior),
            _percent(row.friend),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _honest(people: Population) -> list[int]:
    faulty = people.droppers | people.flooders
    return [node for node in range(len(people.friends)) if node not in faulty]


def _counts(scenario: Scenario, people: Population) -> list[int]:
    """Return how many collude: an author and a recipient are left."""
    asked = {*COLLUDERS, max(1, round(SHARE * scenario.nodes))}
    return [count for count in sorted(asked) if count <= len(_honest(people)) - 2]


class Told(NamedTuple):
    """One message before one draw of colluders, and how far they were right: 0 to 1.

    near: whether one of them is a contact of the author's.
    """

    draw: int
    message: int
    near: bool
    author: float
    recipient: float
    friend: float


def _row(carriers: Carriers, count: int, draws: int) -> PrivacyRow:
    scenario, people = carriers.scenario, carriers.people
    random = Random(f"{scenario.seed} {count} colluders")
    honest = _honest(people)
    told: list[Told] = []
    asked = 0
    for draw in range(draws):
        colluders = frozenset(random.sample(honest, count))
        foreign = [
            number
            for number, trail in enumerate(carriers.messages)
            if trail.item.author not in colluders and trail.item.recipient not in colluders
        ]
        chosen = random.sample(foreign, min(LOOKED_AT, len(foreign)))
        asked += len(chosen)
        answers = carriers.answers(colluders)
        for number in chosen:
            trail = carriers.messages[number]
            first = carriers.first(trail, colluders)
            author = carriers.author(trail, colluders)
            if first is None or author is None:
                continue
            friends, named = carriers.recipients(author, first[0], colluders, answers)
            told.append(
                Told(
                    draw,
                    number,
                    not colluders.isdisjoint(people.friends[trail.item.author]),
                    float(author == trail.item.author),
                    _right(trail.item.recipient, named),
                    _right(trail.item.recipient, friends),
                )
            )
    author_share, author_error = _share(told, [one.author for one in told])
    recipient_share, recipient_error = _share(told, [one.recipient for one in told])
    near = [one.author for one in told if one.near]
    return PrivacyRow(
        origin=scenario.privacy.origin,
        tokens=carriers.tokens,
        colluders=count,
        seen=len(told) / max(1, asked),
        author=author_share,
        author_error=author_error,
        author_prior=1 / (scenario.nodes - count),
        near=sum(near) / len(near) if near else None,
        recipient=recipient_share,
        recipient_error=recipient_error,
        recipient_prior=1 / (scenario.nodes - count),
        friend=_share(told, [one.friend for one in told])[0],
    )


def _right(one: int, named: Sequence[int]) -> float:
    """Return how often naming any of these names this one."""
    return 1 / len(named) if one in named else 0.0


def _share(told: Sequence[Told], values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of values, and its standard error: what comes from the choice of colluders
    and what comes from the messages, added up."""
    if not told:
        return 0.0, 0.0
    mean = sum(values) / len(values)
    off: dict[tuple[str, int], float] = {}
    for one, value in zip(told, values, strict=True):
        for group in (("draw", one.draw), ("message", one.message)):
            off[group] = off.get(group, 0.0) + value - mean
    return mean, sqrt(sum(each * each for each in off.values())) / len(values)
