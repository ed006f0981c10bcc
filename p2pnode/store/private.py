"""Table private: what transports keep for themselves, named bytes such as onion keys."""

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

    def export(self, contact: ContactId | None) -> Exported:
        """Return the names alone: values may be keys."""
        rows = [] if contact else self._db.rows("SELECT transport, name FROM private ORDER BY ref")
        return {"private": [{"transport": transport, "name": name} for transport, name in rows]}

    def erase(self, contact: ContactId | None) -> None:
        """Delete everything; what belongs to a lane, its transport deletes when it is revoked."""
        if contact is None:
            self._clear()
