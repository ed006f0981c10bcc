"""Table private: what transports keep for themselves, named bytes such as onion keys."""

from typing import ClassVar

from p2pnode.ids import ContactId
from p2pnode.store.table import Exported, Table


class Private(Table):
    """Each transport's own small part of the vault."""

    TABLES = ("private",)

    def load(self, transport: str, name: str) -> bytes | None:
        """Return what a transport saved under name."""
        value: bytes | None = self._db.value(
            "SELECT value FROM private WHERE transport=? AND name=?", (transport, name)
        )
        return value

    def save(self, transport: str, name: str, value: bytes) -> None:
        """Keep value under name; an empty one deletes it."""
        if value:
            self._db.run(
                "INSERT INTO private (transport, name, value) VALUES (?,?,?)"
                " ON CONFLICT (transport, name) DO UPDATE SET value=excluded.value",
                (transport, name, value),
            )
        else:
            self._db.run("DELETE FROM private WHERE transport=? AND name=?", (transport, name))

    LEFT_OUT: ClassVar = {
        "private.value": "keys a transport is reached by; the archive says what each is"
    }

    def names(self, transport: str) -> list[str]:
        """Return under which names a transport saved something, oldest first."""
        rows = self._db.rows(
            "SELECT name FROM private WHERE transport=? ORDER BY ref", (transport,)
        )
        return [name for (name,) in rows]

    def export(self, contact: ContactId | None) -> Exported:
        """Return the names alone: what of the values may leave, the transports' own word tells."""
        rows = self._db.rows("SELECT transport, name FROM private ORDER BY ref")
        lanes = None if contact is None else self._lanes(contact)
        return {
            "private": [
                {"transport": transport, "name": name}
                for transport, name in rows
                if lanes is None or any(lane in name for lane in lanes)
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete everything, or what belongs to a contact's lanes: also of a transport that does
        not run now, and so cannot revoke them."""
        if contact is None:
            self._clear()
        else:
            for lane in self._lanes(contact):
                self._db.run("DELETE FROM private WHERE instr(name, ?)", (lane,))

    def _lanes(self, contact: ContactId) -> list[str]:
        """Return how names tell a contact's lanes: in hexadecimal."""
        rows = self._db.rows("SELECT lane FROM lanes WHERE contact=?", (contact,))
        return [lane.hex() for (lane,) in rows]
