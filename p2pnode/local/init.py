"""`init`: make an identity and the stores it lives in."""

from pathlib import Path

import click

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import flags
from p2pnode.config import Home
from p2pnode.errors import InvalidInput


@click.command("init")
@click.option("--name", metavar="N", help="What contacts are told you are called.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Holds the passphrase.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Holds 32 or more random bytes.")
@click.option(
    "--no-passphrase", is_flag=True, help="Keep the key beside the vault, open to any reader."
)
@click.option(
    "--system", is_flag=True, help="Make the machine's node, which runs as the user p2pnode (root)."
)
@flags
@click.pass_obj
def command(
    terminal: Terminal,
    name: str | None,
    passphrase_file: Path | None,
    key_file: Path | None,
    no_passphrase: bool,
    system: bool,
) -> None:
    """Make your identity: an account, this device's keys, and an encrypted store."""
    from p2pnode.cli import secrets
    from p2pnode.config import SYSTEM, load
    from p2pnode.home import create_home
    from p2pnode.local.erase import finish
    from p2pnode.service.machine import create_machine_home, service_user

    if sum((passphrase_file is not None, key_file is not None, no_passphrase)) > 1:
        raise InvalidInput("choose one of --passphrase-file, --key-file and --no-passphrase")
    home = new_home(terminal, system=system)
    system = home == SYSTEM
    owner = service_user() if system else None
    finish(terminal, home)
    chosen = name or load(home.config).node.name
    if not chosen:
        raise InvalidInput("this node needs a name", hint="For example: p2pnode init --name ana")
    if home.exists:
        raise InvalidInput(
            "there is an identity here already",
            why=str(home.root),
            hint="Use it: p2pnode run. Or name another place: --home DIR",
        )
    passphrase = secrets.for_new_vault(terminal, passphrase_file, key_file, no_passphrase)
    if owner is not None:
        made = create_machine_home(home, chosen, owner, passphrase=passphrase, key_file=key_file)
    else:
        made = create_home(home, chosen, passphrase=passphrase, key_file=key_file)
    if terminal.json:
        terminal.record(made)
    else:
        terminal.line(f"Name         {clean(made.name)}")
        terminal.line(f"Fingerprint  {made.fingerprint}")
        terminal.line(f"As words     {' '.join(made.words)}")
    where = "not protected" if no_passphrase else "encrypted"
    terminal.talk(f"Store        {home.root} ({where})")
    if no_passphrase:
        terminal.talk(
            "! No passphrase: whoever reads this disk reads your messages and can pose as you."
        )
    terminal.talk("! No backup yet. Once you have contacts: p2pnode backup create FILE")
    tell_next(terminal, passphrase_file or key_file, key=key_file is not None, system=system)
    if system and not no_passphrase:
        terminal.talk("Without that it carries for friends after a start, until: p2pnode unlock")


def new_home(terminal: Terminal, *, system: bool) -> Home:
    """Return where a home is to be made: the machine's with --system, else this person's.

    Raises InvalidInput.
    """
    from p2pnode.config import SYSTEM

    if system and terminal.own_home != SYSTEM and terminal.home_name:
        raise InvalidInput("--system and --home name two places", hint="Choose one of them")
    return SYSTEM if system else terminal.own_home


def tell_next(terminal: Terminal, secret: Path | None, *, key: bool, system: bool) -> None:
    """Say what to do with a new home. secret: the file that opens it; key: it is a key file."""
    if not system:
        terminal.talk("Next: p2pnode run     (always on: p2pnode service install)")
        return
    terminal.talk("Next: sudo p2pnode service install --system")
    if secret is not None:
        terminal.talk(
            f"To open the vault at each start: sudo install -Dm 600 {clean(str(secret))}"
            f" /etc/credstore/p2pnode-{'key' if key else 'passphrase'}"
        )
