"""`history`: a conversation, in causal order."""

from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, ago, clean, clean_lines, moment
from p2pnode.cli.verbs import contact_names, flags

if TYPE_CHECKING:
    from p2pnode.schema import Message


@click.command("history")
@click.argument("name", shell_complete=contact_names)
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, help="How many (100).")
@click.option("--before", default="", metavar="ID", help="Only what came before this message.")
@flags
@click.pass_obj
def command(terminal: Terminal, name: str, limit: int, before: str) -> None:
    """Print the newest messages with a contact, oldest first."""
    from p2pnode.schema import GetHistory

    with terminal.client() as client:
        history = client.call(GetHistory(name, limit, before))
    for message in history.messages:
        terminal.show(message, shown(message))


def shown(message: "Message") -> str:
    """Return a message as people read it: caption, who, text, and what is not obvious."""
    mine = not message.from_
    notes: list[str] = [message.state] if mine and message.state != "read" else []
    if message.missing:
        notes.append(f"{message.missing} earlier missing")
    if message.span:
        notes.append(f"disappears after {ago(message.span)}")
    text = clean_lines(message.text, indent="    ")
    if message.redacted:
        by = "you" if mine else clean(message.from_)
        text = f"{text}  [{by} asked to remove this]".strip()
    tail = f"  ({', '.join(notes)})" if notes else ""
    who = "me" if mine else clean(message.from_)
    return f"{moment(message.at)}  {who}: {text}{tail}"
