"""Tables outbox, carriers and tokens: own mail under way, who carries it, and what has come."""

from collections.abc import Sequence
from itertools import takewhile
from typing import ClassVar

import msgspec

from p2pnode.ids import ContactId, DeviceId, EnvelopeId, PairingId, id_text
from p2pnode.protocol import limits
from p2pnode.store.database import Row
from p2pnode.store.records import OutboxRow
from p2pnode.store.table import BY_DEVICE, Exported, Table

EXPIRED_AT_ONCE = 256
"""Rows `Outbox.expired` returns at most, so that a turn stays short; the rest come next time."""

MAX_ANSWERS = 64
"""Envelopes without a message that wait for one device, up to which what it says is answered: by
asking without end it could fill this disk, and those of all who carry."""

_OUTBOX = "envelope, message, pairing, device, raw, lifetime, age, born, accepted"
_OUTBOX += ", first, spread, token"


_GOES = (
    " AND NOT EXISTS (SELECT 1 FROM devices JOIN contacts ON contacts.id=devices.contact"
    " WHERE devices.id=outbox.device AND (contacts.state='blocked' OR contacts.state='suspect'"
    " AND NOT EXISTS (SELECT 1 FROM resets WHERE resets.contact=contacts.id"
    " AND resets.envelope=outbox.envelope)))"
)
"""What may leave, by whatever way. For a contact that is blocked everything waits until he is not.
For one in doubt, since two of it may be about, all but our own reset: that can end the doubt."""


def _outbox(row: Row) -> OutboxRow:
    envelope, message, pairing, device, raw, lifetime, age, born, accepted, *rest = row
    return OutboxRow(
        envelope, message, pairing, device, raw, lifetime, age, born, accepted == 1, *rest
    )


class Outbox(Table):
    """Own mail: durable here alone until its recipient says it has come."""

    TABLES = ("carriers", "outbox")

    def add(self, row: OutboxRow) -> int:
        """Keep an envelope; return its row number, which is never used again."""
        dies = row.born + limits.LIFETIMES[row.lifetime] - row.age * 3600
        return self._db.insert(
            f"INSERT INTO outbox ({_OUTBOX}, dies) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*msgspec.structs.astuple(row), dies),
        )

    def get(self, envelope: EnvelopeId) -> OutboxRow | None:
        """Return an envelope's row."""
        row = self._db.row(f"SELECT {_OUTBOX} FROM outbox WHERE envelope=?", (envelope,))
        return None if row is None else _outbox(row)

    def for_device(self, device: DeviceId, after: int, limit: int) -> list[tuple[int, EnvelopeId]]:
        """Return the next (row number, id) that may go to a device after row `after`, accepted or
        not."""
        rows = self._db.rows(
            f"SELECT ref, envelope FROM outbox WHERE device=? AND ref>?{_GOES}"
            " ORDER BY ref LIMIT ?",
            (device, after, limit),
        )
        return [(ref, EnvelopeId(envelope)) for ref, envelope in rows]

    def of_device(self, device: DeviceId) -> list[EnvelopeId]:
        """Return all envelopes for a device, oldest first."""
        rows = self._db.rows("SELECT envelope FROM outbox WHERE device=? ORDER BY ref", (device,))
        return [EnvelopeId(envelope) for (envelope,) in rows]

    def page(
        self, after: int, limit: int, devices: Sequence[DeviceId] | None
    ) -> list[tuple[int, OutboxRow]]:
        """Return the next (row number, envelope) that may leave after row `after`; devices: for
        these alone."""
        chosen = "" if devices is None else f"device IN ({','.join('?' * len(devices))}) AND "
        rows = self._db.rows(
            f"SELECT ref, {_OUTBOX} FROM outbox WHERE {chosen}ref>?{_GOES} ORDER BY ref LIMIT ?",
            (*(devices or ()), after, limit),
        )
        return [(row[0], _outbox(row[1:])) for row in rows]

    def takes_answer(self, device: DeviceId) -> bool:
        """Tell whether fewer than `MAX_ANSWERS` envelopes without a message wait for a device."""
        found: int = self._db.value(
            "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE device=? AND message IS NULL"
            " LIMIT ?)",
            (device, MAX_ANSWERS),
        )
        return found < MAX_ANSWERS

    def for_pairing(self, pairing: PairingId) -> list[tuple[int, EnvelopeId]]:
        """Return the (row number, id) of all envelopes of a pairing, oldest first."""
        rows = self._db.rows(
            "SELECT ref, envelope FROM outbox WHERE pairing=? ORDER BY ref", (pairing,)
        )
        return [(ref, EnvelopeId(envelope)) for ref, envelope in rows]

    def accept(self, envelope: EnvelopeId) -> bool:
        """Note that the recipient's own node has an envelope; False when that was known."""
        return bool(
            self._db.change(
                "UPDATE outbox SET accepted=1 WHERE envelope=? AND accepted=0", (envelope,)
            )
        )

    def take_due(self, now: int, limit: int) -> list[OutboxRow]:
        """Return the envelopes whose copies go to carriers now, and note that they have.

        None goes before one that was written earlier: a recipient keeps only so many keys for what
        it has not seen, and a burst must not reach it all mixed up.
        """
        waiting = self._db.rows(
            f"SELECT ref, spread FROM outbox WHERE spread IS NOT NULL{_GOES} ORDER BY ref LIMIT ?",
            (limit,),
        )
        found = []
        for ref, _ in takewhile(lambda row: row[1] <= now, waiting):
            row = self._db.row(f"SELECT {_OUTBOX} FROM outbox WHERE ref=?", (ref,))
            assert row is not None  # found a moment ago, by the only writer
            self._db.run("UPDATE outbox SET first=NULL, spread=NULL WHERE ref=?", (ref,))
            found.append(_outbox(row))
        return found

    def first_due(self, now: int, limit: int) -> list[OutboxRow]:
        """Return the envelopes of which one carrier may get a copy now; none before one that was
        written earlier (see `take_due`)."""
        waiting = self._db.rows(
            f"SELECT first, envelope FROM outbox WHERE first IS NOT NULL{_GOES}"
            " ORDER BY ref LIMIT ?",
            (limit,),
        )
        due = takewhile(lambda row: row[0] <= now, waiting)
        found = (self.get(EnvelopeId(envelope)) for _, envelope in due)
        return [row for row in found if row is not None]

    def first_given(self, envelope: EnvelopeId) -> None:
        """Note that one carrier gets a copy."""
        self._db.run("UPDATE outbox SET first=NULL WHERE envelope=?", (envelope,))

    def held_back(self, device: DeviceId | None) -> list[EnvelopeId]:
        """Return the envelopes that one carrier has got and others are not to know of yet; without
        those that this device has taken itself."""
        rows = self._db.rows(
            "SELECT envelope FROM outbox WHERE spread IS NOT NULL AND first IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM carriers WHERE carriers.envelope=outbox.ref AND device IS ?)",
            (device,),
        )
        return [EnvelopeId(envelope) for (envelope,) in rows]

    def known_outside(self, envelope: EnvelopeId) -> bool:
        """Note that somebody else brought an own envelope, so that nothing need be held back; tell
        whether it was."""
        return bool(
            self._db.change(
                "UPDATE outbox SET first=NULL, spread=NULL WHERE envelope=? AND spread IS NOT NULL",
                (envelope,),
            )
        )

    def next_first(self, now: int) -> int | None:
        """Return when the next envelope goes to one carrier; None when it only waits for one."""
        found: int | None = self._db.value(
            f"SELECT first FROM outbox WHERE first IS NOT NULL{_GOES} ORDER BY ref LIMIT 1"
        )
        return found if found is not None and found > now else None

    def next_due(self) -> int | None:
        """Return when the next copy goes to carriers."""
        found: int | None = self._db.value(
            f"SELECT spread FROM outbox WHERE spread IS NOT NULL{_GOES} ORDER BY ref LIMIT 1"
        )
        return found

    def carried(self, envelope: EnvelopeId, device: DeviceId) -> int | None:
        """Note that a device has taken a copy; return how many have, None when that was known."""
        ref = self._db.value("SELECT ref FROM outbox WHERE envelope=?", (envelope,))
        known = not self._db.change(
            "INSERT OR IGNORE INTO carriers (envelope, device) VALUES (?,?)", (ref, device)
        )
        if known:
            return None
        found: int = self._db.value("SELECT count(*) FROM carriers WHERE envelope=?", (ref,))
        return found

    def carriers(self, message: int) -> list[DeviceId]:
        """Return the devices that have taken copies of a message's envelopes."""
        rows = self._db.rows(
            "SELECT DISTINCT carriers.device FROM carriers"
            " JOIN outbox ON outbox.ref = carriers.envelope WHERE outbox.message=?",
            (message,),
        )
        return [DeviceId(device) for (device,) in rows]

    def to_contact(self, contact: ContactId) -> tuple[int, int | None]:
        """Return how many messages to a contact are under way, and when the oldest was born."""
        row = self._db.row(
            "SELECT count(*), min(born) FROM outbox WHERE message IS NOT NULL AND device IN"
            " (SELECT id FROM devices WHERE contact=?)",
            (contact,),
        )
        assert row is not None  # an aggregate has one row
        return row[0], row[1]

    def carried_by(self, contact: ContactId) -> int:
        """Return how many own envelopes under way a contact's devices have taken to carry."""
        found: int = self._db.value(f"SELECT count(*) FROM carriers WHERE {BY_DEVICE}", (contact,))
        return found

    def to_devices(self, contact: ContactId) -> list[EnvelopeId]:
        """Return all envelopes under way to a contact."""
        rows = self._db.rows(f"SELECT envelope FROM outbox WHERE {BY_DEVICE}", (contact,))
        return [EnvelopeId(envelope) for (envelope,) in rows]

    def succeed(self, old: DeviceId, new: DeviceId) -> None:
        """Give what belongs to a device to the one that takes its place."""
        self._db.run("UPDATE outbox SET device=? WHERE device=?", (new, old))

    def remove(self, envelope: EnvelopeId) -> None:
        """Delete an envelope that has come, or is over."""
        self._db.run("DELETE FROM outbox WHERE envelope=?", (envelope,))

    def counts(self) -> tuple[int, int | None]:
        """Return how many envelopes are under way, and when the oldest was born.

        What is for nobody's device (a note to one that was replaced) does not count.
        """
        row = self._db.row(
            "SELECT count(*), min(born) FROM outbox WHERE device IS NOT NULL OR pairing IS NOT NULL"
        )
        assert row is not None  # an aggregate has one row
        return row[0], row[1]

    def expired(self, now: int) -> list[OutboxRow]:
        """Return envelopes whose lifetime is over, at most `EXPIRED_AT_ONCE` of them."""
        rows = self._db.rows(
            f"SELECT {_OUTBOX} FROM outbox WHERE ref IN"
            " (SELECT ref FROM outbox WHERE dies<=? LIMIT ?) ORDER BY ref",
            (now, EXPIRED_AT_ONCE),
        )
        return [_outbox(row) for row in rows]

    LEFT_OUT: ClassVar = {
        "outbox.raw": "sealed bytes of a message that is in the export itself",
        "outbox.token": "a secret by which carriers learn that an envelope has come",
        "outbox.first": "when the next copy goes to a carrier",
        "outbox.spread": "when the next copy goes to a carrier",
        "outbox.pairing": "to which open pairing an envelope belongs; it is listed of its own",
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return what is under way, without the sealed bytes, and who carries copies."""
        of = " WHERE ?1 IS NULL OR outbox.device IN (SELECT id FROM devices WHERE contact=?1)"
        rows = self._db.rows(
            "SELECT envelope, (SELECT id FROM messages WHERE messages.ref=outbox.message), device,"
            f" lifetime, age, born, dies, accepted FROM outbox{of} ORDER BY ref",
            (contact,),
        )
        carried = self._db.rows(
            "SELECT outbox.envelope, carriers.device FROM carriers"
            f" JOIN outbox ON outbox.ref=carriers.envelope{of} ORDER BY outbox.ref",
            (contact,),
        )
        return {
            "outbox": [
                {
                    "envelope": id_text(envelope),
                    "message": id_text(message or b""),
                    "device": id_text(device or b""),
                    "lifetime": lifetime,
                    "age": age,
                    "born": born,
                    "dies": dies,
                    "accepted": bool(accepted),
                }
                for envelope, message, device, lifetime, age, born, dies, accepted in rows
            ],
            "carriers": [
                {"envelope": id_text(envelope), "device": id_text(device)}
                for envelope, device in carried
            ],
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete what is under way to a contact, and what it carries, or all."""
        if contact is None:
            self._clear()
        else:
            self._db.run(f"DELETE FROM carriers WHERE {BY_DEVICE}", (contact,))
            self._db.run(
                "DELETE FROM outbox WHERE device IN (SELECT id FROM devices WHERE contact=?1)"
                " OR message IN (SELECT ref FROM messages WHERE contact=?1)",
                (contact,),
            )


class Tokens(Table):
    """Tokens of own envelopes that have come, until carriers are told."""

    TABLES = ("tokens",)

    def add(self, envelope: EnvelopeId, device: DeviceId, token: bytes, due: int) -> None:
        """Tell carriers when due that an envelope for a device has come."""
        self._db.run(
            "INSERT OR IGNORE INTO tokens (envelope, device, token, due) VALUES (?,?,?,?)",
            (envelope, device, token, due),
        )

    def succeed(self, old: DeviceId, new: DeviceId) -> None:
        """Give what belongs to a device to the one that takes its place."""
        self._db.run("UPDATE tokens SET device=? WHERE device=?", (new, old))

    def take_due(self, now: int) -> list[tuple[EnvelopeId, bytes]]:
        """Return and forget what carriers are to know now."""
        rows = self._db.rows("SELECT envelope, token FROM tokens WHERE due<=?", (now,))
        self._db.run("DELETE FROM tokens WHERE due<=?", (now,))
        return [(EnvelopeId(envelope), token) for envelope, token in rows]

    LEFT_OUT: ClassVar = {"tokens": "secrets by which carriers learn that an envelope has come"}

    def export(self, contact: ContactId | None) -> Exported:
        """Return nothing: tokens are secrets, and say nothing to a person."""
        return {}

    def erase(self, contact: ContactId | None) -> None:
        """Delete those of a contact, or all."""
        self._erase(contact, BY_DEVICE)
