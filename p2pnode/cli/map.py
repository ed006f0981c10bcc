"""`map`: whom this node met, over what and when, as this node alone saw it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pnode import disk
from p2pnode.cli.terminal import Terminal, ago, clean
from p2pnode.cli.verbs import flags
from p2pnode.errors import Denied

if TYPE_CHECKING:
    from p2pnode.schema import Map, MapEntry, Meetings

BARS = " ▁▂▃▄▅▆▇█"


@click.command("map")
@click.option(
    "--svg", "drawing", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into FILE."
)
@flags
@click.pass_obj
def command(terminal: Terminal, drawing: Path | None) -> None:
    """Show whom you met, over which transports, and on which of the last 30 days.

    It is what this node saw itself; it stays in your vault, and nobody else is asked.
    """
    from p2pnode.schema import GetMap

    with terminal.client() as client:
        found = client.call(GetMap())
    now = int(time.time())
    if drawing is not None:
        from p2pnode.cli.drawing import svg

        try:
            disk.write(drawing, svg(found, now).encode())  # for its owner: it names contacts
        except OSError as error:
            raise Denied(f"{drawing} cannot be written", why=error.strerror or "") from None
    if terminal.json:
        terminal.record(found)
    elif drawing is not None:
        terminal.talk(f"Drawn: {clean(str(drawing))}. It names your contacts; keep it as such.")
    elif not found.places:
        terminal.talk("Nobody yet. Meet somebody and run: p2pnode pair")
    else:
        for line in _plain(found, now) if terminal.plain else _drawn(found, now):
            terminal.line(line)


def standing(place: "MapEntry", now: int) -> str:
    """Return how a contact stands now, in a few words."""
    peer = place.peer
    if peer.over:
        return f"here, over {clean(peer.over)}" + (" (locked)" if peer.locked else "")
    if peer.last_seen is None:
        return "not met yet"
    return f"last met {ago(max(0, now - peer.last_seen))} ago"


def waiting(place: "MapEntry") -> str:
    """Return what waits for a contact, or nothing."""
    count = place.peer.waiting
    return f"{count} {'message' if count == 1 else 'messages'} waiting" if count else ""


def times(met: "Meetings") -> str:
    """Return how often a contact was met over a transport."""
    count = sum(met.days)
    return "once" if count == 1 else f"{count} times"


def _plain(found: "Map", now: int) -> list[str]:
    lines = []
    for place in found.places:
        parts = [standing(place, now)]
        for met in place.met:
            last = ago(max(0, now - met.last))
            parts.append(f"over {clean(met.transport)} {times(met)}, the last {last} ago")
        parts.append(waiting(place))
        lines.append(f"{clean(place.peer.name)}: {'; '.join(filter(None, parts))}")
    return lines


def _drawn(found: "Map", now: int) -> list[str]:
    wide = max(len(clean(place.peer.name)) for place in found.places)
    over = max((len(clean(met.transport)) for one in found.places for met in one.met), default=0)
    most = max((max(met.days) for one in found.places for met in one.met), default=1)
    shown = [f"{'':{wide}}  {'':{over}}  {f'{found.days} days ago':<{found.days - 5}}today"]
    for place in found.places:
        name = f"{clean(place.peer.name):{wide}}"
        said = ", ".join(filter(None, (standing(place, now), waiting(place))))
        if not place.met:
            shown.append(f"{name}  {'':{over}}  {'':{found.days}}  {said}")
        for met in place.met:
            bars = "".join(BARS[-(-count * 8 // most)] for count in met.days)
            shown.append(
                f"{name}  {clean(met.transport):{over}}  {bars}  {times(met)}"
                + (f", {said}" if said else "")
            )
            name, said = " " * wide, ""
    return shown
