"""Making a damaged home whole: damaged stores are set aside, what still reads goes into new ones.

Custody holds what is carried for others: that is lost, and comes again. Of a vault every row that
reads is saved, and a new one made of them as of a backup; so it begins anew with all contacts, as a
restored one does: of the state of sessions nothing may be guessed.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from p2pnode.backup import filled, records
from p2pnode.config import Home
from p2pnode.engine.clock import wall_time
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.store import files
from p2pnode.store.custody import Custody
from p2pnode.store.database import Database, set_aside
from p2pnode.store.salvage import salvage
from p2pnode.store.vault import Vault
from p2pnode.turns import carry
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


class Found(NamedTuple):
    """What is wrong with a home's stores; "" where a store is sound."""

    custody: str
    vault: str


class Saved(NamedTuple):
    """What a new vault holds of the damaged one. lost: names of contacts who could not be kept,
    since their keys do not read. unread: tables of which something does not read."""

    contacts: int
    messages: int
    lost: list[str]
    unread: list[str]


def look(home: Home, key: bytes) -> Found:
    """Read both stores of a home whose lock is held. key: the vault's, 32 bytes.

    Raises StoreTooNew and StoreFull: that is no damage.
    """
    return Found(
        _wrong(lambda: Custody.open(home.custody).database),
        _wrong(lambda: Vault.open(home.vault, key).database),
    )


def _wrong(opened: Callable[[], Database]) -> str:
    try:
        with closing(opened()) as database:
            return "; ".join(database.check()[:1])
    except (StoreTooNew, StoreFull):
        raise
    except StoreError as error:
        return error.what


def renew_custody(home: Home, key: bytes) -> None:
    """Set the custody aside and begin an empty one. The vault must be sound. Raises StoreError."""
    _put_in_place(home, home.custody, lambda path: Custody.create(path).close())
    with closing(Vault.open(home.vault, key)) as vault, vault.transaction():
        vault.meta.put(carry.EXAMINED, bytes(8))  # its rows are counted from the beginning again


def renew_vault(home: Home, key: bytes) -> Saved:
    """Set the vault aside and put what still reads of it into a new one, under the same key.

    Raises StoreCorrupt when not even who this node is can be read; then nothing was changed.
    """
    source = home.vault if home.vault.exists() else _last_aside(home.vault)
    saved: list[Saved] = []

    def fill(path: Path) -> None:
        lost: list[str] = []
        with closing(Vault.create(path.with_name("read.db"), key)) as rows:
            unread = _salvaged(source, key, rows)
            found = records(rows, "", history=True, lost=lost)
            with closing(Vault.create(path, key)) as new, closing(Custody.memory()) as nowhere:
                stores = Stores(new, nowhere, CarryPolicy(1))
                try:
                    done = filled(stores, found, [], Moment(0, wall_time()), OsEntropy())
                except StoreCorrupt as error:
                    raise _nothing(error) from None
        saved.append(Saved(done.contacts, done.messages, lost, unread))

    _put_in_place(home, home.vault, fill)
    return saved[0]


def _salvaged(source: Path, key: bytes, rows: Vault) -> list[str]:
    try:
        old = Vault.open(source, key, read_only=True)
    except StoreError as error:
        raise _nothing(error) from None
    with closing(old):
        return salvage(old, rows)


def _nothing(error: StoreError) -> StoreCorrupt:
    return StoreCorrupt(
        "nothing can be saved from the vault",
        why=error.what,
        hint="Restore a backup into another home: p2pnode --home DIR restore FILE",
    )


def _last_aside(path: Path) -> Path:
    """Return what an earlier try, cut short, has set aside. Raises StoreCorrupt."""
    aside = path.parent.glob(f"{path.name}.damaged-*")
    numbers = [int(one.suffix[9:]) for one in aside if one.suffix[9:].isdecimal()]
    if not numbers:
        raise StoreCorrupt("there is no vault", hint="Restore a backup: p2pnode restore FILE")
    return path.with_name(f"{path.name}.damaged-{max(numbers)}")


def _put_in_place(home: Home, place: Path, make: Callable[[Path], None]) -> None:
    """Make a store beside its place, set aside what is there, and move the new one in.

    After a crash in between the store is missing, which the next repair mends.
    """
    making = home.root / f".init-{secrets.token_hex(4)}"
    try:
        making.mkdir(mode=0o700)
        make(making / place.name)
        if place.exists():
            set_aside(place)
        os.replace(making / place.name, place)
        files.sync_folder(home.root)
    except OSError as error:
        raise StoreError(f"{place.name} cannot be renewed", why=error.strerror or "") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
