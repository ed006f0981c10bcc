"""Tables messages, absent and traces: conversations, and the events behind each message's state.

A message is a head while no message here names it. `absent` keeps the ids that were named by
messages that came before the named ones did, so that a latecomer is known not to be a head.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from p2pnode.ids import ContactId, EnvelopeId, MessageId, id_bytes, id_text
from p2pnode.protocol import limits
from p2pnode.protocol.delivery import State
from p2pnode.store.database import Row
from p2pnode.store.records import MessageRow
from p2pnode.store.table import Exported, Table

_ID, _ENVELOPE = 16, 32

_MESSAGE = (
    "ref, contact, id, mine, device, text, heads, clock, at, arrived, state, lifetime, handed,"
    " since, span, due, envelopes, redacted"
)

_FOR_EVER = 2**62
"""Stands for the node time of what has no end, where the earlier of two ends is chosen."""

_DUE = (
    f"nullif(min(CASE WHEN span THEN since+span ELSE {_FOR_EVER} END,"
    f" CASE WHEN ?1 THEN since+?1 ELSE {_FOR_EVER} END), {_FOR_EVER})"
)
"""When a message goes; ?1 is the retention in seconds, 0 for none."""


def _message(row: Row) -> MessageRow:
    ref, contact, id_, mine, device, text, raw, clock, at, arrived, state, *more = row
    lifetime, handed, since, span, due, sealed, redacted = more
    return MessageRow(
        ref=ref,
        contact=contact,
        id=id_,
        mine=mine == 1,
        device=device,
        text=text,
        heads=_cut(raw, _ID),
        clock=clock,
        at=at,
        arrived=arrived,
        state=state,
        lifetime=lifetime,
        handed=handed,
        since=since,
        span=span,
        due=due,
        envelopes=_cut(sealed, _ENVELOPE),
        redacted=redacted,
    )


def _cut(raw: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(raw[i : i + size] for i in range(0, len(raw), size))


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
            if not known and not db.row(
                "SELECT 1 FROM gone WHERE contact=? AND id=? AND redacted IS NULL", (contact, head)
            ):
                db.run("INSERT OR IGNORE INTO absent (contact, id) VALUES (?,?)", (contact, head))
        return db.insert(
            "INSERT INTO messages (contact, id, mine, device, text, heads, clock, at, arrived,"
            " state, lifetime, handed, since, span, due, envelopes, redacted, head)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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
                row.since,
                row.span,
                row.due,
                b"".join(row.envelopes),
                row.redacted,
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

    def sealed(self, ref: int, envelopes: Sequence[EnvelopeId]) -> None:
        """Keep in which envelopes a message travels, beside those known."""
        self._db.run(
            "UPDATE messages SET envelopes=CAST(envelopes||? AS BLOB) WHERE ref=?",
            (b"".join(envelopes), ref),
        )

    def redact(self, ref: int, at: int) -> None:
        """Keep that the author asked to have a message removed."""
        self._db.run("UPDATE messages SET redacted=? WHERE ref=?", (at, ref))

    def redacted(self, contact: ContactId, limit: int) -> list[MessageId]:
        """Return the own messages that are to be removed, in the order they were to be; of more
        than `limit` those last asked for."""
        rows = self._db.rows(
            "SELECT id FROM messages WHERE contact=? AND mine=1 AND redacted IS NOT NULL"
            " ORDER BY redacted DESC, ref DESC LIMIT ?",
            (contact, limit),
        )
        return [MessageId(id_) for (id_,) in reversed(rows)]

    def date(self, believed: int, node: int, wall: int, longest: int) -> int:
        """Give messages that have none the node time they came at; return how many had none.

        It is reckoned from the wall clock, where both readings can be right: from `believed` on,
        and at most `longest` seconds apart; else they came now.
        """
        return self._db.change(
            "UPDATE messages SET since=?1 - CASE WHEN arrived>=?2 AND ?3-arrived BETWEEN 0 AND ?4"
            " THEN ?3-arrived ELSE 0 END WHERE since IS NULL",
            (node, believed, wall, longest),
        )

    def limit(self, contact: ContactId, retention: int) -> None:
        """Set when the messages of a conversation go, anew. retention: seconds, 0 for none."""
        self._db.run(f"UPDATE messages SET due={_DUE} WHERE contact=?2", (retention, contact))

    def over(self, now: int, limit: int) -> list[MessageRow]:
        """Return messages whose time is over, at most `limit`."""
        rows = self._db.rows(
            f"SELECT {_MESSAGE} FROM messages WHERE due<=? ORDER BY due LIMIT ?", (now, limit)
        )
        return [_message(row) for row in rows]

    def end(self, contact: ContactId, now: int) -> None:
        """Let the time of all messages of a conversation be over."""
        self._db.run("UPDATE messages SET due=? WHERE contact=?", (now, contact))

    def conversation(self, contact: ContactId) -> Iterator[MessageRow]:
        """Yield all messages of a conversation in its order; nothing may be written meanwhile."""
        sql = f"SELECT {_MESSAGE} FROM messages WHERE contact=? ORDER BY clock, id, ref"
        return map(_message, self._db.each(sql, (contact,)))

    def envelopes(self, contact: ContactId) -> list[bytes]:
        """Return the ids of all envelopes that messages of a conversation travelled in."""
        rows = self._db.rows("SELECT envelopes FROM messages WHERE contact=?", (contact,))
        return [one for (raw,) in rows for one in _cut(raw, _ENVELOPE)]

    def remove(self, ref: int) -> None:
        """Delete a message with its traces. What names it no longer does so in vain: see `Gone`."""
        self._db.run("DELETE FROM messages WHERE ref=?", (ref,))

    def forget_absent(self, contact: ContactId) -> None:
        """Forget the ids that were named and never came."""
        self._db.run("DELETE FROM absent WHERE contact=?", (contact,))

    def prune_absent(self, keep: int) -> None:
        """Forget the ids that were named and never came, but the newest `keep` of each
        conversation."""
        for contact, count in self._db.rows("SELECT contact, count(*) FROM absent GROUP BY 1"):
            if count > keep:
                self._db.run(
                    "DELETE FROM absent WHERE ref IN (SELECT ref FROM absent WHERE contact=?"
                    " ORDER BY ref DESC LIMIT -1 OFFSET ?)",
                    (contact, keep),
                )

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
        """Return the highest clock of a conversation, messages that went included; 0 before its
        first message."""
        top: int | None = self._db.value(
            "SELECT clock FROM messages WHERE contact=? ORDER BY clock DESC LIMIT 1", (contact,)
        )
        went: int | None = self._db.value(
            "SELECT top FROM conversations WHERE contact=?", (contact,)
        )
        return max(top or 0, went or 0)

    def newest(self) -> int | None:
        """Return since when the last message is here that was written or came, node time; None
        without any, and for one of an older vault."""
        found: int | None = self._db.value("SELECT since FROM messages ORDER BY ref DESC LIMIT 1")
        return found

    def missing(self, contact: ContactId, heads: Sequence[bytes]) -> int:
        """Return how many of the messages with these ids were named and have not come."""
        return sum(
            self._db.row(
                "SELECT 1 FROM absent WHERE id=?1 AND contact=?2 AND NOT EXISTS"
                " (SELECT 1 FROM messages WHERE id=?1 AND contact=?2)",
                (head, contact),
            )
            is not None
            for head in heads
        )

    LEFT_OUT: ClassVar = {
        "messages.head": "follows from the heads of the others",
        "messages.envelopes": "ids of the sealed envelopes a message travelled in",
        "messages.device": "which of the author's devices wrote; devices are listed of their own",
        "absent": "random ids of messages that were named and have not come",
    }

    def exported(self, contact: ContactId | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the conversations, one after the other, each in its causal order."""
        for row in map(
            _message,
            self._db.each(
                f"SELECT {_MESSAGE} FROM messages WHERE ?1 IS NULL OR contact=?1"
                " ORDER BY contact, clock, id, ref",
                (contact,),
            ),
        ):
            yield (
                "messages",
                {
                    "contact": id_text(row.contact),
                    "id": id_text(row.id),
                    "mine": row.mine,
                    "text": row.text,
                    "heads": [id_text(head) for head in row.heads],
                    "clock": row.clock,
                    "at": row.at,
                    "arrived": row.arrived,
                    "state": row.state,
                    "lifetime": row.lifetime,
                    "handed": row.handed,
                    "since": row.since,
                    "span": row.span,
                    "due": row.due,
                    "redacted": row.redacted,
                },
            )

    def export(self, contact: ContactId | None) -> Exported:
        """Return the conversations in order."""
        return {"messages": [row for _, row in self.exported(contact)]}

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

    LEFT_OUT: ClassVar = {"traces.n": "the order of the rows"}

    def exported(self, contact: ContactId | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield all events with the ids of their messages."""
        for id_, at, kind, detail in self._db.each(
            "SELECT messages.id, traces.at, kind, detail FROM messages"
            " JOIN traces ON traces.message=messages.ref"
            " WHERE ?1 IS NULL OR messages.contact=?1 ORDER BY messages.ref, n",
            (contact,),
        ):
            yield "traces", {"message": id_text(id_), "at": at, "kind": kind, "detail": detail}

    def export(self, contact: ContactId | None) -> Exported:
        """Return all events with the ids of their messages."""
        return {"traces": [row for _, row in self.exported(contact)]}

    def erase(self, contact: ContactId | None) -> None:
        """Delete the events of a contact's messages, or all."""
        if contact is None:
            self._clear()
        else:
            self._db.run(
                "DELETE FROM traces WHERE message IN (SELECT ref FROM messages WHERE contact=?)",
                (contact,),
            )
