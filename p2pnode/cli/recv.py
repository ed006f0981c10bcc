"""`recv`: print messages that have come, each one at least once."""

import time
from typing import TYPE_CHECKING

import click

from p2pnode.cli.history import shown
from p2pnode.cli.notices import notice
from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags

if TYPE_CHECKING:
    from p2pnode.client import BlockingClient

STEP = 30.0
"""Seconds of one wait for events."""

PAGE = 100
"""Events taken at once."""


@click.command("recv")
@click.option("--follow", is_flag=True, help="Go on printing until interrupted.")
@click.option("--timeout", type=click.FloatRange(0, 86_400), metavar="S", help="Wait this long.")
@click.option("--consumer", default="cli", metavar="C", help="Whose place in the stream (cli).")
@flags
@click.pass_obj
def command(terminal: Terminal, follow: bool, timeout: float | None, consumer: str) -> None:
    """Print messages not printed before, then exit (0 also when there are none).

    With --timeout it waits that long for the first one; with --follow it goes on, until the
    timeout if one is given. A message is acknowledged after its line was written, so one that a
    crash cut off comes again. Each consumer gets every message.
    """
    end = None if timeout is None and follow else time.monotonic() + (timeout or 0.0)
    printed = False
    with terminal.client() as client:
        while True:
            left = STEP if end is None else min(STEP, max(0.0, end - time.monotonic()))
            taken, some = _page(terminal, client, consumer, left)
            printed = printed or some
            if taken == PAGE:
                end = end if follow else time.monotonic()  # only what is there already
            elif (printed and not follow) or (end is not None and time.monotonic() >= end):
                return


def _page(
    terminal: Terminal, client: "BlockingClient", consumer: str, wait: float
) -> tuple[int, bool]:
    """Print one page of events; return how many were taken, and whether any was printed."""
    from p2pnode.schema import AckEvents, TakeEvents

    page = client.call(TakeEvents(consumer, limit=PAGE, timeout=wait))
    printed = False
    cursor = None
    try:
        for event in page.events:
            if event.kind == "message.received" and event.message is not None:
                terminal.show(event.message, shown(event.message))
                printed = True
            elif told := notice(event):
                terminal.talk(f"! {told}")
            cursor = event.cursor
    finally:
        if cursor is not None:
            client.call(AckEvents(consumer, cursor))
    return len(page.events), printed
