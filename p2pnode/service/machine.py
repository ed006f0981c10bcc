"""The home of a whole machine's node: made by root, owned by the user p2pnode."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from p2pnode import schema
from p2pnode.config import Home
from p2pnode.errors import Denied, InvalidInput, StoreError
from p2pnode.home import create_home
from p2pnode.service.unit import USER
from p2pnode.store import keys
from p2pnode.store.files import sync_folder

T = TypeVar("T")


class Owner(NamedTuple):
    """Ids of the user a node runs as, and of the group that may use it."""

    user: int
    group: int


def service_user() -> Owner:
    """Return the ids of the user p2pnode. Raises InvalidInput when there is none."""
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        raise InvalidInput(
            f"this machine has no user {USER}",
            hint=f"Make it: sudo useradd --system --user-group --no-create-home"
            f" --home-dir /var/lib/p2pnode --shell /usr/sbin/nologin {USER}",
        ) from None
    return Owner(found.pw_uid, found.pw_gid)


def create_machine_home(
    home: Home,
    name: str,
    owner: Owner,
    *,
    passphrase: bytes | None,
    key_file: Path | None = None,
    cost: keys.Cost = keys.MODERATE,
) -> schema.Identity:
    """Make a home with a fresh identity that belongs to another user. See `given_away`."""

    def make(growing: Home) -> schema.Identity:
        return create_home(growing, name, passphrase=passphrase, key_file=key_file, cost=cost)

    return given_away(home, owner, make)


def given_away(home: Home, owner: Owner, make: Callable[[Home], T]) -> T:
    """Make a home that belongs to another user; all of it or nothing. Only root can.

    It grows beside its place, where its owner cannot interfere, and is then given away whole.
    make: makes it in the place it is told. Raises InvalidInput, StoreError, Denied.
    """
    if os.geteuid() != 0:
        raise Denied(
            "only root can make the machine's node", hint="Again with sudo: sudo p2pnode init …"
        )
    if home.exists:
        raise InvalidInput("the machine's node has an identity already", why=str(home.root))
    if home.root.exists() and any(home.root.iterdir()):
        raise InvalidInput(
            f"{home.root} is not empty", hint="Look what is there, and move it away first"
        )
    home.root.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(prefix=".p2pnode-", dir=home.root.parent))
    try:
        made = make(Home(growing, home.config_home))
        for path in (*growing.iterdir(), growing):
            os.chown(path, *owner, follow_symlinks=False)
        growing.rename(home.root)
        sync_folder(home.root.parent)
    except OSError as error:
        raise StoreError(f"{home.root} cannot be made", why=error.strerror or "") from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    if home.config_home is not None:
        _settings(home.config_home, home.config, owner)
    return made


def _settings(folder: Path, file: Path, owner: Owner) -> None:
    """Make settings root's to write, the node's and its group's to read; there may be none."""
    folder.mkdir(mode=0o750, exist_ok=True)
    folder.chmod(0o750)
    os.chown(folder, 0, owner.group)
    with suppress(FileNotFoundError):
        os.chown(file, 0, owner.group)
        file.chmod(0o640)
