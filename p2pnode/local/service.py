"""`service`: let systemd run the node, always."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pnode import disk
from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import Denied, InvalidInput, StoreError

if TYPE_CHECKING:
    from p2pnode.config import Home
    from p2pnode.service.unit import Scope

RUNNING = Path("/run/systemd/system")
"""There while systemd is the machine's first process."""

OUT_OF_REACH = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108
"""Places the machine's service does not see (ProtectHome, PrivateTmp)."""

PATIENCE = 60.0
"""Seconds systemctl may take."""


@click.group("service")
@flags
def command() -> None:
    """Let systemd run the node: from boot on, restarted when it fails."""


def _scope(wrapped: Any) -> Any:
    for option in (
        click.option("--system", "scope", flag_value="system", help="The machine's node (root)."),
        click.option("--user", "scope", flag_value="user", help="Your own node."),
    ):
        wrapped = option(wrapped)
    return wrapped


@command.command("install")
@_scope
@click.option("--print", "only_print", is_flag=True, help="Print the unit, and write nothing.")
@flags
@click.pass_obj
def install(terminal: Terminal, scope: "Scope | None", only_print: bool) -> None:
    """Write the systemd unit and start the node. For root it is the machine's, else your own."""
    from p2pnode.service import unit

    chosen, home, named = _whose(terminal, scope)
    program = _program(chosen)
    text = unit.text(chosen, unit.arguments(program, chosen, home, named=named), home)
    if only_print:
        terminal.show({"unit": text}, text.rstrip("\n"))
        return
    path = unit.place(chosen)
    packaged = [one for one in unit.PACKAGED if one.exists()] if chosen == "system" else []
    if packaged:
        terminal.talk(f"The package's unit is there already: {packaged[0]}")
    else:
        _write(path, text)
        terminal.talk(f"Written: {path}")
    started = _systemctl(terminal, chosen, [["daemon-reload"]]) and home.exists
    if started:
        started = _systemctl(terminal, chosen, [["enable", "--now", unit.NAME]])
    _next_steps(terminal, chosen, home, started=started)
    if terminal.json:
        terminal.record({"unit": str(packaged[0] if packaged else path), "started": started})


@command.command("remove")
@_scope
@flags
@click.pass_obj
def remove(terminal: Terminal, scope: "Scope | None") -> None:
    """Stop the node and remove its unit. Identity, messages and settings stay."""
    from p2pnode.service import unit

    chosen, home, _ = _whose(terminal, scope)
    path = unit.place(chosen)
    _systemctl(terminal, chosen, [["disable", "--now", unit.NAME]])
    removed = []
    # What `systemctl enable` would have linked, for when no systemd runs that could unlink it.
    for one in (path.parent / f"{unit.WANTED_BY[chosen]}.wants" / unit.NAME, path):
        if _removed(one):
            removed.append(str(one))
            if chosen == "user":
                _prune(one.parent)
    _systemctl(terminal, chosen, [["daemon-reload"]])
    for gone in removed:
        terminal.talk(f"Removed: {gone}")
    if not removed:
        terminal.talk(f"There was no unit at {path}.")
    if home.exists:
        terminal.talk(f"Your node stays as it is in {home.root}")
    if terminal.json:
        terminal.record({"removed": removed})


def _whose(terminal: Terminal, scope: "Scope | None") -> "tuple[Scope, Home, bool]":
    """Return the scope that is meant, its home, and whether that home was named."""
    from p2pnode.config import SYSTEM

    chosen = scope or ("system" if os.geteuid() == 0 else "user")
    if chosen == "user":
        named = bool(terminal.home_name or os.environ.get("P2PNODE_HOME"))
        return chosen, terminal.own_home, named
    if terminal.home_name and terminal.own_home != SYSTEM:
        raise InvalidInput(
            f"the machine's node lives in {SYSTEM.root}", hint="Leave out --home, or use --user"
        )
    return chosen, SYSTEM, False


def _program(scope: "Scope") -> list[str]:
    """Return the command that runs this very program. Raises InvalidInput out of reach."""
    script = Path(sys.argv[0])
    if script.name == "p2pnode" and os.access(script, os.X_OK):
        found = [str(script.absolute())]
    else:
        at = shutil.which("p2pnode", path=str(Path(sys.executable).parent))
        found = [at] if at else [sys.executable, "-m", "p2pnode"]
    real = Path(found[0]).resolve()
    if scope == "system" and any(real.is_relative_to(place) for place in OUT_OF_REACH):
        raise InvalidInput(
            "the machine's service could not reach this program",
            why=f"it lies in {real.parent}, which is hidden from services",
            hint="Install the Debian package, or install it below /opt",
        )
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, text.encode())
        path.chmod(0o644)
    except PermissionError:
        raise Denied(
            f"{path} cannot be written", hint="Again with sudo, or for yourself: --user"
        ) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written", why=error.strerror or "") from None


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except PermissionError:
        raise Denied(f"{path} cannot be removed", hint="Again with sudo") from None
    return True


def _prune(folder: Path) -> None:
    """Remove directories that are empty now, up to the one that holds systemd's."""
    while folder.name != "systemd" and folder.parent.name:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
    try:
        folder.rmdir()
    except OSError:
        return


def _systemctl(terminal: Terminal, scope: "Scope", calls: Sequence[Sequence[str]]) -> bool:
    """Have systemd do something; False when none runs here or it refuses, which is told."""
    if not RUNNING.is_dir() or shutil.which("systemctl") is None:
        return False
    for words in calls:
        whole = ["systemctl", *(["--user"] if scope == "user" else []), *words]
        try:
            done = subprocess.run(  # noqa: S603
                whole, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            why = done.stderr.strip().splitlines()[-1:] if done.returncode else None
        except (OSError, subprocess.TimeoutExpired) as error:
            why = [type(error).__name__]
        if why is not None:
            terminal.talk(f"! {' '.join(whole)} failed: {''.join(why) or 'it does not say why'}")
            return False
    return True


def _next_steps(terminal: Terminal, scope: "Scope", home: "Home", *, started: bool) -> None:
    say: Callable[[str], None] = terminal.talk
    machine = scope == "system"
    sudo, user = ("sudo ", "") if machine else ("", "--user ")
    if started:
        say("The node runs, and will after each boot.")
    elif not home.exists:
        say("There is no identity yet; until there is one, the unit does nothing.")
        say(f"Next: {sudo}p2pnode init{' --system' if machine else ''} --name NAME")
    if not started:
        first = f"{sudo}systemctl {user}daemon-reload && "
        say(f"Then: {first}{sudo}systemctl {user}enable --now p2pnode")
    if machine:
        say("Who may use it: sudo usermod -aG p2pnode $USER, then log in again")
    else:
        say("To run it while you are not logged in: loginctl enable-linger")
    if home.exists:
        say("A vault with a passphrase stays locked after each start, until: p2pnode unlock")
