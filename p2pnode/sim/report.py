"""Runs a scenario in every way that is compared, and sums up what came of it."""

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from p2pnode.sim.mobility import movement
from p2pnode.sim.model import Model
from p2pnode.sim.population import Population, populate, usable
from p2pnode.sim.routing import COMPARED, SIZE
from p2pnode.sim.scenario import Scenario
from p2pnode.sim.world import World

Progress = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One way's figures: shares of all messages, minutes, and means a message.

    confirmed: of how many the author knows. storage_mb: the most one node held. delays: minutes,
    sorted, for the picture.
    """

    name: str
    delivered: float
    confirmed: float | None
    p50_min: float | None
    p95_min: float | None
    copies: float
    mb_sent: float
    storage_mb: float | None
    delays: list[float]


class Report(msgspec.Struct, frozen=True):
    """A run: what was compared, and what must hold but did not (empty when all did)."""

    title: str
    seed: int
    nodes: int
    days: float
    encounters: int
    messages: int
    rows: list[Row]
    broken: list[str]


def simulate(scenario: Scenario, progress: Progress, only: Sequence[str] = ()) -> Report:
    """Run a scenario. only: names of the ways to run, all of them when empty."""
    random = Random(scenario.seed)
    moved = movement(scenario, random)
    people = populate(scenario, moved.places, random)
    met = usable(scenario, moved.encounters, people, random)
    progress(f"{len(met)} encounters")
    rows: list[Row] = []
    broken: list[str] = []
    if scenario.real and (not only or "real" in only):
        world = World(scenario, people, met, Random(scenario.seed))
        world.run()
        rows.append(_real(world, people))
        broken = world.oracle.broken
        world.close()
        progress("real nodes: done")
    for kind in COMPARED:
        if only and kind.name not in only:
            continue
        chance = Random(scenario.seed)
        ended = Model(scenario, people, met, kind(scenario, people, chance), chance).run()
        told = ended.messages
        rows.append(
            _row(
                kind.name,
                [item.delivered - item.born for item in told if item.delivered >= 0],
                sum(item.confirmed >= 0 for item in told) if kind.receipts else None,
                len(told),
                ended.transfers,
                ended.transfers * SIZE,
                ended.peak * SIZE,
            )
        )
        progress(f"{kind.name}: done")
    return Report(
        title=scenario.title,
        seed=scenario.seed,
        nodes=scenario.nodes,
        days=scenario.days,
        encounters=len(met),
        messages=len(people.messages),
        rows=rows,
        broken=broken,
    )


def _real(world: World, people: Population) -> Row:
    written = {message.number: message.at for message in people.messages}
    delays = [at - written[number] for number, at in world.oracle.delivered.items()]
    peak = max(node.stores.custody.count_bytes()[1] for node in world.nodes)
    return _row(
        "real p2pnode nodes",
        delays,
        len(world.oracle.confirmed),
        len(written),
        world.oracle.transfers,
        world.bytes,
        peak,
    )


def _row(
    name: str,
    delays: list[float],
    confirmed: int | None,
    messages: int,
    transfers: int,
    sent: int,
    peak: int,
) -> Row:
    minutes = sorted(delay / 60 for delay in delays)
    each = max(1, messages)

    def at(share: float) -> float | None:
        return minutes[min(len(minutes) - 1, int(share * len(minutes)))] if minutes else None

    return Row(
        name=name,
        delivered=len(minutes) / each,
        confirmed=None if confirmed is None else confirmed / each,
        p50_min=at(0.5),
        p95_min=at(0.95),
        copies=transfers / each,
        mb_sent=sent / 1e6,
        storage_mb=peak / 1e6,
        delays=minutes,
    )
