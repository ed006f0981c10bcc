"""`simulate`: what delivery to expect, from people who move and nodes that carry."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from p2pnode import disk
from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, LocalError

if TYPE_CHECKING:
    from p2pnode.sim.report import Report


@click.command("simulate")
@click.argument("scenario", required=False)
@click.option("--list", "listed", is_flag=True, help="List the scenarios that come along.")
@click.option("--seed", type=int, metavar="N", help="Chance to use, instead of the file's.")
@click.option("--only", multiple=True, metavar="NAME", help="Run these alone; may be repeated.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture (SVG) there.")
@flags
@click.pass_obj
def command(
    terminal: Terminal,
    scenario: str | None,
    listed: bool,
    seed: int | None,
    only: tuple[str, ...],
    plot: Path | None,
) -> None:
    """Run a SCENARIO (a file, or the name of one that comes along) in virtual time."""
    from p2pnode.sim import report, routing
    from p2pnode.sim import scenario as scenarios
    from p2pnode.sim.plot import svg

    if listed:
        for name, title in scenarios.shipped().items():
            if terminal.json:
                terminal.record({"name": name, "title": title})
            else:
                terminal.line(f"{name:18} {clean(title)}")
        return
    if scenario is None:
        raise InvalidInput("which scenario?", hint="See: p2pnode simulate --list")
    known = ["real", *(kind.name for kind in routing.COMPARED)]
    for name in only:
        if name not in known:
            raise InvalidInput(f'nothing is called "{name}"', hint=f"Known: {', '.join(known)}")
    chosen = scenarios.load(scenario)
    if seed is not None:
        chosen = msgspec.structs.replace(chosen, seed=seed)
    terminal.talk(f"{clean(chosen.title)}: {chosen.nodes} nodes, {chosen.days:g} days")
    terminal.talk(f"seed {chosen.seed}")
    found = report.simulate(chosen, terminal.talk, only)
    if plot is not None:
        try:
            disk.write(plot, svg(found).encode(), private=False)
        except OSError as error:
            raise InvalidInput("the picture cannot be written", why=str(error)) from None
    if terminal.json:
        terminal.record(msgspec.to_builtins(found))
    else:
        _table(terminal, found)
    if found.broken:
        raise LocalError(
            "something that must always hold did not",
            why=clean(found.broken[0]),
            hint=f"Again: p2pnode simulate {clean(scenario)} --seed {chosen.seed}",
        )


def _table(terminal: Terminal, found: "Report") -> None:
    terminal.line(
        f"{'':26}{'delivered':>10}{'known':>8}{'p50':>9}{'p95':>9}{'copies':>8}"
        f"{'sent':>9}{'storage':>9}"
    )
    for row in found.rows:
        known = "" if row.confirmed is None else f"{100 * row.confirmed:.1f} %"
        terminal.line(
            f"{row.name:26}{100 * row.delivered:>8.1f} %{known:>8}{_span(row.p50_min):>9}"
            f"{_span(row.p95_min):>9}{row.copies:>8.1f}{row.mb_sent:>6.0f} MB"
            f"{row.storage_mb or 0:>6.1f} MB"
        )


def _span(minutes: float | None) -> str:
    if minutes is None:
        return "-"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
