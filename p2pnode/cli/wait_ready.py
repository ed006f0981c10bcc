"""`wait-ready`: wait until the API answers and the transports have started."""

import time

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import NoDaemon

POLL = 0.05
"""Seconds between two looks for a daemon that is still starting."""


@click.command("wait-ready")
@click.option(
    "--timeout", type=click.FloatRange(0, 86_400), default=30.0, metavar="S", help="Seconds (30)."
)
@flags
@click.pass_obj
def command(terminal: Terminal, timeout: float) -> None:
    """Wait until the daemon answers and its transports have started (or failed to).

    Exits 3 when that does not happen in time.
    """
    from p2pnode.schema import GetReady

    end = time.monotonic() + timeout
    while True:
        left = max(0.0, end - time.monotonic())
        try:
            with terminal.client() as client:
                if client.call(GetReady(timeout=left)).ready:
                    break
        except NoDaemon:
            if time.monotonic() >= end:
                raise
        if time.monotonic() >= end:
            raise NoDaemon(
                f"not ready after {timeout:g} s",
                why="the daemon answers, but its transports have not started",
                hint="See: p2pnode status",
            )
        time.sleep(min(POLL, max(0.0, end - time.monotonic())))
    terminal.show({"ready": True}, "ready")
