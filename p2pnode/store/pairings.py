"""Tables pairings, pairing_tags and lanes: codes in use, and the lanes transports keep them by."""

from typing import ClassVar

import msgspec

from p2pnode.ids import ContactId, Lane, PairingId, id_text
from p2pnode.store.records import LaneRow, PairingRow
from p2pnode.store.table import BY_CONTACT, Exported, Table

_PAIRING = "id, kind, phase, record, petname, expires"


class Pairings(Table):
    """Open pairings, and the tags on which mutual ones wait for the other's keys."""

    TABLES = ("pairings", "pairing_tags")

    def add(self, row: PairingRow) -> None:
        """Keep a new pairing."""
        self._db.run(
            f"INSERT INTO pairings ({_PAIRING}) VALUES (?,?,?,?,?,?)", msgspec.structs.astuple(row)
        )

    def get(self, id: PairingId) -> PairingRow | None:
        """Return a pairing by its id."""
        row = self._db.row(f"SELECT {_PAIRING} FROM pairings WHERE id=?", (id,))
        return None if row is None else PairingRow(*row)

    def all(self) -> list[PairingRow]:
        """Return all open pairings, oldest first."""
        rows = self._db.rows(f"SELECT {_PAIRING} FROM pairings ORDER BY ref")
        return [PairingRow(*row) for row in rows]

    def update(self, row: PairingRow) -> None:
        """Replace everything about a pairing but its id."""
        self._db.run(
            "UPDATE pairings SET kind=?, phase=?, record=?, petname=?, expires=? WHERE id=?",
            (row.kind, row.phase, row.record, row.petname, row.expires, row.id),
        )

    def remove(self, id: PairingId) -> None:
        """Delete a pairing with its tags, lane and envelopes."""
        self._db.run("DELETE FROM pairings WHERE id=?", (id,))

    def tag_add(self, pairing: PairingId, tag: bytes) -> None:
        """Listen on a tag for a mutual pairing; again is harmless."""
        self._db.run(
            "INSERT OR IGNORE INTO pairing_tags (tag, pairing) VALUES (?,?)", (tag, pairing)
        )

    def tag_find(self, tag: bytes) -> PairingId | None:
        """Return the mutual pairing that waits on a tag."""
        found = self._db.value("SELECT pairing FROM pairing_tags WHERE tag=?", (tag,))
        return None if found is None else PairingId(found)

    LEFT_OUT: ClassVar = {
        "pairings.record": "keys and secrets of a pairing that is not complete",
        "pairings.id": "a random number that names a pairing here",
        "pairing_tags": "marks by which the other side's envelopes are known",
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return what pairings are open, without their secrets."""
        rows = [] if contact else self.all()
        return {
            "pairings": [
                {
                    "kind": row.kind,
                    "phase": row.phase,
                    "petname": row.petname,
                    "expires": row.expires,
                }
                for row in rows
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete all pairings; an open one belongs to no contact yet."""
        if contact is None:
            self._clear()


class Lanes(Table):
    """Which lane stands for which contact or pairing."""

    TABLES = ("lanes",)

    def add(self, row: LaneRow) -> None:
        """Keep a new lane."""
        self._db.run(
            "INSERT INTO lanes (lane, contact, pairing) VALUES (?,?,?)",
            (row.lane, row.contact, row.pairing),
        )

    def for_contact(self, contact: ContactId) -> Lane | None:
        """Return a contact's lane: the newest, when an older one is still to be replaced."""
        found = self._db.value(
            "SELECT lane FROM lanes WHERE contact=? ORDER BY ref DESC LIMIT 1", (contact,)
        )
        return None if found is None else Lane(found)

    def of_contact(self, contact: ContactId) -> list[Lane]:
        """Return all lanes of a contact, oldest first."""
        rows = self._db.rows("SELECT lane FROM lanes WHERE contact=? ORDER BY ref", (contact,))
        return [Lane(lane) for (lane,) in rows]

    def all(self) -> list[LaneRow]:
        """Return all lanes, oldest first."""
        rows = self._db.rows("SELECT lane, contact, pairing FROM lanes ORDER BY ref")
        return [LaneRow(*row) for row in rows]

    def remove(self, lane: Lane) -> None:
        """Delete a lane; its transports must be told to revoke it."""
        self._db.run("DELETE FROM lanes WHERE lane=?", (lane,))

    LEFT_OUT: ClassVar = {"lanes.pairing": "a random number that names a pairing here"}

    def export(self, contact: ContactId | None) -> Exported:
        """Return the lanes."""
        rows = [row for row in self.all() if contact is None or row.contact == contact]
        return {
            "lanes": [
                {"lane": id_text(row.lane), "contact": id_text(row.contact or b"")} for row in rows
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete a contact's lane, or all."""
        self._erase(contact, BY_CONTACT)
