"""`verify`: compare fingerprints with a contact, in person."""

import click

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import contact_names, flags
from p2pnode.errors import InvalidInput, UntrustedKey


@click.command("verify")
@click.argument("name", shell_complete=contact_names)
@click.option("--yes", "answer", flag_value="yes", default=None, help="They are the same.")
@click.option("--no", "answer", flag_value="no", help="They are not: send nothing more.")
@click.option("--fingerprint", metavar="TEXT", help="What the contact's own device shows.")
@flags
@click.pass_obj
def command(terminal: Terminal, name: str, answer: str | None, fingerprint: str | None) -> None:
    """Compare fingerprints: what you see for the contact is what its own device says, and back.

    Exits 5 when they differ.
    """
    from p2pnode.schema import ContactRef, GetIdentity, VerifyContact

    if answer and fingerprint is not None:
        raise InvalidInput("--fingerprint answers by itself", hint="Leave out --yes or --no")
    with terminal.client() as client:
        contact = client.call(ContactRef(name))
        who = clean(contact.name)
        if fingerprint is not None:
            if _bare(fingerprint) != _bare(contact.fingerprint):
                raise UntrustedKey(
                    f"this is not {who}'s fingerprint; nothing was recorded",
                    hint=f"If it was typed right: p2pnode verify {who} --no",
                )
            answer = "yes"
        if answer is None:
            own = client.call(GetIdentity())
            terminal.talk(f"{who}:  {clean(contact.fingerprint)}\n  {' '.join(contact.words)}")
            terminal.talk(f"you:  {clean(own.fingerprint)}\n  {' '.join(own.words)}")
            same = terminal.confirmed("The same on both devices?")
            if same is None:
                raise UntrustedKey(
                    f"{who} is not verified; nothing was recorded",
                    hint="Answer y or n, when you are together",
                )
            answer = "yes" if same else "no"
        found = client.call(VerifyContact(name, answer == "yes"))
    if answer == "no":
        raise UntrustedKey(
            f"{who}'s key is not the one {who} has; nothing more is sent",
            why="somebody may stand between you",
            hint=f"Meet, remove the contact and pair again: p2pnode contacts remove {who}",
        )
    terminal.show(found, f"{who} is verified in person")


def _bare(fingerprint: str) -> str:
    return "".join(char for char in fingerprint.upper() if char.isalnum())
