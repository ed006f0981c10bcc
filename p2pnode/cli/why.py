"""`why`: the events behind a message's state."""

import click

from p2pnode.cli.terminal import Terminal, clean, moment
from p2pnode.cli.verbs import flags


@click.command("why")
@click.argument("message", metavar="ID")
@flags
@click.pass_obj
def command(terminal: Terminal, message: str) -> None:
    """Tell what happened to a message so far, and what it means.

    ID is what `send` printed, or its beginning (four characters or more).
    """
    from p2pnode.schema import Why

    with terminal.client() as client:
        because = client.call(Why(message))
    lines = [f"{moment(event.at)}  {clean(event.text)}" for event in because.events]
    lines.append(clean(because.summary))
    terminal.show(because, "\n".join(lines))
