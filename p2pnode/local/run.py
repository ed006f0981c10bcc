"""`run`: be the daemon, in the foreground."""

import sys
import time
from pathlib import Path

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, StoreError, WrongPassphrase

WRONG_PASSPHRASE_PAUSE = 2.0
"""Seconds a wrong passphrase costs beyond the work of trying it."""


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
    until `p2pnode unlock`.
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
    home = terminal.home
    if finish(terminal, home):
        return
    if not home.exists:
        raise StoreError(
            f"there is no identity in {home.root}", hint="First: p2pnode init --name NAME"
        )
    config = load(home.config, plugins.names())
    passphrase = secrets.from_file(passphrase_file) if passphrase_file is not None else None
    kind = keys.kind(home.vault_key)
    given = passphrase is not None or key_file is not None
    if kind == "passphrase" and not given and not locked and sys.stdin.isatty():
        passphrase = secrets.typed(terminal, twice=False)
        given = True
    if kind != "none" and not given:
        terminal.talk("The vault stays locked: this node carries for its friends, and no more.")
    try:
        run(home, config, passphrase=passphrase, key_file=key_file, talk=terminal.talk)
    except WrongPassphrase:
        time.sleep(WRONG_PASSPHRASE_PAUSE)
        raise
