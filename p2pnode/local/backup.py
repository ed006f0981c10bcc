"""`backup`: write a backup, with the daemon running or without; or make a home of one."""

import os
from pathlib import Path

import click
import msgspec

from p2pnode import disk
from p2pnode.cli.terminal import Terminal, as_daemon, clean
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, NoDaemon, StoreError, StoreFull
from p2pnode.local import restore
from p2pnode.local.passphrase import what_opens
from p2pnode.schema import BackupMade, CreateBackup

LONG = 3_600.0
"""Seconds a backup of a long history may take on a slow card."""

STOP = "Stop the daemon first, then make the backup"

ROW = 6
"""Words of a phrase on one line."""


@click.group("backup")
@flags
def command() -> None:
    """Write a backup, or make a home of one."""


@command.command("create", short_help="Write a backup, under a fresh phrase.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--history", is_flag=True, help="With all messages.")
@click.option(
    "--phrase-file", type=click.Path(path_type=Path), help="Write the phrase there; do not show it."
)
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Holds the passphrase.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The key file given to init.")
@flags
@click.pass_obj
def create(
    terminal: Terminal,
    path: Path,
    history: bool,
    phrase_file: Path | None,
    passphrase_file: Path | None,
    key_file: Path | None,
) -> None:
    """Write a backup of identity, contacts and settings to a new file, under a fresh phrase.

    The phrase is shown once. Whoever has both can be you: keep them apart.
    """
    from p2pnode.cli import secrets

    home = terminal.home
    if not home.exists:
        raise StoreError(f"there is no identity in {home.root}", hint="First: p2pnode init")
    if passphrase_file is not None and key_file is not None:
        raise InvalidInput("give --passphrase-file or --key-file, not both")
    for place in (path, phrase_file):
        if place is not None and os.path.lexists(place):
            raise InvalidInput(f"{place} is there already", hint="Name a file that is not.")
    passphrase = None
    if passphrase_file is not None:
        passphrase = secrets.from_file(passphrase_file)
    elif key_file is None and what_opens(home.vault_key) == "passphrase":
        passphrase = secrets.typed(terminal, twice=False)
    made = _made(terminal, path.absolute(), history, passphrase, key_file)
    if phrase_file is not None:
        _keep(phrase_file, made.phrase, path)
        made = msgspec.structs.replace(made, phrase="")  # it is nowhere else
    if terminal.json:
        terminal.record(made)
    else:
        words = made.phrase.split()
        for at in range(0, len(words), ROW):
            terminal.line("  " + " ".join(f"{word:9}" for word in words[at : at + ROW]).rstrip())
    what = f"{made.messages} messages" if history else "no messages (they take --history)"
    people = "contact" if made.contacts == 1 else "contacts"
    terminal.talk(f"{clean(made.place)}: {made.contacts} {people}, {what}, {made.bytes} bytes")
    where = "is shown this once" if phrase_file is None else f"is in {phrase_file}"
    terminal.talk(f"The phrase {where}. Whoever has file and phrase can be you: keep them apart.")
    terminal.talk(
        "Make a new backup when you have new contacts; it does not open with this phrase."
    )


def _made(
    terminal: Terminal, path: Path, history: bool, passphrase: bytes | None, key_file: Path | None
) -> BackupMade:
    from p2pnode.cli import secrets

    try:
        with as_daemon(terminal.home), terminal.client(patience=LONG) as client:
            return client.call(
                CreateBackup(
                    str(path),
                    history=history,
                    passphrase=secrets.as_text(passphrase or b"", instead=STOP),
                    key_file=str(key_file.absolute()) if key_file is not None else "",
                )
            )
    except NoDaemon:
        return _without_daemon(terminal, path, history, passphrase, key_file)


def _without_daemon(
    terminal: Terminal, path: Path, history: bool, passphrase: bytes | None, key_file: Path | None
) -> BackupMade:
    from contextlib import closing, suppress

    from p2pnode import backup
    from p2pnode.daemon import check_owner
    from p2pnode.engine.clock import wall_time
    from p2pnode.home import home_lock
    from p2pnode.store import keys, sealed_file
    from p2pnode.store.vault import Vault
    from p2pnode.turns import backups

    home = terminal.home
    check_owner(home)
    key = keys.unlock(home.vault_key, passphrase=passphrase, key_file=key_file)
    phrase = sealed_file.new_phrase()
    with home_lock(home), closing(Vault.open(home.vault, key)) as vault:
        made = backup.create(home, key, path, phrase, history=history)
        with suppress(StoreFull), vault.transaction():  # it is made; only when is not noted
            backups.note(vault, made.newest, wall_time())
    return backup.shown(made, path, phrase)


def _keep(place: Path, phrase: str, made: Path) -> None:
    """Write the phrase of a backup; a backup whose phrase is lost goes. Raises StoreError."""
    try:
        disk.write(place, f"{phrase}\n".encode(), replace=False)
    except OSError as error:
        hint = "No backup was made."
        try:
            made.unlink()
        except OSError:  # of the machine's node, say
            hint = f"Delete {made}, which nobody can open, and make another."
        raise StoreError(
            f"the phrase cannot be written to {place}", why=error.strerror or "", hint=hint
        ) from None


command.add_command(restore.command, "restore")
