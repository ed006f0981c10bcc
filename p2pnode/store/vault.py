"""The vault: all private state of a node in one encrypted file, as tables with owners.

One `Vault` writes; others opened with `read_only=True` read what was committed. None of them may be
used by two threads at once.
"""

from pathlib import Path

from p2pnode.ids import ContactId
from p2pnode.protocol.identity import Own
from p2pnode.store.contacts import Addresses, Contacts, Devices
from p2pnode.store.conversations import Conversations, Erasures, Gone
from p2pnode.store.database import Database, Savepoint, Schema, Transaction
from p2pnode.store.events import Events
from p2pnode.store.identity import Identity, Meta
from p2pnode.store.meetings import Meetings
from p2pnode.store.messages import Messages, Traces
from p2pnode.store.migrations import vault_0001, vault_0002, vault_0003, vault_0004
from p2pnode.store.opened import Opened, Owed
from p2pnode.store.outbox import Outbox, Tokens
from p2pnode.store.pairings import Lanes, Pairings
from p2pnode.store.private import Private
from p2pnode.store.resets import Resets, Twins
from p2pnode.store.sessions import Sessions, Tags
from p2pnode.store.table import Exported, Table

# Half of SQLite's usual page: most rows a message changes are short, and lie on pages of their own.
STEPS = (vault_0001.SQL, vault_0002.SQL, vault_0003.SQL, vault_0004.SQL)
SCHEMA = Schema("vault", 0x70327076, STEPS, page=2048)


class Vault:
    """The private state of a node. Writing needs `transaction()`; reading does not."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.meta = Meta(database)
        self.identity = Identity(database)
        self.contacts = Contacts(database)
        self.devices = Devices(database)
        self.addresses = Addresses(database)
        self.meetings = Meetings(database)
        self.sessions = Sessions(database)
        self.tags = Tags(database)
        self.messages = Messages(database)
        self.conversations = Conversations(database)
        self.gone = Gone(database)
        self.erasures = Erasures(database)
        self.outbox = Outbox(database)
        self.opened = Opened(database)
        self.owed = Owed(database)
        self.tokens = Tokens(database)
        self.traces = Traces(database)
        self.events = Events(database)
        self.pairings = Pairings(database)
        self.lanes = Lanes(database)
        self.private = Private(database)
        self.resets = Resets(database)
        self.twins = Twins(database)

    @classmethod
    def create(cls, path: Path, key: bytes) -> "Vault":
        """Make a new vault file encrypted with a 32-byte key. Raises StoreError if one is there."""
        return cls(Database.create(path, SCHEMA, key))

    @classmethod
    def open(cls, path: Path, key: bytes, *, read_only: bool = False) -> "Vault":
        """Open a vault. Raises StoreCorrupt, StoreTooNew, StoreFull or StoreError."""
        return cls(Database.open(path, SCHEMA, key, read_only=read_only))

    @classmethod
    def memory(cls) -> "Vault":
        """Return a vault that lives in memory alone: same code, nothing durable."""
        return cls(Database.memory(SCHEMA))

    def transaction(self) -> Transaction:
        """Return a context whose writes become durable together at its end, or not at all.

        Any StoreError inside, even one that was caught, fails all of it.
        """
        return self.database.transaction()

    def savepoint(self) -> Savepoint:
        """Return a context, within a transaction, that an exception undoes alone.

        The exception is raised again. A StoreError spoils the whole transaction.
        """
        return self.database.savepoint()

    def close(self) -> None:
        """Close the file; again is harmless."""
        self.database.close()

    @property
    def owners(self) -> tuple[Table, ...]:
        """The owners of all tables: keys first, then those whose rows belong to those of later
        ones."""
        return (
            self.twins,
            self.resets,
            self.tags,
            self.sessions,
            self.private,
            self.outbox,
            self.opened,
            self.owed,
            self.tokens,
            self.addresses,
            self.meetings,
            self.devices,
            self.lanes,
            self.traces,
            self.events,
            self.messages,
            self.gone,
            self.conversations,
            self.erasures,
            self.pairings,
            self.contacts,
            self.identity,
            self.meta,
        )

    def export(self, contact: ContactId | None = None) -> Exported:
        """Return what is kept about a contact, or everything, without keys and secrets."""
        found: Exported = {}
        for owner in reversed(self.owners):
            found |= owner.export(contact)
        return found

    def erase(self, contact: ContactId | None = None) -> None:
        """Delete everything about a contact, or everything."""
        for owner in self.owners:
            owner.erase(contact)


def initialise(vault: Vault, own: Own, slot_key: bytes) -> None:
    """Put an identity into a new vault. slot_key: 32 random bytes (see `turns.carry`)."""
    with vault.transaction():
        vault.identity.save(own)
        vault.meta.put("source-slots", slot_key)
