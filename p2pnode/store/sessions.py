"""Tables sessions and tags: ratchet state, the tags it listens on, and keys of skipped envelopes.

These rows are the most secret and the most perishable: they must be saved in the transaction that
saves what they sealed or opened, and never be restored from a copy.
"""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from p2pnode.errors import StoreCorrupt
from p2pnode.ids import ContactId, DeviceId, SessionRef, id_text
from p2pnode.protocol.session.records import Session, TagRow
from p2pnode.store.table import Exported, Table, decoded

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Session)

_OF_CONTACT = (
    "SELECT sessions.ref FROM sessions JOIN devices ON devices.id=sessions.device"
    " WHERE devices.contact=?"
)


class Sessions(Table):
    """Ratchet states, one row each."""

    TABLES = ("sessions",)

    def add(self, device: DeviceId, session: Session) -> SessionRef:
        """Keep a new session with a device; return its row number, which is never used again."""
        return SessionRef(
            self._db.insert(
                "INSERT INTO sessions (device, state) VALUES (?,?)", (device, _encode(session))
            )
        )

    def load(self, ref: SessionRef) -> Session:
        """Return the state of a session that exists; StoreCorrupt says that it does not."""
        return decoded(_decoder, self._db.value("SELECT state FROM sessions WHERE ref=?", (ref,)))

    def device(self, ref: SessionRef) -> DeviceId:
        """Return whose session it is; StoreCorrupt says that there is no such session."""
        found = self._db.value("SELECT device FROM sessions WHERE ref=?", (ref,))
        if found is None:
            raise StoreCorrupt("a session of the vault is gone", why=f"number {ref}")
        return DeviceId(found)

    def save(self, ref: SessionRef, session: Session) -> None:
        """Replace the state."""
        self._db.run("UPDATE sessions SET state=? WHERE ref=?", (_encode(session), ref))

    def succeed(self, old: DeviceId, new: DeviceId) -> None:
        """Give what belongs to a device to the one that takes its place."""
        self._db.run("UPDATE sessions SET device=? WHERE device=?", (new, old))

    def remove(self, ref: SessionRef) -> None:
        """Delete a session with its tags and skipped keys."""
        self._db.run("DELETE FROM sessions WHERE ref=?", (ref,))

    LEFT_OUT: ClassVar = {
        "sessions.state": "ratchet state: a copy of it breaks the session it belongs to"
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return with which devices there are sessions; never their state."""
        rows = self._db.rows(
            "SELECT device FROM sessions"
            f" WHERE ?1 IS NULL OR ref IN ({_OF_CONTACT.replace('?', '?1')}) ORDER BY ref",
            (contact,),
        )
        return {"sessions": [{"device": id_text(device)} for (device,) in rows]}

    def erase(self, contact: ContactId | None) -> None:
        """Delete the sessions with a contact, or all."""
        if contact is None:
            self._clear()
        else:
            self._db.run(f"DELETE FROM sessions WHERE ref IN ({_OF_CONTACT})", (contact,))


class Tags(Table):
    """The tag index: which envelope belongs to which session, and what opens it."""

    TABLES = ("tags",)

    def add(self, ref: SessionRef, rows: Iterable[TagRow], expires: int) -> None:
        """List tags of a session; a row with the same chain and n is replaced.

        expires: when rows that hold a message key are given up; the others stay while needed.
        """
        self._db.run_many(
            "INSERT OR REPLACE INTO tags (tag, session, chain, n, expires, header_key, message_key)"
            " VALUES (?,?,?,?,?,?,?)",
            [
                (
                    row.tag,
                    ref,
                    row.chain,
                    row.n,
                    expires if row.message_key else None,
                    row.header_key,
                    row.message_key,
                )
                for row in rows
            ],
        )

    def find(self, tag: bytes) -> tuple[SessionRef, TagRow] | None:
        """Return the session that listens on a tag, and the row."""
        row = self._db.row(
            "SELECT session, chain, n, header_key, message_key FROM tags WHERE tag=?", (tag,)
        )
        return None if row is None else (SessionRef(row[0]), TagRow(tag, *row[1:]))

    def remove(self, tag: bytes) -> None:
        """Delete a tag that was used up."""
        self._db.run("DELETE FROM tags WHERE tag=?", (tag,))

    def forget(self, ref: SessionRef, chain: int, first: int) -> None:
        """Delete the rows of a chain from index `first` on that hold no message key."""
        self._db.run(
            "DELETE FROM tags WHERE session=? AND chain=? AND n>=? AND expires IS NULL",
            (ref, chain, first),
        )

    def prune(self, ref: SessionRef, keep: int) -> int:
        """Delete all but the newest `keep` rows of a session that hold a message key."""
        return self._db.change(
            "DELETE FROM tags WHERE session=?1 AND (chain, n) IN (SELECT chain, n FROM tags"
            " WHERE session=?1 AND expires IS NOT NULL ORDER BY chain DESC, n DESC"
            " LIMIT -1 OFFSET ?2)",
            (ref, keep),
        )

    def expire(self, now: int) -> int:
        """Delete the rows with a message key whose time is over; return how many."""
        return self._db.change("DELETE FROM tags WHERE expires<=?", (now,))

    def count(self, ref: SessionRef) -> int:
        """Return how many tags a session has listed."""
        found: int = self._db.value("SELECT count(*) FROM tags WHERE session=?", (ref,))
        return found

    LEFT_OUT: ClassVar = {
        "tags": "keys of envelopes that have not come, and the marks they are known by"
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: tags and keys say nothing to a person."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Delete the tags of a contact's sessions, or all."""
        if contact is None:
            self._clear()
        else:
            self._db.run(f"DELETE FROM tags WHERE session IN ({_OF_CONTACT})", (contact,))
