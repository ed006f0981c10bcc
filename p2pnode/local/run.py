"""`run`: be the daemon, in the foreground."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, StoreError, WrongPassphrase

if TYPE_CHECKING:
    from p2pnode.store.keys import Kind, Secret

WRONG_PASSPHRASE_PAUSE = 2.0
"""Seconds a wrong passphrase costs beyond the work of trying it."""

CREDENTIALS: "dict[Kind, str]" = {"passphrase": "p2pnode-passphrase", "key-file": "p2pnode-key"}
"""What opens the vault → name of the systemd credential that holds it."""


@click.command("run")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Holds the passphrase.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The key file given to init.")
@click.option("--locked", is_flag=True, help="Do not ask: carry only, until `p2pnode unlock`.")
@flags
@click.pass_obj
def command(
    terminal: Terminal, passphrase_file: Path | None, key_file: Path | None, locked: bool
) -> None:
    """Run the node until it is told to stop (Ctrl-C, SIGTERM).

    Without the passphrase or key file its vault needs it carries sealed envelopes for its friends,
    until `p2pnode unlock`. Under systemd the credentials p2pnode-passphrase and p2pnode-key are
    taken when they are there.
    """
    from p2pnode import plugins
    from p2pnode.cli import secrets
    from p2pnode.config import load
    from p2pnode.daemon import run
    from p2pnode.local.erase import finish
    from p2pnode.store import keys

    if passphrase_file is not None and key_file is not None:
        raise InvalidInput("give --passphrase-file or --key-file, not both")
    if locked and (passphrase_file is not None or key_file is not None):
        raise InvalidInput("--locked goes without --passphrase-file and --key-file")
    home = terminal.own_home
    if finish(terminal, home):
        return
    if not home.exists:
        raise StoreError(
            f"there is no identity in {home.root}", hint="First: p2pnode init --name NAME"
        )
    config = load(home.config, plugins.names())
    kind = keys.kind(home.vault_key)
    secret, found = None, False
    if passphrase_file is not None:
        secret = keys.Secret(secrets.from_file(passphrase_file))
    elif key_file is not None:
        secret = keys.Secret(key_file=key_file)
    elif not locked and kind != "none":
        secret = _credential(kind)
        found = secret is not None
        if kind == "passphrase" and not found and sys.stdin.isatty():
            secret = keys.Secret(secrets.typed(terminal, twice=False))
    for file in (passphrase_file, key_file):
        if file is not None and secrets.open_to_others(file):
            terminal.talk(f"! Other users of this machine can read {file}: chmod 600 {file}")
    if kind != "none" and secret is None:
        terminal.talk("The vault stays locked: this node carries for its friends, and no more.")
    try:
        # A box that nobody is at goes on carrying when its credential no longer fits.
        run(home, config, secret, terminal.talk, else_locked=found)
    except WrongPassphrase:
        time.sleep(WRONG_PASSPHRASE_PAUSE)
        raise


def _credential(kind: "Kind") -> "Secret | None":
    """Return the secret that systemd passes to this service, if it does."""
    from p2pnode.cli import secrets
    from p2pnode.store.keys import Secret

    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder.startswith("/"):
        return None
    path = Path(folder) / CREDENTIALS[kind]
    if not os.access(path, os.R_OK):  # systemd closes the folder when no credential is in it
        return None
    return Secret(secrets.from_file(path)) if kind == "passphrase" else Secret(key_file=path)
