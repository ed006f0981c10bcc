"""`contacts`: the address book."""

import time
from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, ago, clean
from p2pnode.cli.verbs import DefaultGroup, contact_names, flags

if TYPE_CHECKING:
    from p2pnode.schema import Contact

CHECKED = {
    "no": "not verified",
    "words": "words compared",
    "scan": "codes scanned",
    "person": "verified in person",
}


DOUBTS = {
    "mismatch": "fingerprints differ",
    "rollback": "set back to an old state",
    "clone": "two copies in use",
    "replaced": "says you were restored elsewhere",
}


class _Contacts(DefaultGroup):
    default = "list"


@click.group("contacts", cls=_Contacts)
@flags
def command() -> None:
    """List, rename, remove or block contacts. `p2pnode contacts` alone lists them."""


@command.command("list")
@flags
@click.pass_obj
def list_(terminal: Terminal) -> None:
    """List all contacts."""
    from p2pnode.schema import ListContacts

    with terminal.client() as client:
        found = client.call(ListContacts())
    if terminal.json:
        terminal.record(found)
        return
    for contact in found.contacts:
        terminal.line(_line(contact))
    if not found.contacts:
        terminal.talk("Nobody yet. Meet somebody and run: p2pnode pair")


@command.command("show")
@click.argument("name", shell_complete=contact_names)
@flags
@click.pass_obj
def show(terminal: Terminal, name: str) -> None:
    """Show one contact, with its fingerprint."""
    from p2pnode.schema import ContactRef

    with terminal.client() as client:
        found = client.call(ContactRef(name))
    lines = [
        _line(found),
        f"calls itself {clean(found.hint)}",
        f"fingerprint  {clean(found.fingerprint)}",
        f"in words     {clean(' '.join(found.words))}",
    ]
    terminal.show(found, "\n".join(lines))


@command.command("rename")
@click.argument("name", shell_complete=contact_names)
@click.argument("new")
@flags
@click.pass_obj
def rename(terminal: Terminal, name: str, new: str) -> None:
    """Call a contact something else. Only you see it."""
    from p2pnode.schema import RenameContact

    with terminal.client() as client:
        found = client.call(RenameContact(name, new))
    terminal.show(found, f"{clean(name)} is now {clean(found.name)}")


@command.command("remove")
@click.argument("name", shell_complete=contact_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
@flags
@click.pass_obj
def remove(terminal: Terminal, name: str, yes: bool) -> None:
    """Forget a contact: its keys, messages and addresses."""
    from p2pnode.schema import ContactRef, RemoveContact

    with terminal.client() as client:
        found = client.call(ContactRef(name))
        question = f"Forget {clean(found.name)}, with all messages? This cannot be undone."
        if not yes and not terminal.sure(question):
            raise click.Abort
        done = client.call(RemoveContact(name))
    terminal.show(done, f"{clean(found.name)} is forgotten")


@command.command("rotate-address", short_help="Give a contact other addresses, such as an onion.")
@click.argument("name", shell_complete=contact_names)
@flags
@click.pass_obj
def rotate_address(terminal: Terminal, name: str) -> None:
    """Give a contact other addresses (such as another onion); the old ones serve until then."""
    from p2pnode.schema import RotateAddress

    with terminal.client() as client:
        done = client.call(RotateAddress(name))
    terminal.show(done, f"{clean(name)} is told new addresses on the next link")


@command.command("block")
@click.argument("name", shell_complete=contact_names)
@flags
@click.pass_obj
def block(terminal: Terminal, name: str) -> None:
    """Take nothing from a contact, and send it nothing."""
    _block(terminal, name, blocked=True)


@command.command("unblock")
@click.argument("name", shell_complete=contact_names)
@flags
@click.pass_obj
def unblock(terminal: Terminal, name: str) -> None:
    """Let a blocked contact write again."""
    _block(terminal, name, blocked=False)


def _block(terminal: Terminal, name: str, *, blocked: bool) -> None:
    from p2pnode.schema import BlockContact

    with terminal.client() as client:
        found = client.call(BlockContact(name, blocked))
    terminal.show(found, f"{clean(found.name)} is {'blocked' if blocked else 'not blocked'}")


def _line(contact: "Contact") -> str:
    if contact.online:
        seen = "here now"
    elif contact.last_seen is None:
        seen = "never seen"
    else:
        seen = f"seen {ago(max(0.0, time.time() - contact.last_seen))} ago"
    state = f"{contact.state} ({DOUBTS[contact.doubt]})" if contact.doubt else contact.state
    return f"{clean(contact.name)}  {state}  {CHECKED[contact.verified]}  {seen}"
