"""`redact`: ask the recipient to remove a message of one's own."""

import click

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import flags


@click.command("redact")
@click.argument("message", metavar="ID")
@flags
@click.pass_obj
def command(terminal: Terminal, message: str) -> None:
    """Ask the recipient to remove a message you wrote. It is a request, and no more than that.

    ID is what `send` printed, or its beginning (four characters or more).
    """
    from p2pnode.schema import Redact

    with terminal.client() as client:
        asked = client.call(Redact(message))
    terminal.show(asked, f"{clean(asked.to)} is asked to remove it, when this reaches them")
    terminal.talk("Whether they do, or read it before, nobody can tell you.")
