"""Tables conversations, gone and erasures: what was agreed about a conversation, and its ends."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from p2pnode.ids import ContactId, MessageId, id_text
from p2pnode.store.records import ConversationRow, ErasureRow, GoneRow
from p2pnode.store.table import BY_CONTACT, Exported, Table

_CONVERSATION = "contact, retention, span, least, top, own_offer, own_span, their_offer, their_span"

EARLY_REDACTIONS = 256
"""Requests to remove messages that have not come, kept for each contact; the oldest give way."""

FORGOTTEN_AT_ONCE = 1_024
"""Ids of gone messages that one `expire` forgets at most."""


class Conversations(Table):
    """How long messages with a contact are kept, and what both agreed on."""

    TABLES = ("conversations",)
    LEFT_OUT: ClassVar = {
        "conversations.least": "only how the agreement is guarded; `span` tells it",
        "conversations.top": "a counter of the order of messages",
        "conversations.own_offer": "a random number that names a proposal; `own_span` tells it",
        "conversations.their_offer": "a random number that names a proposal; `their_span` tells it",
    }

    def get(self, contact: ContactId) -> ConversationRow:
        """Return what is kept of a conversation; that of one without rules when nothing is."""
        row = self._db.row(f"SELECT {_CONVERSATION} FROM conversations WHERE contact=?", (contact,))
        return ConversationRow(contact) if row is None else ConversationRow(*row)

    def all(self) -> list[ConversationRow]:
        """Return all that anything is kept of."""
        rows = self._db.rows(f"SELECT {_CONVERSATION} FROM conversations ORDER BY ref")
        return [ConversationRow(*row) for row in rows]

    def save(self, row: ConversationRow) -> None:
        """Replace what is kept of a conversation."""
        self._db.run(
            f"INSERT INTO conversations ({_CONVERSATION}) VALUES (?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (contact) DO UPDATE SET retention=excluded.retention,"
            " span=excluded.span, least=excluded.least, top=excluded.top,"
            " own_offer=excluded.own_offer, own_span=excluded.own_span,"
            " their_offer=excluded.their_offer, their_span=excluded.their_span",
            msgspec.structs.astuple(row),
        )

    def export(self, contact: ContactId | None) -> Exported:
        """Return what was agreed and proposed."""
        return {
            "conversations": [
                {
                    "contact": id_text(row.contact),
                    "retention": row.retention,
                    "span": row.span,
                    "own_span": row.own_span if row.own_offer else None,
                    "their_span": row.their_span if row.their_offer else None,
                }
                for row in self.all()
                if contact in (None, row.contact)
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Forget what was agreed with a contact, or with all."""
        self._erase(contact, BY_CONTACT)


class Gone(Table):
    """Ids of messages that went, and of those that were to be removed before they came."""

    TABLES = ("gone",)
    LEFT_OUT: ClassVar = {
        "gone": "random ids of messages that are no longer here; nothing of what they said"
    }

    def add(self, contact: ContactId, ids: Iterable[MessageId], expires: int) -> None:
        """Note that messages went; until `expires` they are known as such."""
        self._db.run_many(
            "INSERT INTO gone (contact, id, redacted, expires) VALUES (?,?,NULL,?)"
            " ON CONFLICT (contact, id) DO UPDATE SET redacted=NULL, expires=excluded.expires",
            [(contact, id_, expires) for id_ in ids],
        )

    def add_redaction(self, contact: ContactId, id: MessageId, at: int, expires: int) -> None:
        """Note that a message that has not come is to be removed; again changes nothing."""
        self._db.run(
            "INSERT OR IGNORE INTO gone (contact, id, redacted, expires) VALUES (?,?,?,?)",
            (contact, id, at, expires),
        )
        self._db.run(
            "DELETE FROM gone WHERE ref IN (SELECT ref FROM gone WHERE contact=? AND redacted IS"
            " NOT NULL ORDER BY ref DESC LIMIT -1 OFFSET ?)",
            (contact, EARLY_REDACTIONS),
        )

    def get(self, contact: ContactId, id: MessageId) -> GoneRow | None:
        """Return what is known of a message that is not here."""
        row = self._db.row("SELECT redacted FROM gone WHERE contact=? AND id=?", (contact, id))
        return None if row is None else GoneRow(row[0])

    def forget(self, contact: ContactId, id: MessageId) -> None:
        """Forget one: it has come after all."""
        self._db.run("DELETE FROM gone WHERE contact=? AND id=?", (contact, id))

    def expire(self, now: int) -> None:
        """Forget those that nobody can bring any more."""
        self._db.run(
            "DELETE FROM gone WHERE ref IN (SELECT ref FROM gone WHERE expires<=? LIMIT ?)",
            (now, FORGOTTEN_AT_ONCE),
        )

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: what is gone is gone."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Forget those of a contact, or all."""
        self._erase(contact, BY_CONTACT)


class Erasures(Table):
    """What is to be erased when its grace period is over."""

    TABLES = ("erasures",)

    def add(self, row: ErasureRow) -> None:
        """Plan an erasure; again only replaces when."""
        self._db.run(
            "INSERT INTO erasures (contact, what, due) VALUES (?,?,?)"
            " ON CONFLICT (contact, what) DO UPDATE SET due=excluded.due",
            msgspec.structs.astuple(row),
        )

    def all(self) -> list[ErasureRow]:
        """Return all that are planned, the next first."""
        rows = self._db.rows("SELECT contact, what, due FROM erasures ORDER BY due, ref")
        return [ErasureRow(*row) for row in rows]

    def remove(self, contact: ContactId, what: str) -> bool:
        """Plan one no more; tell whether it was."""
        return bool(
            self._db.change("DELETE FROM erasures WHERE contact=? AND what=?", (contact, what))
        )

    def export(self, contact: ContactId | None) -> Exported:
        """Return what is planned; times are node time."""
        return {
            "erasures": [
                {"contact": id_text(row.contact), "what": row.what, "due": row.due}
                for row in self.all()
                if contact in (None, row.contact)
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Forget those of a contact, or all."""
        self._erase(contact, BY_CONTACT)
