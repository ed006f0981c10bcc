"""A node's home: how it is made, what shows of it, and how much room its disk has."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from p2pnode import schema
from p2pnode.config import Home
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import Denied, HomeInUse, InvalidInput, StoreError
from p2pnode.ids import id_text
from p2pnode.logs import EventLog
from p2pnode.protocol import identity
from p2pnode.protocol.fingerprint import fingerprint, grouped, words
from p2pnode.protocol.identity import Own
from p2pnode.protocol.names import petname
from p2pnode.store import files, keys
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise

log = EventLog("daemon")

MEGABYTE = 1_000_000


Fill = Callable[[Vault, Custody], Own]
"""Puts into new stores whose they are, and returns that."""


def create_home(
    home: Home,
    name: str,
    *,
    passphrase: bytes | None,
    key_file: Path | None = None,
    cost: keys.Cost = keys.MODERATE,
) -> schema.Identity:
    """Make a home with a fresh account and device; all of it or nothing. See `make_home`."""
    chosen = petname(name)

    def fill(vault: Vault, custody: Custody) -> Own:
        entropy = OsEntropy()
        account = identity.new_account(entropy)
        own = Own(account, identity.new_device(account, entropy), chosen)
        initialise(vault, own, entropy.take(32))
        return own

    own = make_home(home, fill, passphrase=passphrase, key_file=key_file, cost=cost)
    return shown_identity(own)


def make_home(
    home: Home,
    fill: Fill,
    *,
    passphrase: bytes | None,
    key_file: Path | None = None,
    cost: keys.Cost = keys.MODERATE,
) -> Own:
    """Make a home out of new stores that `fill` has filled; all of it or nothing.

    Without passphrase and key file the vault's key lies beside it in the clear. Raises
    InvalidInput (the home has an identity, or is being erased), HomeInUse (somebody else makes one
    there), StoreError, Denied, and what `fill` raises.
    """
    _refuse_existing(home)
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError as error:
        raise Denied("the home cannot be made", why=str(error)) from None
    except OSError as error:
        raise StoreError("the home cannot be made", why=str(error)) from None
    with home_lock(home):
        _refuse_existing(home)  # made by another process since
        return _make_home(home, fill, passphrase, key_file, cost)


def _refuse_existing(home: Home) -> None:
    if home.exists:
        raise InvalidInput(
            "there is an identity here already",
            why=str(home.root),
            hint="Use it: p2pnode run, or name another place: --home",
        )
    if home.erasure.exists():  # it would take the new identity with it
        raise InvalidInput(
            "what was here is still to be erased", why=str(home.root), hint="First: p2pnode erase"
        )


def _make_home(
    home: Home, fill: Fill, passphrase: bytes | None, key_file: Path | None, cost: keys.Cost
) -> Own:
    making = home.root / f".init-{secrets.token_hex(4)}"
    try:
        making.mkdir(mode=0o700)
    except PermissionError as error:
        raise Denied("the home cannot be made", why=str(error)) from None
    except OSError as error:
        raise StoreError("the home cannot be made", why=str(error)) from None
    fresh = Home(making)
    try:
        own = _write_home(fresh, fill, passphrase, key_file, cost)
        for store in (home.vault, home.custody):  # the log of one that was here would be played in
            for log in ("-wal", "-shm"):
                store.with_name(store.name + log).unlink(missing_ok=True)
        files.sync_folder(home.root)
        # The key comes last: only with it does the home count as made.
        for old, new in (
            (fresh.vault, home.vault),
            (fresh.custody, home.custody),
            (fresh.vault_key, home.vault_key),
        ):
            os.replace(old, new)
        files.sync_folder(home.root)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return own


def _write_home(
    home: Home, fill: Fill, passphrase: bytes | None, key_file: Path | None, cost: keys.Cost
) -> Own:
    key = keys.create(home.vault_key, passphrase=passphrase, key_file=key_file, cost=cost)
    vault = Vault.create(home.vault, key)
    try:
        custody = Custody.create(home.custody)
        try:
            return fill(vault, custody)
        finally:
            custody.close()
    finally:
        vault.close()


def shown_identity(own: Own) -> schema.Identity:
    """Return who a node is, as its person sees it."""
    print_ = fingerprint(own.account.public)
    return schema.Identity(
        name=own.name,
        account=id_text(own.account.public),
        device=id_text(own.device.id),
        fingerprint=grouped(print_),
        words=words(print_),
    )


@contextmanager
def home_lock(home: Home) -> Iterator[None]:
    """Hold a home's lock. Raises HomeInUse when another process does, Denied, StoreError."""
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise Denied(f"{home.root} is not writable for this user") from None
    except OSError as error:
        raise StoreError(f"{home.lock} cannot be made", why=error.strerror or "") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(
                "another daemon runs in this home",
                why=str(home.root),
                hint="Talk to it: p2pnode status. Or name another place: --home DIR",
            ) from None
        yield
    finally:
        os.close(descriptor)


RESERVED = 16 * MEGABYTE
"""Bytes of the disk that carried envelopes leave free, for own mail and the stores' logs."""


def disk_room(root: Path) -> int:
    """Return how many bytes carried envelopes may still take on a home's disk."""
    return shutil.disk_usage(root).free - RESERVED


RESERVE = 256 * 1024
"""Bytes of the disk kept for the day it is full: more than SQLite takes to open both stores."""


def keep_reserve(home: Home) -> None:
    """Keep some room on the disk while there is enough, so that a node can start on a full one."""
    with suppress(OSError):
        if disk_room(home.root) <= 0 or home.reserve.exists():
            return
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        handle = os.open(home.reserve, flags, 0o600)
        try:
            os.posix_fallocate(handle, 0, RESERVE)
        except OSError:
            home.reserve.unlink()
        finally:
            os.close(handle)


def use_reserve(home: Home) -> bool:
    """Give the kept room back to the disk; tell whether there was any."""
    try:
        home.reserve.unlink()
    except OSError:
        return False
    log.warning("reserve.used")
    return True


def carry_pass(home: Home, *, renewed: bool) -> bytes:
    """Return what contacts are told to know this node by while it is locked; b"" when it never is.

    Whoever copied the disk while the node ran locked holds the old one, so that goes.
    """
    if keys.kind(home.vault_key) == "none":
        return b""
    kept = files.carry_pass(home.carry_pass)
    if kept is not None and not renewed:
        return kept
    try:
        return files.new_carry_pass(home.carry_pass)
    except StoreError as error:  # a full disk, say: no reason to keep the vault closed
        log.warning("pass.kept", reason=error.code)
        return kept or b""
