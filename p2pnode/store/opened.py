"""Tables opened and owed: the envelopes that came here, and which authors are still to be told."""

from collections.abc import Sequence
from typing import ClassVar

from p2pnode.ids import ContactId, DeviceId, EnvelopeId
from p2pnode.store.table import BY_DEVICE, Exported, Table

FORGOTTEN_AT_ONCE = 1_024
"""Ids `Opened.expire` forgets at most; they end in the order they came, so no index is needed."""


class Opened(Table):
    """Ids of envelopes that are done with: opened here, so that a second copy is known, or of
    messages that went, so that none comes back."""

    TABLES = ("opened",)

    def add(self, envelope: EnvelopeId, device: DeviceId, expires: int) -> None:
        """Note an opened envelope and its author's device; again is harmless."""
        self._db.run(
            "INSERT OR IGNORE INTO opened (envelope, device, expires) VALUES (?,?,?)",
            (envelope, device, expires),
        )

    def has(self, envelope: EnvelopeId) -> DeviceId | None:
        """Return the author's device of an envelope opened here."""
        found = self._db.value("SELECT device FROM opened WHERE envelope=?", (envelope,))
        return None if found is None else DeviceId(found)

    def refuse(
        self, envelopes: Sequence[EnvelopeId], expires: int, *, forget: bool = False
    ) -> None:
        """Take no more copies of envelopes whose messages went. forget: also whose they were."""
        known = "coalesce((SELECT device FROM opened WHERE envelope=?1), x'')"
        kept = "x''" if forget else known
        self._db.run_many(
            "INSERT INTO opened (envelope, device, expires, refused)"
            f" VALUES (?1, {kept}, ?2, 1)"
            " ON CONFLICT (envelope) DO UPDATE SET device=excluded.device, refused=1",
            [(envelope, expires) for envelope in envelopes],
        )

    def refused(self, envelope: EnvelopeId) -> bool:
        """Tell whether no copy of an envelope is to be taken, because its message went."""
        found = self._db.value("SELECT refused FROM opened WHERE envelope=?", (envelope,))
        return bool(found)

    def of_contact(self, contact: ContactId) -> list[EnvelopeId]:
        """Return the envelopes of a contact that were opened here."""
        rows = self._db.rows(f"SELECT envelope FROM opened WHERE {BY_DEVICE}", (contact,))
        return [EnvelopeId(envelope) for (envelope,) in rows]

    def expire(self, now: int) -> int:
        """Forget ids whose envelopes nobody can carry any more; return how many."""
        return self._db.change(
            "DELETE FROM opened WHERE ref IN (SELECT ref FROM opened ORDER BY ref LIMIT ?)"
            " AND expires<=?",
            (FORGOTTEN_AT_ONCE, now),
        )

    LEFT_OUT: ClassVar = {"opened": "ids of sealed envelopes that are done with"}

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: ids of opened envelopes say nothing to a person."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Delete the ids of a contact's envelopes, or all."""
        self._erase(contact, BY_DEVICE)


class Owed(Table):
    """Envelopes opened here that came by others than their author, who is still to be told."""

    TABLES = ("owed",)

    def add(self, envelope: EnvelopeId, device: DeviceId, due: int) -> None:
        """Owe a receipt to the author's device, at the latest when due."""
        self._db.run(
            "INSERT OR IGNORE INTO owed (envelope, device, due) VALUES (?,?,?)",
            (envelope, device, due),
        )

    def due(self, now: int) -> list[DeviceId]:
        """Return the devices that have waited long enough."""
        rows = self._db.rows("SELECT DISTINCT device FROM owed WHERE due<=?", (now,))
        return [DeviceId(device) for (device,) in rows]

    def next_due(self) -> int | None:
        """Return when the next receipt is to be written."""
        found: int | None = self._db.value("SELECT min(due) FROM owed")
        return found

    def take(self, device: DeviceId, limit: int) -> list[EnvelopeId]:
        """Return and forget what a device is owed."""
        rows = self._db.rows(
            "SELECT envelope FROM owed WHERE device=? ORDER BY due LIMIT ?", (device, limit)
        )
        for (envelope,) in rows:
            self._db.run("DELETE FROM owed WHERE envelope=?", (envelope,))
        return [EnvelopeId(envelope) for (envelope,) in rows]

    LEFT_OUT: ClassVar = {
        "owed": "ids of sealed envelopes whose authors are still to be told that they came"
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: ids of opened envelopes say nothing to a person."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Delete what a contact is owed, or all."""
        self._erase(contact, BY_DEVICE)
