"""Tables events and consumers: what clients are told, at least once until they acknowledge."""

import json
from collections.abc import Sequence
from typing import ClassVar

from p2pnode.ids import ContactId, Cursor
from p2pnode.store.records import EventRow
from p2pnode.store.table import Exported, Table


class Events(Table):
    """The stored event stream and how far each consumer has acknowledged it."""

    TABLES = ("events", "consumers")

    def add(
        self,
        kind: str,
        at: int,
        message: int | None = None,
        contact: ContactId | None = None,
        reason: str = "",
    ) -> Cursor:
        """Store an event; return its cursor, higher than any before, also those deleted."""
        return Cursor(
            self._db.insert(
                "INSERT INTO events (kind, at, message, contact, reason) VALUES (?,?,?,?,?)",
                (kind, at, message, contact, reason),
            )
        )

    def after(self, cursor: Cursor | int, limit: int) -> list[EventRow]:
        """Return the next events after a cursor."""
        rows = self._db.rows(
            "SELECT cursor, kind, at, message, contact, reason FROM events WHERE cursor>?"
            " ORDER BY cursor LIMIT ?",
            (cursor, limit),
        )
        return [EventRow(*row) for row in rows]

    def acked(self, consumer: str) -> Cursor:
        """Return how far a consumer has acknowledged; 0 before it ever did."""
        found = self._db.value("SELECT cursor FROM consumers WHERE consumer=?", (consumer,))
        return Cursor(found or 0)

    def ack(self, consumer: str, cursor: Cursor | int) -> None:
        """Keep an acknowledgement; it never goes back."""
        self._db.run(
            "INSERT INTO consumers (consumer, cursor) VALUES (?,?) ON CONFLICT (consumer)"
            " DO UPDATE SET cursor=max(cursor, excluded.cursor)",
            (consumer, cursor),
        )

    def begin(self, consumer: str) -> bool:
        """Put a consumer that is not known at the newest event; return whether that was so."""
        return bool(
            self._db.change(
                "INSERT INTO consumers (consumer, cursor) VALUES (?,?) ON CONFLICT DO NOTHING",
                (consumer, self.last()),
            )
        )

    def last(self) -> Cursor:
        """Return the cursor of the newest event there ever was; 0 before the first."""
        found = self._db.value("SELECT seq FROM sqlite_sequence WHERE name='events'")
        return Cursor(found or 0)

    def forget(self, messages: Sequence[int]) -> None:
        """Delete the events that quote messages which go: one walk through all events."""
        self._db.run(
            "DELETE FROM events WHERE message IN (SELECT value FROM json_each(?))",
            (json.dumps(list(messages)),),
        )

    def prune(self, keep: int) -> int:
        """Delete all but the newest `keep` events, acknowledged or not; return how many."""
        return self._db.change("DELETE FROM events WHERE cursor<=?", (self.last() - keep,))

    LEFT_OUT: ClassVar = {"events": "they only repeat what contacts, messages and traces say"}

    def export(self, contact: ContactId | None) -> Exported:
        """Return who takes events; the events only repeat what contacts and messages say."""
        rows = [] if contact else self._db.rows("SELECT consumer, cursor FROM consumers")
        return {"consumers": [{"consumer": name, "cursor": cursor} for name, cursor in rows]}

    def erase(self, contact: ContactId | None) -> None:
        """Delete a contact's events, or all with the consumers."""
        if contact is None:
            self._clear()
        else:
            self._db.run(
                "DELETE FROM events WHERE contact=?1"
                " OR message IN (SELECT ref FROM messages WHERE contact=?1)",
                (contact,),
            )
