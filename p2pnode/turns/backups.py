"""When the last backup was made, and what has come since that it could not bring back."""

from typing import NamedTuple

from p2pnode.store.vault import Vault
from p2pnode.turns.asks import BackedUp
from p2pnode.turns.effects import Decision
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

KEPT = "backup"
"""Under which name the vault keeps when the last backup was made (8 bytes of wall time), and the
newest generation of reset keys in it (8)."""


class Saved(NamedTuple):
    """at: wall time of the last backup, None for none. missing: contacts with newer reset keys."""

    at: int | None
    missing: int


def backed_up(stores: Stores, ask: BackedUp, now: Moment) -> Decision:
    """Keep that a backup was made."""
    note(stores.vault, ask.newest, now.wall)
    return Decision()


def note(vault: Vault, newest: int, wall: int) -> None:
    """Keep, in a transaction, that a backup holds all generations up to `newest`."""
    vault.meta.put(KEPT, wall.to_bytes(8, "big") + newest.to_bytes(8, "big"))


def saved(vault: Vault) -> Saved:
    """Return how the last backup stands to what is here now."""
    kept = vault.meta.get(KEPT)
    at = int.from_bytes(kept[:8], "big") if kept else None
    newest = int.from_bytes(kept[8:], "big") if kept else 0
    return Saved(at, vault.resets.since(newest))
