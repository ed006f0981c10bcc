"""How a person or a script gives the vault's passphrase."""

import sys
from pathlib import Path

from p2pnode.cli.terminal import Terminal
from p2pnode.errors import Denied, InvalidInput

MAX_PASSPHRASE = 4_096
"""Bytes of a passphrase file that are read."""


def from_file(path: Path) -> bytes:
    """Return a file's content less one trailing newline. Raises InvalidInput or Denied."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PASSPHRASE + 2)
    except PermissionError:
        raise Denied(f"{path} cannot be read", hint="Look at its owner and mode.") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read", why=error.strerror or "") from None
    found = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not found:
        raise InvalidInput("the passphrase file is empty", why=str(path))
    if len(found) > MAX_PASSPHRASE:
        raise InvalidInput(f"the passphrase is longer than {MAX_PASSPHRASE} bytes")
    return found


def open_to_others(path: Path) -> bool:
    """Return whether other users of the machine can read a file."""
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def as_text(passphrase: bytes, *, instead: str) -> str:
    """Return a passphrase as the API takes it; instead: what to do when that does not go.

    Raises InvalidInput.
    """
    try:
        return passphrase.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the passphrase is no UTF-8", hint=instead) from None


def typed(
    terminal: Terminal, *, twice: bool, ask: str = "Passphrase: ", options: str = "--"
) -> bytes:
    """Ask for the passphrase on the terminal, unseen. Raises InvalidInput when there is none.

    options: how the options begin that give it another way.
    """
    import getpass

    if not sys.stdin.isatty():
        raise InvalidInput(
            "no terminal to ask for the passphrase on",
            hint=f"Give {options}passphrase-file FILE"
            + (f", {options}key-file FILE, or --no-passphrase" if twice else " or --key-file FILE"),
        )
    try:
        first = getpass.getpass(ask)
        if not first:
            raise InvalidInput("the passphrase is empty", hint="Or choose: --no-passphrase")
        if twice and getpass.getpass("Again: ") != first:
            raise InvalidInput("the two differ", hint="Nothing was done; try again.")
        return first.encode()
    except UnicodeError:
        raise InvalidInput(
            "the passphrase is no UTF-8", hint=f"Give {options}passphrase-file FILE"
        ) from None


def for_new_vault(
    terminal: Terminal, passphrase_file: Path | None, key_file: Path | None, none: bool
) -> bytes | None:
    """Return the passphrase a new vault shall have; None where it gets a key file, or nothing.

    Raises InvalidInput or Denied.
    """
    if sum((passphrase_file is not None, key_file is not None, none)) > 1:
        raise InvalidInput("choose one of --passphrase-file, --key-file and --no-passphrase")
    if passphrase_file is not None:
        return from_file(passphrase_file)
    if key_file is None and not none:
        return typed(terminal, twice=True)
    return None
