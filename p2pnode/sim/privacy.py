"""What colluding carriers can tell: how often they name who wrote an envelope, and who it is for.

Carriers follow the protocol and write down what they see; afterwards they put it together. What
they see and by which rules they guess: docs/privacy-analysis.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import product
from math import inf, sqrt
from random import Random
from typing import Any, NamedTuple, get_args

import msgspec

from p2pnode.protocol.custody import ORIGINS, Origin
from p2pnode.sim.mobility import Encounter, movement
from p2pnode.sim.model import ANSWERS, Model
from p2pnode.sim.population import Population, populate, usable
from p2pnode.sim.report import Progress
from p2pnode.sim.routing import Friends, Item
from p2pnode.sim.scenario import PrivacySettings, Scenario
from p2pnode.turns.posting import AGES_AT_BIRTH

HOUR = 3_600.0

COLLUDERS = (1, 2, 5, 10)
SHARE = 0.1
"""How many carriers collude: each of these numbers, and this share of all nodes."""

LOOKED_AT = 40
"""Messages that one draw of colluders is asked about, at most, chosen at random."""

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


# What is told ------------------------------------------------------------------------------------


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


# Guessing ----------------------------------------------------------------------------------------

Spans = tuple[list[float], list[float]]
"""When two nodes met: starts and ends, in order."""


class Carriers:
    """What carriers know of a run, and what they conclude. Any nodes can be asked to collude."""

    def __init__(
        self, scenario: Scenario, people: Population, met: list[Encounter], watched: Watched
    ) -> None:
        self.scenario, self.people, self.tokens = scenario, people, watched.tokens
        self.messages = [watched.trails[item.number] for item in watched.outcome.messages]
        self._all = list(watched.trails.values())
        self._slowest = ORIGINS[scenario.privacy.origin][1]
        self._spans: dict[tuple[int, int], Spans] = {}
        for one in met:
            if one.b in people.friends[one.a]:
                both = self._spans.setdefault((one.a, one.b), ([], []))
                self._spans[one.b, one.a] = both
                both[0].append(one.start)
                both[1].append(one.end)

    def first(self, trail: Trail, colluders: Collection[int]) -> tuple[float, int] | None:
        """Return when colluders first got an envelope, and by whom; None when they never did."""
        held = trail.held
        got = [held[node] for node in colluders if node in held]
        return min(
            ((one.time, one.giver) for one in got if one.giver not in colluders), default=None
        )

    def author(self, trail: Trail, colluders: Collection[int]) -> int | None:
        """Name an envelope's author; None when the colluders never got it.

        The first contact who showed the token if it can be the author, else the first who showed
        the envelope and can. Who lacked it when others had it, or must have had it by its age,
        cannot.
        """
        first = self.first(trail, colluders)
        if first is None:
            return None
        held, ended = trail.held, trail.ended
        shown: dict[int, float] = {}
        lacked: dict[int, float] = {}
        for carrier in colluders:
            for node in self.people.friends[carrier]:
                if node not in colluders:
                    until, since = self._look(trail, carrier, node)
                    lacked[node] = max(until, lacked.get(node, -inf))
                    shown[node] = min(since, shown.get(node, inf))
        oldest = AGES_AT_BIRTH - 1
        offered_by = min(
            held[node].time - (held[node].age - oldest) * HOUR + self._slowest
            for node in colluders
            if node in held
        )
        latest = min(offered_by, first[0], *shown.values())
        possible = [node for node in shown if shown[node] < inf and lacked[node] <= latest]
        told = min(
            (ended[node][:2] for node in colluders if node in ended),
            default=(inf, -1),
        )
        if told[1] in possible:
            return told[1]
        return min(possible, key=lambda node: (shown[node], node), default=first[1])

    def _look(self, trail: Trail, carrier: int, node: int) -> tuple[float, float]:
        """Return until when a carrier saw that a contact lacked an envelope, and since when it
        knows that it has it."""
        starts, ends = self._spans.get((carrier, node), ([], []))
        own = trail.held.get(node)
        if own is not None and node == trail.item.author and carrier == trail.item.one:
            own = Sight(trail.item.given, node, 0)
        if own is None:
            return ends[-1] if ends else -inf, inf
        at = bisect_right(starts, own.time)
        if at and ends[at - 1] >= own.time:
            return own.time, own.time
        until = ends[at - 1] if at else -inf
        since = starts[at] if at < len(starts) else inf
        gone, mine = trail.ended.get(node), trail.held.get(carrier)
        if gone is not None and gone.time < since and (mine is None or mine.time > since):
            since = inf  # It had dropped it, and there was nothing to show it a token for.
        return until, since

    def answers(self, colluders: Collection[int]) -> dict[int, list[float]]:
        """Return when colluders first got envelopes, messages and receipts alike, in order, by who
        gave them first."""
        found: dict[int, list[float]] = {}
        for trail in self._all:
            first = self.first(trail, colluders)
            if first is not None:
                found.setdefault(first[1], []).append(first[0])
        for times in found.values():
            times.sort()
        return found

    def recipients(
        self, author: int, since: float, colluders: Collection[int], seen: dict[int, list[float]]
    ) -> tuple[list[int], list[int]]:
        """Return whom an envelope of this author may be for, and among them whom the colluders
        name: one, or several that are alike to them.

        The contact of the author's who first gave an envelope of its own after this one was seen.
        """
        friends = sorted(self.people.friends[author].difference(colluders))
        next_: list[tuple[float, int]] = []
        for friend in friends:
            times = seen.get(friend, [])
            at = bisect_left(times, since)
            if at < len(times):
                next_.append((times[at], friend))
        return friends, [min(next_)[1]] if next_ else friends


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
