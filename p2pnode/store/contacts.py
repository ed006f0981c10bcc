"""Tables contacts, devices and addresses: the address book."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from p2pnode.ids import ContactId, DeviceId, SessionRef, id_text
from p2pnode.protocol import limits
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.names import fold
from p2pnode.store.database import Row
from p2pnode.store.records import ContactRow, DeviceRow
from p2pnode.store.table import BY_CONTACT, BY_DEVICE, Exported, Table, decoded

_encoder = msgspec.msgpack.Encoder()
_link_decoder = msgspec.msgpack.Decoder(LinkKey)
_addresses_decoder = msgspec.msgpack.Decoder(list[bytes])

_CONTACT = "id, account, name, hint, state, verified, created, expires, confirm, alice"
_CONTACT += ", doubt, clock"
_DEVICE = "id, contact, certificate, link, session, last_seen, stated_sent, stated_received"
_DEVICE += ", reset, pass"


def _contact(row: Row) -> ContactRow:
    id_, account, name, hint, state, verified, created, expires, confirm, alice, *rest = row
    return ContactRow(
        id_, account, name, hint, state, verified, created, expires, confirm, alice == 1, *rest
    )


def _device(row: Row) -> DeviceRow:
    id_, contact, certificate, link, session, seen, sent, received, reset, carry = row
    key = decoded(_link_decoder, link)
    return DeviceRow(id_, contact, certificate, key, session, seen, sent, received, reset, carry)


class Contacts(Table):
    """The people in the address book."""

    TABLES = ("contacts",)

    def add(self, row: ContactRow) -> None:
        """Add a contact; its id, account and folded name must be new."""
        self._db.run(
            f"INSERT INTO contacts ({_CONTACT}, fold) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*msgspec.structs.astuple(row), fold(row.name)),
        )

    def get(self, id: ContactId) -> ContactRow | None:
        """Return a contact by its id on this node."""
        row = self._db.row(f"SELECT {_CONTACT} FROM contacts WHERE id=?", (id,))
        return None if row is None else _contact(row)

    def by_name(self, name: str) -> ContactRow | None:
        """Return the contact whose petname is the same as name under folding."""
        row = self._db.row(f"SELECT {_CONTACT} FROM contacts WHERE fold=?", (fold(name),))
        return None if row is None else _contact(row)

    def by_account(self, account: bytes) -> ContactRow | None:
        """Return the contact with this account."""
        row = self._db.row(f"SELECT {_CONTACT} FROM contacts WHERE account=?", (account,))
        return None if row is None else _contact(row)

    def all(self) -> list[ContactRow]:
        """Return all contacts, sorted by folded name."""
        return [
            _contact(row) for row in self._db.rows(f"SELECT {_CONTACT} FROM contacts ORDER BY fold")
        ]

    def expiring(self, now: int) -> list[ContactRow]:
        """Return the contacts whose `expires` has come."""
        rows = self._db.rows(
            f"SELECT {_CONTACT} FROM contacts WHERE expires<=? ORDER BY expires", (now,)
        )
        return [_contact(row) for row in rows]

    def update(self, row: ContactRow) -> None:
        """Replace everything about a contact but its id."""
        self._db.run(
            "UPDATE contacts SET account=?, name=?, hint=?, state=?, verified=?, created=?,"
            " expires=?, confirm=?, alice=?, doubt=?, clock=?, fold=? WHERE id=?",
            (*msgspec.structs.astuple(row)[1:], fold(row.name), row.id),
        )

    LEFT_OUT: ClassVar = {
        "contacts.fold": "the name again, as it is compared",
        "contacts.confirm": "a key of a pairing that is not complete",
        "contacts.clock": "the highest count among the messages of before a restore",
        "contacts.alice": "which part was played in the pairing; nothing to a person",
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return the address book without keys."""
        known = self.all() if contact is None else [self.get(contact)]
        return {
            "contacts": [
                {
                    "id": id_text(row.id),
                    "account": id_text(row.account),
                    "name": row.name,
                    "hint": row.hint,
                    "state": row.state,
                    "verified": row.verified,
                    "doubt": row.doubt,
                    "created": row.created,
                    "expires": row.expires,
                }
                for row in known
                if row is not None
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete one contact, or the whole address book."""
        if contact is None:
            self._clear()
        else:
            self._db.run("DELETE FROM contacts WHERE id=?", (contact,))


class Devices(Table):
    """The devices of contacts: what a link needs to know of them."""

    TABLES = ("devices",)

    def add(self, row: DeviceRow) -> None:
        """Add a device of a contact."""
        self._db.run(
            f"INSERT INTO devices ({_DEVICE}) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                row.id,
                row.contact,
                row.certificate,
                _encoder.encode(row.link),
                row.session,
                row.last_seen,
                row.stated_sent,
                row.stated_received,
                row.reset,
                row.carry_pass,
            ),
        )

    def get(self, id: DeviceId) -> DeviceRow | None:
        """Return a device by its id."""
        row = self._db.row(f"SELECT {_DEVICE} FROM devices WHERE id=?", (id,))
        return None if row is None else _device(row)

    def of_contact(self, contact: ContactId) -> list[DeviceRow]:
        """Return a contact's devices, oldest first."""
        rows = self._db.rows(
            f"SELECT {_DEVICE} FROM devices WHERE contact=? ORDER BY ref", (contact,)
        )
        return [_device(row) for row in rows]

    def all(self) -> list[DeviceRow]:
        """Return all devices, oldest first."""
        return [
            _device(row) for row in self._db.rows(f"SELECT {_DEVICE} FROM devices ORDER BY ref")
        ]

    def set_link(self, id: DeviceId, link: LinkKey) -> None:
        """Keep the link key as it stands now."""
        self._db.run("UPDATE devices SET link=? WHERE id=?", (_encoder.encode(link), id))

    def set_pass(self, id: DeviceId, carry_pass: bytes) -> None:
        """Keep how the device is recognised while its vault is locked."""
        self._db.run("UPDATE devices SET pass=? WHERE id=?", (carry_pass, id))

    def set_seen(self, id: DeviceId, at: int, *, again: bool = False) -> None:
        """Note that a link with the device stands, and when; again: it belongs to the encounter
        before."""
        self._db.run(
            "UPDATE devices SET last_seen=?, encounters=encounters+? WHERE id=?",
            (at, not again, id),
        )

    def encounters(self, contact: ContactId) -> int:
        """Return how many links with a contact's devices there were."""
        found: int = self._db.value(
            "SELECT coalesce(sum(encounters), 0) FROM devices WHERE contact=?", (contact,)
        )
        return found

    def set_session(self, id: DeviceId, ref: SessionRef | None) -> None:
        """Say which session envelopes for the device are sealed with."""
        self._db.run("UPDATE devices SET session=? WHERE id=?", (ref, id))

    def set_stated(self, id: DeviceId, sent: int, received: int) -> None:
        """Keep the highest indexes the device has stated."""
        self._db.run(
            "UPDATE devices SET stated_sent=?, stated_received=? WHERE id=?", (sent, received, id)
        )

    def set_reset(self, id: DeviceId, reset: bytes) -> None:
        """Keep, or forget, what `DeviceRow.reset` holds."""
        self._db.run("UPDATE devices SET reset=? WHERE id=?", (reset, id))

    def remove(self, id: DeviceId) -> None:
        """Delete a device with its sessions, tags, addresses and waiting envelopes."""
        self._db.run("DELETE FROM devices WHERE id=?", (id,))

    LEFT_OUT: ClassVar = {
        "devices.link": "keys by which the device is recognised",
        "devices.certificate": "what the account's signature says of the device: its public keys",
        "devices.reset": "secrets by which a session can be begun anew",
        "devices.pass": "how the device is recognised while it is locked",
        "devices.session": "a row number",
        "devices.stated_sent": "counters of the session, by which a copy of it is noticed",
        "devices.stated_received": "counters of the session, by which a copy of it is noticed",
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return which devices are known, without keys."""
        rows = self._db.rows(
            "SELECT id, contact, last_seen, encounters FROM devices"
            " WHERE ?1 IS NULL OR contact=?1 ORDER BY ref",
            (contact,),
        )
        return {
            "devices": [
                {
                    "id": id_text(id_),
                    "contact": id_text(of),
                    "last_seen": seen,
                    "encounters": encounters,
                }
                for id_, of, seen, encounters in rows
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete a contact's devices, or all."""
        self._erase(contact, BY_CONTACT)


class Addresses(Table):
    """Where devices say they may be reached, for each transport: hints only."""

    TABLES = ("addresses",)

    def set(self, device: DeviceId, transport: str, addresses: Sequence[bytes]) -> None:
        """Replace what is known for one device and transport; of more than
        `limits.MAX_TRANSPORTS` transports those told first go."""
        self._db.run(
            "INSERT INTO addresses (device, transport, addresses) VALUES (?,?,?)"
            " ON CONFLICT (device, transport) DO UPDATE SET addresses=excluded.addresses",
            (device, transport, _encoder.encode(list(addresses))),
        )
        self._db.run(
            "DELETE FROM addresses WHERE device=?1 AND ref NOT IN"
            " (SELECT ref FROM addresses WHERE device=?1 ORDER BY ref DESC LIMIT ?2)",
            (device, limits.MAX_TRANSPORTS),
        )

    def get(self, device: DeviceId, transport: str) -> list[bytes]:
        """Return what is known, in the order it was given."""
        raw = self._db.value(
            "SELECT addresses FROM addresses WHERE device=? AND transport=?", (device, transport)
        )
        return [] if raw is None else decoded(_addresses_decoder, raw)

    def all(self) -> list[tuple[DeviceId, str, list[bytes]]]:
        """Return everything that is known: (device, transport, addresses)."""
        return [
            (DeviceId(device), transport, decoded(_addresses_decoder, raw))
            for device, transport, raw in self._db.rows(
                "SELECT device, transport, addresses FROM addresses ORDER BY ref"
            )
        ]

    def of_contact(self, contact: ContactId) -> list[tuple[DeviceId, str, list[bytes]]]:
        """Return what is known for a contact's devices: (device, transport, addresses)."""
        return [
            (DeviceId(device), transport, decoded(_addresses_decoder, raw))
            for device, transport, raw in self._db.rows(
                "SELECT device, transport, addresses FROM addresses WHERE device IN"
                " (SELECT id FROM devices WHERE contact=?) ORDER BY ref",
                (contact,),
            )
        ]

    LEFT_OUT: ClassVar = {
        "addresses.addresses": "they may hold the key to reach the device with (onions do)"
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return for which transports how many addresses are known."""
        rows = self._db.rows(
            "SELECT device, transport, addresses FROM addresses"
            " WHERE ?1 IS NULL OR device IN (SELECT id FROM devices WHERE contact=?1)"
            " ORDER BY ref",
            (contact,),
        )
        return {
            "addresses": [
                {
                    "device": id_text(device),
                    "transport": transport,
                    "count": len(decoded(_addresses_decoder, raw)),
                }
                for device, transport, raw in rows
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete the addresses of a contact's devices, or all."""
        self._erase(contact, BY_DEVICE)
