"""Tables meta and identity: who this node is, and small named values of its own."""

from typing import ClassVar

import msgspec

from p2pnode.ids import ContactId, id_text
from p2pnode.protocol.identity import Own
from p2pnode.store.table import Exported, Table, decoded

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Own)


class Meta(Table):
    """Named values, such as the node's own clock."""

    TABLES = ("meta",)

    def get(self, name: str) -> bytes | None:
        """Return the value under name."""
        value: bytes | None = self._db.value("SELECT value FROM meta WHERE name=?", (name,))
        return value

    def put(self, name: str, value: bytes) -> None:
        """Keep value under name."""
        self._db.run(
            "INSERT INTO meta (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value=excluded.value",
            (name, value),
        )

    LEFT_OUT: ClassVar = {
        "meta.value": "this node's clock and counters, and the key of source slots"
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return the names alone: values may be keys."""
        rows = [] if contact else self._db.rows("SELECT name FROM meta ORDER BY name")
        return {"meta": [{"name": name} for (name,) in rows]}

    def erase(self, contact: ContactId | None) -> None:
        """Delete everything; nothing here is about a contact."""
        if contact is None:
            self._clear()


class Identity(Table):
    """This node's account and device keys: one row."""

    TABLES = ("identity",)

    def load(self) -> Own | None:
        """Return who this node is; None before it was said."""
        raw = self._db.value("SELECT own FROM identity")
        return None if raw is None else decoded(_decoder, raw)

    def save(self, own: Own) -> None:
        """Keep who this node is."""
        self._db.run(
            "INSERT INTO identity (ref, own) VALUES (1, ?)"
            " ON CONFLICT (ref) DO UPDATE SET own=excluded.own",
            (_encoder.encode(own),),
        )

    LEFT_OUT: ClassVar = {
        "identity.own": "the private keys of account and device; the public ids are there"
    }

    def export(self, contact: ContactId | None) -> Exported:
        """Return name and public ids."""
        own = None if contact else self.load()
        if own is None:
            return {"identity": []}
        return {
            "identity": [
                {
                    "name": own.name,
                    "account": id_text(own.account.public),
                    "device": id_text(own.device.id),
                }
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Delete the keys of this node, when everything is to go."""
        if contact is None:
            self._clear()
