"""`repair`: make a damaged home whole, as far as its bytes allow."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, StoreError
from p2pnode.schema import Repaired

if TYPE_CHECKING:
    from p2pnode.repair import Found, Saved

ANEW = """What still reads goes into a new vault, which begins anew with all contacts, as a restored
one does: each is told. Messages that were to disappear go; what was not delivered yet is sent
again. A backup may hold more: p2pnode --home DIR restore FILE."""

UNREAD = {
    "contacts": "Not all contacts could be read: pair again with whom you miss.",
    "messages": "Not all messages could be read.",
    "addresses": "Not all addresses of contacts could be read: they tell them when you meet.",
    "conversations": "Not all agreements could be read: see p2pnode retention and disappear.",
}
"""What a person is told of a table of which something does not read; of keys, whose they are."""


@click.command("repair")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Holds the passphrase.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The key file given to init.")
@click.option("--yes", is_flag=True, help="Do not ask before a vault is made anew.")
@flags
@click.pass_obj
def command(
    terminal: Terminal, passphrase_file: Path | None, key_file: Path | None, yes: bool
) -> None:
    """Look at both stores, and renew what is damaged out of what still reads.

    The daemon must not run. Damaged files are set aside, not deleted. A sound store stays as it is.
    """
    from p2pnode import repair
    from p2pnode.cli import secrets
    from p2pnode.daemon import check_owner
    from p2pnode.home import home_lock
    from p2pnode.local.erase import finish
    from p2pnode.store import keys

    home = terminal.own_home
    if finish(terminal, home):
        return
    if not home.exists:
        raise StoreError(f"there is no identity in {home.root}", hint="First: p2pnode init")
    if passphrase_file is not None and key_file is not None:
        raise InvalidInput("give --passphrase-file or --key-file, not both")
    check_owner(home)
    passphrase = None
    if passphrase_file is not None:
        passphrase = secrets.from_file(passphrase_file)
    elif key_file is None and keys.kind(home.vault_key) == "passphrase":
        passphrase = secrets.typed(terminal, twice=False)
    with home_lock(home):
        key = keys.unlock(home.vault_key, passphrase=passphrase, key_file=key_file)
        found = repair.look(home, key)
        for what in filter(None, found):
            terminal.talk(f"! {clean(what)}")
        saved = None
        if found.vault and _may(terminal, yes=yes):
            terminal.talk("Reading what is left; until a new vault is whole the old one stays.")
            saved = repair.renew_vault(home, key)
        if found.custody and (saved is not None or not found.vault):
            repair.renew_custody(home, key)
    _tell(terminal, found, saved)


def _may(terminal: Terminal, *, yes: bool) -> bool:
    """Ask whether the vault shall be made anew. Raises InvalidInput when nobody can be asked."""
    if yes:
        return True
    if terminal.json:
        raise InvalidInput("nobody can be asked with --json", hint="Add --yes")
    terminal.talk(ANEW)
    return terminal.confirmed("Make a new vault?") is True


def _tell(terminal: Terminal, found: "Found", saved: "Saved | None") -> None:
    if found.vault and saved is None:
        terminal.talk("Nothing was changed.")
        raise click.Abort
    done = Repaired(
        vault="new" if saved is not None else "sound",
        custody="new" if found.custody else "sound",
        contacts=saved.contacts if saved is not None else 0,
        messages=saved.messages if saved is not None else 0,
        lost=saved.lost if saved is not None else [],
        unread=saved.unread if saved is not None else [],
    )
    lines = [f"vault: {done.vault} | custody: {done.custody}"]
    if saved is not None:
        lines.append(f"saved: {saved.contacts} contacts, {saved.messages} messages")
    terminal.show(done, "\n".join(lines))
    for name in done.lost:
        terminal.talk(f"! The keys shared with {clean(name)} cannot be read: pair again")
    for what in done.unread:
        if what in UNREAD:
            terminal.talk(f"! {UNREAD[what]}")
    if found.custody:
        terminal.talk("What was carried for others is lost here; others carry copies of it.")
    if found.vault or found.custody:
        terminal.talk(
            "The damaged files are beside the new ones, as *.damaged-N. Next: p2pnode run"
        )
