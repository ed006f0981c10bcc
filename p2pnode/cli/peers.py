"""`peers`: who was met, who is here now, and what waits for whom."""

import time
from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, ago, clean
from p2pnode.cli.verbs import flags

if TYPE_CHECKING:
    from p2pnode.schema import Peer


@click.command("peers")
@flags
@click.pass_obj
def command(terminal: Terminal) -> None:
    """Tell who is here, when others were met last, and what waits for them."""
    from p2pnode.schema import GetPeers

    with terminal.client() as client:
        found = client.call(GetPeers())
    if terminal.json:
        terminal.record(found)
        return
    now = int(time.time())
    for peer in found.peers:
        terminal.line(" | ".join(_parts(peer, now)))
    if not found.peers:
        terminal.talk("Nobody yet. Meet somebody and run: p2pnode pair")


def _parts(peer: "Peer", now: int) -> list[str]:
    name = clean(peer.name)
    if peer.over:
        locked = ", locked: it only carries" if peer.locked else ""
        here = f"here, over {clean(peer.over)}{locked}"
    elif peer.last_seen is None:
        here = "not met yet"
    else:
        here = f"last met {ago(max(0, now - peer.last_seen))} ago"
    parts = [f"{name}: {here}"]
    if peer.state != "active":
        parts.append(clean(peer.state))
    if peer.encounters:
        parts.append("met once" if peer.encounters == 1 else f"met {peer.encounters} times")
    if peer.waiting:
        count = "1 message" if peer.waiting == 1 else f"{peer.waiting} messages"
        parts.append(f"{count} under way to them, the oldest for {ago(peer.oldest)}")
    if peer.carrying:
        parts.append(f"carries {peer.carrying} of yours")
    return parts
