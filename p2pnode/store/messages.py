"""Tables messages, absent and traces: conversations, and the events behind each message's state.

A message is a head while no message here names it. `absent` keeps the ids that were named by
messages that came before the named ones did, so that a latecomer is known not to be a head.
"""

from collections.abc import Iterable, Sequence

from p2pnode.ids import ContactId, MessageId, id_bytes, id_text
from p2pnode.protocol import limits
from p2pnode.protocol.delivery import State
from p2pnode.store.database import Row
from p2pnode.store.records import MessageRow
from p2pnode.store.table import Exported, Table

_ID = 16

_MESSAGE = (
    "ref, contact, id, mine, device, text, heads, clock, at, arrived, state, lifetime, handed"
)


def _message(row: Row) -> MessageRow:
    ref, contact, id_, mine, device, text, raw, clock, at, arrived, state, lifetime, handed = row
    heads = tuple(raw[i : i + _ID] for i in range(0, len(raw), _ID))
    return MessageRow(
        ref,
        contact,
        id_,
        mine == 1,
        device,
        text,
        heads,
        clock,
        at,
        arrived,
        state,
        lifetime,
        handed,
    )


def _span(prefix: str) -> tuple[bytes, bytes] | None:
    """Return the first and last 16-byte id whose text begins with prefix; None if none can."""
    length = len(id_text(bytes(_ID)))
    if len(prefix) > length:
        return None
    try:
        low = id_bytes(prefix + "a" * (length - len(prefix)))
        # The last letter of an id holds only three bits of it: "4" (11100) is the highest.
        high = id_bytes(
            prefix[:length] + "7" * (length - 1 - len(prefix)) + "4" * (len(prefix) < length)
        )
    except ValueError:
        return None
    return (low, high) if len(prefix) < length or id_text(low) == prefix else None


class Messages(Table):
    """The messages of all conversations."""

    TABLES = ("messages", "absent")

    def add(self, row: MessageRow) -> int:
        """Keep a message (row.ref is ignored); return its row number, never used again."""
        db = self._db
        contact = row.contact
        named = db.change("DELETE FROM absent WHERE contact=? AND id=?", (contact, row.id))
        for head in row.heads:
            known = db.change(
                "UPDATE messages SET head=0 WHERE id=? AND contact=?", (head, contact)
            )
            if not known:
                db.run("INSERT OR IGNORE INTO absent (contact, id) VALUES (?,?)", (contact, head))
        return db.insert(
            "INSERT INTO messages (contact, id, mine, device, text, heads, clock, at, arrived,"
            " state, lifetime, handed, head) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                contact,
                row.id,
                row.mine,
                row.device,
                row.text,
                b"".join(row.heads),
                row.clock,
                row.at,
                row.arrived,
                row.state,
                row.lifetime,
                row.handed,
                0 if named else 1,
            ),
        )

    def get(self, ref: int) -> MessageRow | None:
        """Return a message by its row number."""
        row = self._db.row(f"SELECT {_MESSAGE} FROM messages WHERE ref=?", (ref,))
        return None if row is None else _message(row)

    def by_id(self, contact: ContactId, id: MessageId, mine: bool) -> MessageRow | None:
        """Return a message of a conversation by its id and side."""
        row = self._db.row(
            f"SELECT {_MESSAGE} FROM messages WHERE id=? AND contact=? AND mine=?",
            (id, contact, mine),
        )
        return None if row is None else _message(row)

    def find(self, prefix: str) -> list[MessageRow]:
        """Return at most two messages whose id, as text, begins with prefix."""
        span = _span(prefix)
        if span is None:
            return []
        rows = self._db.rows(
            f"SELECT {_MESSAGE} FROM messages WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 2", span
        )
        return [_message(row) for row in rows]

    def history(
        self, contact: ContactId, limit: int, before: int | None = None
    ) -> list[MessageRow]:
        """Return the newest messages, or those before row `before`, in conversation order.

        The order is (clock, id): a linear extension of what each author had seen, and the same on
        both sides.
        """
        if before is None:
            rows = self._db.rows(
                f"SELECT {_MESSAGE} FROM messages WHERE contact=?"
                " ORDER BY clock DESC, id DESC, ref DESC LIMIT ?",
                (contact, limit),
            )
        else:
            rows = self._db.rows(
                f"SELECT {_MESSAGE} FROM messages WHERE contact=?1 AND (clock, id, ref) <"
                " (SELECT clock, id, ref FROM messages WHERE ref=?2 AND contact=?1)"
                " ORDER BY clock DESC, id DESC, ref DESC LIMIT ?3",
                (contact, before, limit),
            )
        return [_message(row) for row in reversed(rows)]

    def unsealed(self, contact: ContactId) -> list[MessageRow]:
        """Return own messages that wait for the contact's keys, in conversation order."""
        rows = self._db.rows(
            f"SELECT {_MESSAGE} FROM messages WHERE contact=? AND mine=1 AND state='queued'"
            " AND ref NOT IN (SELECT message FROM outbox WHERE message IS NOT NULL)"
            " ORDER BY clock, id",
            (contact,),
        )
        return [_message(row) for row in rows]

    def unreceipted(self, contact: ContactId) -> list[MessageRow]:
        """Return own messages that are in no envelope and have not come, in their order."""
        rows = self._db.rows(
            f"SELECT {_MESSAGE} FROM messages WHERE contact=? AND mine=1"
            " AND state IN ('queued', 'handed')"
            " AND ref NOT IN (SELECT message FROM outbox WHERE message IS NOT NULL)"
            " ORDER BY clock, id",
            (contact,),
        )
        return [_message(row) for row in rows]

    def set_state(self, ref: int, state: State) -> None:
        """Keep a message's state."""
        self._db.run("UPDATE messages SET state=? WHERE ref=?", (state, ref))

    def set_handed(self, ref: int, carriers: int) -> None:
        """Keep how many carriers have accepted a copy."""
        self._db.run("UPDATE messages SET handed=? WHERE ref=?", (carriers, ref))

    def heads(self, contact: ContactId) -> list[MessageId]:
        """Return the newest messages that no other names: at most `limits.MAX_HEADS`."""
        rows = self._db.rows(
            "SELECT id FROM messages WHERE contact=? AND head=1"
            " ORDER BY clock DESC, id DESC LIMIT ?",
            (contact, limits.MAX_HEADS),
        )
        # A contact may have used one of our ids for a message of its own.
        return list(dict.fromkeys(MessageId(id_) for (id_,) in rows))

    def top_clock(self, contact: ContactId) -> int:
        """Return the highest clock of a conversation; 0 before its first message."""
        top: int | None = self._db.value(
            "SELECT clock FROM messages WHERE contact=? ORDER BY clock DESC LIMIT 1", (contact,)
        )
        return top or 0

    def missing(self, contact: ContactId, heads: Sequence[bytes]) -> int:
        """Return how many of the messages with these ids are not here."""
        found = 0
        for head in heads:
            row = self._db.row("SELECT 1 FROM messages WHERE id=? AND contact=?", (head, contact))
            found += row is not None
        return len(heads) - found

    def export(self, contact: ContactId | None) -> Exported:
        """Return the conversations in order."""
        rows = self._db.rows(
            f"SELECT {_MESSAGE} FROM messages WHERE ?1 IS NULL OR contact=?1"
            " ORDER BY contact, clock, id",
            (contact,),
        )
        return {
            "messages": [
                {
                    "contact": id_text(row.contact),
                    "id": id_text(row.id),
                    "mine": row.mine,
                    "text": row.text,
                    "at": row.at,
                    "arrived": row.arrived,
                    "state": row.state,
                }
                for row in map(_message, rows)
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete the conversation with a contact, or all."""
        if contact is None:
            self._clear()
        else:
            for table in self.TABLES:
                self._db.run(f"DELETE FROM {table} WHERE contact=?", (contact,))


class Traces(Table):
    """What happened to each message: constant kinds and details without secrets."""

    TABLES = ("traces",)

    def add(self, message: int, at: int, kind: str, detail: str) -> None:
        """Note an event of a message."""
        self._db.run(
            "INSERT INTO traces (message, n, at, kind, detail) SELECT ?1,"
            " coalesce((SELECT max(n) FROM traces WHERE message=?1), 0) + 1, ?2, ?3, ?4",
            (message, at, kind, detail),
        )

    def of(self, message: int) -> list[tuple[int, str, str]]:
        """Return a message's events (at, kind, detail), oldest first."""
        rows: Iterable[Row] = self._db.rows(
            "SELECT at, kind, detail FROM traces WHERE message=? ORDER BY n", (message,)
        )
        return [(at, kind, detail) for at, kind, detail in rows]

    def export(self, contact: ContactId | None) -> Exported:
        """Return all events with the ids of their messages."""
        rows = self._db.rows(
            "SELECT messages.id, traces.at, kind, detail FROM messages"
            " JOIN traces ON traces.message=messages.ref"
            " WHERE ?1 IS NULL OR messages.contact=?1 ORDER BY messages.ref, n",
            (contact,),
        )
        return {
            "traces": [
                {"message": id_text(id_), "at": at, "kind": kind, "detail": detail}
                for id_, at, kind, detail in rows
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete the events of a contact's messages, or all."""
        if contact is None:
            self._clear()
        else:
            self._db.run(
                "DELETE FROM traces WHERE message IN (SELECT ref FROM messages WHERE contact=?)",
                (contact,),
            )
