"""Carriers who put their diaries together, and guess: who wrote an envelope, and who it is for."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from math import inf

from p2pnode.protocol.custody import ORIGINS
from p2pnode.sim.diaries import HOUR, Sight, Trail, Watched
from p2pnode.sim.mobility import Encounter
from p2pnode.sim.population import Population
from p2pnode.sim.scenario import Scenario
from p2pnode.turns.posting import AGES_AT_BIRTH

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
