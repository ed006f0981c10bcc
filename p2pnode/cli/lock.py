"""`lock`: close the vault of a running daemon."""

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags

LONG = 120.0
"""Seconds a small board may take to end what is under way."""


@click.command("lock")
@flags
@click.pass_obj
def command(terminal: Terminal) -> None:
    """Close the vault of a running node: it carries for its friends, and no more, until unlocked.

    What is on its way waits in the vault. The node forgets the vault's key as far as a program in
    Python can; docs/operations.md tells how far that is.
    """
    from p2pnode.schema import GetStatus, Lock

    with terminal.client(patience=LONG) as client:
        if client.call(GetStatus()).locked:
            terminal.talk("It is locked already.")
            return
        done = client.call(Lock())
    terminal.show(done, "Locked. Open it again: p2pnode unlock")
