"""`send`: write to a contact."""

import sys

import click

from p2pnode.cli.terminal import Terminal, clean, read_stdin
from p2pnode.cli.verbs import contact_names, flags
from p2pnode.errors import InvalidInput, NotDelivered


@click.command("send")
@click.argument("name", shell_complete=contact_names)
@click.argument("text")
@click.option("--wait", type=click.Choice(["handed", "delivered"]), help="Wait for this state.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400),
    default=30.0,
    metavar="S",
    help="Seconds to wait (30).",
)
@flags
@click.pass_obj
def command(terminal: Terminal, name: str, text: str, wait: str | None, timeout: float) -> None:
    """Write TEXT to a contact; with - the text is read from stdin, less one trailing newline.

    Exits 0 as soon as the message is safely stored; it travels when it can. With --wait it exits
    6 when the state is not reached in time; the message stays queued.
    """
    from p2pnode.schema import MAX_TEXT, Send, WaitState

    if text == "-":
        text = read_stdin(MAX_TEXT)
    elif _size(text) > MAX_TEXT:
        raise InvalidInput(f"the text is longer than {MAX_TEXT} bytes", hint="Send it in parts")
    with terminal.client() as client:
        sent = client.call(Send(name, text))
        if wait is None:
            terminal.show(sent, f"{sent.state} {sent.id}")
            return
        try:
            state = client.call(
                WaitState(sent.id, "handed" if wait == "handed" else "delivered", timeout)
            ).state
        except NotDelivered as error:
            terminal.show(sent, f"{sent.state} {sent.id}")
            hint = f"It stays queued. Details: p2pnode why {sent.id}"
            raise NotDelivered(error.what, why=error.why, hint=hint) from None
        except KeyboardInterrupt:
            terminal.show(sent, f"{sent.state} {sent.id}")
            raise
    terminal.show({"id": sent.id, "state": state}, f"{clean(state)} {sent.id}")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(
            "the text is not valid UTF-8",
            why=f"this terminal writes {sys.getfilesystemencoding()}",
            hint="Check its locale",
        ) from None
