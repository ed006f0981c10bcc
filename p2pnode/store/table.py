"""What the owners of tables share: each keeps one kind of personal data, all of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from p2pnode.errors import StoreCorrupt
from p2pnode.ids import ContactId
from p2pnode.store.database import Database

Record = TypeVar("Record")

Exported = dict[str, list[dict[str, Any]]]
"""Table name → rows as plain values; ids are base32 text."""

BY_CONTACT = "contact=?"
BY_DEVICE = "device IN (SELECT id FROM devices WHERE contact=?)"
"""Which rows are a contact's, in tables with such a column."""


def decoded(decoder: msgspec.msgpack.Decoder[Record], raw: bytes | None) -> Record:
    """Return a record kept as MessagePack. Raises StoreCorrupt when it is none, or gone."""
    try:
        return decoder.decode(raw or b"")
    except msgspec.MsgspecError as error:
        raise StoreCorrupt("a record of the vault cannot be read", why=str(error)) from None


class Table(ABC):
    """The one module that reads and writes its tables.

    Methods that write need an open transaction of the vault. Every method may raise StoreError.
    """

    TABLES: ClassVar[tuple[str, ...]]

    LEFT_OUT: ClassVar[Mapping[str, str]] = {}
    """What an export does not hold, `table` or `table.column`, and why; a test holds it complete
    (`ref`, a row number, never is). The archive of `p2pnode export` shows it to the person."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @abstractmethod
    def export(self, contact: ContactId | None) -> Exported:
        """Return what is kept about a contact, or all of it, for the person it belongs to.

        Keys and secrets stay out: a copy of ratchet state is a way to break it.
        """

    def exported(self, contact: ContactId | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the same as (table, row); owners of long tables do not hold them all at once."""
        for table, rows in self.export(contact).items():
            for row in rows:
                yield table, row

    @abstractmethod
    def erase(self, contact: ContactId | None) -> None:
        """Delete what is kept about a contact, or all of it."""

    def _erase(self, contact: ContactId | None, rows: str) -> None:
        """Delete a contact's rows from the owner's tables, or all rows.

        rows: which are a contact's, BY_CONTACT or BY_DEVICE.
        """
        if contact is None:
            self._clear()
            return
        for table in self.TABLES:
            self._db.run(f"DELETE FROM {table} WHERE {rows}", (contact,))

    def _clear(self) -> None:
        for table in self.TABLES:
            self._db.run(f"DELETE FROM {table}")
