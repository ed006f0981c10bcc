"""`unlock`: open the vault of a daemon that runs locked."""

from pathlib import Path

import click

from p2pnode.cli import secrets
from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput

LONG = 120.0
"""Seconds a small board may take to try a passphrase."""


@click.command("unlock")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Holds the passphrase.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key file given to init.",
)
@flags
@click.pass_obj
def command(terminal: Terminal, passphrase_file: Path | None, key_file: Path | None) -> None:
    """Open the vault of a node that only carries, and let it do all the rest.

    What came for you meanwhile is there at once. An open vault stays as it is.
    """
    from p2pnode.schema import GetStatus, Unlock

    if passphrase_file is not None and key_file is not None:
        raise InvalidInput("give --passphrase-file or --key-file, not both")
    with terminal.client(patience=LONG) as client:
        if not client.call(GetStatus()).locked:
            terminal.talk("It is open already.")
            return
        if key_file is not None:
            request = Unlock(key_file=str(key_file.resolve()))
        elif passphrase_file is not None:
            request = Unlock(passphrase=_text(secrets.from_file(passphrase_file)))
        else:
            request = Unlock(passphrase=_text(secrets.typed(terminal, twice=False)))
        done = client.call(request)
    terminal.show(done, "Unlocked.")


def _text(passphrase: bytes) -> str:
    return secrets.as_text(passphrase, instead="Start with it: p2pnode run")
