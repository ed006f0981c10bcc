"""`restore`: make a home out of a backup."""

from pathlib import Path

import click

from p2pnode.cli.terminal import Terminal, ago, clean
from p2pnode.cli.verbs import flags
from p2pnode.config import SYSTEM, Home, load
from p2pnode.errors import ConfigError, InvalidInput

MAX_PHRASE = 4_096
"""Bytes of a phrase file that are read."""


@click.command("restore")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--phrase-file", type=click.Path(path_type=Path), help="Holds the backup's phrase.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="For the new vault.")
@click.option("--key-file", type=click.Path(path_type=Path), help="For the new vault.")
@click.option(
    "--no-passphrase", is_flag=True, help="Keep the key beside the vault, open to any reader."
)
@click.option("--system", is_flag=True, help="As the machine's node, of the user p2pnode (root).")
@flags
@click.pass_obj
def command(
    terminal: Terminal,
    path: Path,
    phrase_file: Path | None,
    passphrase_file: Path | None,
    key_file: Path | None,
    no_passphrase: bool,
    system: bool,
) -> None:
    """Make a home out of a backup: the same identity on a new device.

    Every contact is told, and answers when it is met. The old device, if it still runs, must stay
    off: contacts stop writing when they hear both.
    """
    import time

    from p2pnode import backup
    from p2pnode.cli import secrets
    from p2pnode.home import shown_identity
    from p2pnode.local.erase import finish
    from p2pnode.local.init import new_home, tell_next
    from p2pnode.service.machine import given_away, service_user
    from p2pnode.store.sealed_file import phrase_secret

    home = new_home(terminal, system=system)
    owner = service_user() if home == SYSTEM else None
    finish(terminal, home)
    if home.exists:
        raise InvalidInput(
            "there is an identity here already",
            why=str(home.root),
            hint="Name another place: --home DIR",
        )
    if not path.exists():  # before anybody types eighteen words
        raise InvalidInput(f"{path} is not there", hint="Name the file of the backup")
    phrase = _phrase(terminal, phrase_file)
    phrase_secret(phrase)  # a slip in it is told before anybody types a passphrase twice
    passphrase = secrets.for_new_vault(terminal, passphrase_file, key_file, no_passphrase)

    def make(place: Home) -> backup.Restored:
        return backup.restore(place, path, phrase, passphrase=passphrase, key_file=key_file)

    made = make(home) if owner is None else given_away(home, owner, make)
    if terminal.json:
        terminal.record(shown_identity(made.own))
    else:
        said = f", {made.messages} messages" if made.messages else ", without messages"
        terminal.line(f"{clean(made.own.name)} is restored: {made.contacts} contacts{said}")
    age = ago(max(0.0, time.time() - made.made))
    terminal.talk(f"The backup is {age} old. Who became a contact since must be paired again.")
    if made.settings:
        terminal.talk(f"Settings are as they were: {home.config}")
        _tell_hook(terminal, home)
    terminal.talk("Each contact is told that you begin anew, and answers when it is met.")
    terminal.talk("Do not start the old device again.")
    secret = passphrase_file or key_file
    tell_next(terminal, secret, key=key_file is not None, system=owner is not None)


def _tell_hook(terminal: Terminal, home: Home) -> None:
    """Say which program the restored settings will run: the backup may be somebody else's work."""
    try:
        hook = load(home.config).hooks.on_message
    except ConfigError as error:  # `run` says it too, and does not begin
        terminal.talk(f"! {clean(str(error))}")
        return
    if hook:
        terminal.talk(f"! They run a program for every message that comes: {clean(' '.join(hook))}")


def _phrase(terminal: Terminal, phrase_file: Path | None) -> str:
    if phrase_file is not None:
        try:
            with phrase_file.open("rb") as file:
                return file.read(MAX_PHRASE).decode("utf-8", "replace")
        except OSError as error:
            raise InvalidInput(f"{phrase_file} cannot be read", why=error.strerror or "") from None
    typed = terminal.ask("Phrase of the backup: ")
    if typed is None:
        raise InvalidInput("no terminal to ask for the phrase on", hint="Give --phrase-file FILE")
    return typed
