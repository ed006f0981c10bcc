"""`passphrase`: change what opens the vault, with the daemon running or without."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, NoDaemon, StoreError
from p2pnode.schema import ChangeSecret, Done

if TYPE_CHECKING:
    from p2pnode.store.keys import Kind, Secret

LONG = 120.0
"""Seconds a small board may take to try one passphrase and to prepare another."""


@click.command("passphrase")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Holds the one of now.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The key file of now.")
@click.option("--new-passphrase-file", type=click.Path(path_type=Path), help="Holds the new one.")
@click.option("--new-key-file", type=click.Path(path_type=Path), help="Holds the new key.")
@click.option(
    "--no-passphrase", is_flag=True, help="Keep the key beside the vault, open to any reader."
)
@flags
@click.pass_obj
def command(
    terminal: Terminal,
    passphrase_file: Path | None,
    key_file: Path | None,
    new_passphrase_file: Path | None,
    new_key_file: Path | None,
    no_passphrase: bool,
) -> None:
    """Change what opens the vault: to another passphrase, a key file, or nothing.

    A node that runs stays as it is, open or locked; its next start or unlock takes the new one.
    """
    from p2pnode.cli import secrets
    from p2pnode.local.erase import finish
    from p2pnode.store import keys

    home = terminal.home
    if finish(terminal, home):
        return
    if not home.exists:
        raise StoreError(f"there is no identity in {home.root}", hint="First: p2pnode init")
    if passphrase_file is not None and key_file is not None:
        raise InvalidInput("give --passphrase-file or --key-file, not both")
    kind = what_opens(home.vault_key)
    if sum((new_passphrase_file is not None, new_key_file is not None, no_passphrase)) > 1:
        raise InvalidInput("choose one of --new-passphrase-file, --new-key-file, --no-passphrase")
    old = keys.Secret(key_file=key_file.absolute() if key_file is not None else None)
    if passphrase_file is not None:
        old.passphrase = secrets.from_file(passphrase_file)
    elif kind == "passphrase" and key_file is None:
        old.passphrase = secrets.typed(terminal, twice=False, ask="Passphrase so far: ")
    new = keys.Secret(key_file=new_key_file.absolute() if new_key_file is not None else None)
    if new_passphrase_file is not None:
        new.passphrase = secrets.from_file(new_passphrase_file)
    elif new_key_file is None and not no_passphrase:
        new.passphrase = secrets.typed(
            terminal, twice=True, ask="New passphrase: ", options="--new-"
        )
    terminal.show(_changed(terminal, old, new), "Changed. From now on the new one opens the vault.")
    _talk(terminal, was_open=kind == "none", is_open=no_passphrase)


def what_opens(vault_key: Path) -> "Kind":
    """Return what opens a vault; of one that only its daemon may look into, a passphrase as a rule.

    Raises what `keys.kind` raises.
    """
    from p2pnode.store import keys

    try:
        vault_key.stat()
    except PermissionError:
        return "passphrase"
    return keys.kind(vault_key)


def _changed(terminal: Terminal, old: "Secret", new: "Secret") -> Done:
    from p2pnode.cli.secrets import as_text
    from p2pnode.daemon import check_owner
    from p2pnode.home import home_lock
    from p2pnode.store import keys

    stop = "Stop the daemon first, then change it"
    try:
        with terminal.client(patience=LONG) as client:
            return client.call(
                ChangeSecret(
                    as_text(old.passphrase or b"", instead=stop),
                    str(old.key_file or ""),
                    as_text(new.passphrase or b"", instead=stop),
                    str(new.key_file or ""),
                )
            )
    except NoDaemon:
        check_owner(terminal.home)
        with home_lock(terminal.home):
            keys.change(terminal.home.vault_key, old, new)
        return Done()


def _talk(terminal: Terminal, *, was_open: bool, is_open: bool) -> None:
    """Say what changing it does not do."""
    if is_open:
        terminal.talk(
            "! No passphrase: whoever reads this disk reads your messages and can pose as you."
        )
    if was_open:
        terminal.talk(
            "Copies of this disk made before are open, and it may keep the bare key somewhere. If"
            " that matters: make a backup, restore it into a new home, erase this one."
        )
        return
    terminal.talk("Copies of this disk made before still open with the old one.")
    terminal.talk("If a file or a credential opens the vault at each start, renew that too.")
