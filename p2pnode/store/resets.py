"""Tables resets, reset_tags and twins: what lets a session begin anew, and what that replaced."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from p2pnode.ids import ContactId, EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.session.reset import Begun, ResetKeys
from p2pnode.store.database import Row
from p2pnode.store.records import ResetRow, TwinRow
from p2pnode.store.table import BY_CONTACT, Exported, Table, decoded

_encode = msgspec.msgpack.Encoder().encode
_keys_decoder = msgspec.msgpack.Decoder(ResetKeys)
_begun_decoder = msgspec.msgpack.Decoder(Begun)
_link_decoder = msgspec.msgpack.Decoder(LinkKey)

_RESET = "ref, contact, parent, known, alice, own, theirs, transcript, envelope, keys, sent, rival"
_RESET += ", crossing"
_TWIN = "ref, contact, session, link, notice, until"


def _reset(row: Row) -> ResetRow:
    ref, contact, parent, known, alice, own, theirs, transcript, envelope, keys, sent, *rest = row
    return ResetRow(
        ref=ref,
        contact=contact,
        parent=parent,
        known=known == 1,
        alice=alice == 1,
        own=own,
        theirs=theirs,
        transcript=transcript,
        envelope=envelope,
        keys=decoded(_keys_decoder, keys),
        sent=decoded(_begun_decoder, sent) if sent else None,
        rival=rest[0],
        crossing=rest[1],
    )


def _twin(row: Row) -> TwinRow:
    ref, contact, session, link, notice, until = row
    key = decoded(_link_decoder, link) if link else None
    return TwinRow(ref, contact, session, key, notice, until)


class Resets(Table):
    """Generations of reset keys; each contact's newest `limits.RESET_GENERATIONS` are kept."""

    TABLES = ("resets", "reset_tags")

    LEFT_OUT: ClassVar = {
        "resets": "keys to begin anew with a contact: whoever has them can pose as either side",
        "reset_tags": "marks that these keys give envelopes",
    }

    def add(self, row: ResetRow, tags: Iterable[bytes]) -> int:
        """Keep a new generation (row.ref is ignored) and the tags its resets may come under."""
        ref = self._db.insert(
            f"INSERT INTO resets ({_RESET}) VALUES (NULL,?,?,?,?,?,?,?,?,?,?,?,?)", _values(row)
        )
        self._db.run_many(
            "INSERT OR IGNORE INTO reset_tags (tag, reset) VALUES (?,?)",
            [(tag, ref) for tag in tags],
        )
        self._db.run(
            "DELETE FROM resets WHERE contact=?1 AND ref NOT IN"
            " (SELECT ref FROM resets WHERE contact=?1 ORDER BY ref DESC LIMIT ?2)",
            (row.contact, limits.RESET_GENERATIONS),
        )
        return ref

    def update(self, row: ResetRow) -> None:
        """Replace everything about a generation but its row number and tags."""
        self._db.run(
            "UPDATE resets SET contact=?, parent=?, known=?, alice=?, own=?, theirs=?,"
            " transcript=?, envelope=?, keys=?, sent=?, rival=?, crossing=? WHERE ref=?",
            (*_values(row), row.ref),
        )

    def find(self, tag: bytes) -> ResetRow | None:
        """Return the generation whose resets come under a tag."""
        row = self._db.row(
            f"SELECT {_RESET} FROM resets WHERE ref=(SELECT reset FROM reset_tags WHERE tag=?)",
            (tag,),
        )
        return None if row is None else _reset(row)

    def of_contact(self, contact: ContactId) -> list[ResetRow]:
        """Return the generations kept with a contact, newest first."""
        rows = self._db.rows(
            f"SELECT {_RESET} FROM resets WHERE contact=? ORDER BY ref DESC", (contact,)
        )
        return [_reset(row) for row in rows]

    def by_contact(self) -> dict[ContactId, list[ResetRow]]:
        """Return all generations by contact, newest first."""
        found: dict[ContactId, list[ResetRow]] = {}
        for row in self._db.rows(f"SELECT {_RESET} FROM resets ORDER BY ref DESC"):
            found.setdefault(ContactId(row[1]), []).append(_reset(row))
        return found

    def unanswered(self) -> list[ResetRow]:
        """Return the generations whose own resets wait for their answers, oldest first."""
        rows = self._db.rows(f"SELECT {_RESET} FROM resets WHERE sent<>x'' ORDER BY ref")
        return [_reset(row) for row in rows]

    def newest(self) -> int:
        """Return the row number of the newest generation that a backup would hold; 0 for none."""
        found: int | None = self._db.value("SELECT max(ref) FROM resets WHERE known=1")
        return found or 0

    def since(self, newest: int) -> int:
        """Return how many contacts have a generation that a backup up to `newest` lacks."""
        found: int = self._db.value(
            "SELECT count(DISTINCT contact) FROM resets JOIN contacts ON contacts.id=contact"
            " WHERE known=1 AND state<>'pending' AND resets.ref>?",
            (newest,),
        )
        return found

    def forget(self, contact: ContactId) -> None:
        """Delete all generations with a contact."""
        self._db.run("DELETE FROM resets WHERE contact=?", (contact,))

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: these are keys."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Delete the generations with a contact, or all."""
        if contact is None:
            self._clear()
        else:
            self.forget(contact)


class Twins(Table):
    """Devices and sessions that a reset replaced, until nothing of theirs can be under way."""

    TABLES = ("twins",)

    LEFT_OUT: ClassVar = {"twins": "link keys of sessions that were replaced"}

    def add(self, row: TwinRow) -> None:
        """Keep what was replaced (row.ref is ignored)."""
        self._db.run(
            f"INSERT INTO twins ({_TWIN}) VALUES (NULL,?,?,?,?,?)",
            (row.contact, row.session, _link(row.link), row.notice, row.until),
        )

    def get(self, ref: int) -> TwinRow | None:
        """Return what was replaced, by its row number."""
        row = self._db.row(f"SELECT {_TWIN} FROM twins WHERE ref=?", (ref,))
        return None if row is None else _twin(row)

    def all(self) -> list[TwinRow]:
        """Return everything that was replaced, oldest first."""
        return [_twin(row) for row in self._db.rows(f"SELECT {_TWIN} FROM twins ORDER BY ref")]

    def by_notice(self, envelope: EnvelopeId) -> TwinRow | None:
        """Return the twin that a notice was sealed for."""
        row = self._db.row(f"SELECT {_TWIN} FROM twins WHERE notice=?", (envelope,))
        return None if row is None else _twin(row)

    def set_link(self, ref: int, link: LinkKey) -> None:
        """Keep the link key as it stands now."""
        self._db.run("UPDATE twins SET link=? WHERE ref=?", (_encode(link), ref))

    def remove(self, ref: int) -> None:
        """Delete a twin with its session and tags."""
        self._db.run(
            "DELETE FROM sessions WHERE ref=(SELECT session FROM twins WHERE ref=?)", (ref,)
        )
        self._db.run("DELETE FROM twins WHERE ref=?", (ref,))

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: these are keys."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Delete those of a contact, or all."""
        self._erase(contact, BY_CONTACT)


def _values(row: ResetRow) -> tuple[object, ...]:
    return (
        row.contact,
        row.parent,
        row.known,
        row.alice,
        row.own,
        row.theirs,
        row.transcript,
        row.envelope,
        _encode(row.keys),
        b"" if row.sent is None else _encode(row.sent),
        row.rival,
        row.crossing,
    )


def _link(link: LinkKey | None) -> bytes:
    return b"" if link is None else _encode(link)
