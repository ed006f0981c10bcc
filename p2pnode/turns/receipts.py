"""End-to-end receipts: told at once on the author's own link, else carried like any envelope.

What is carried is late on purpose and put together, so that its coming says little about when a
person's node was where.
"""

from collections.abc import Iterable

from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.content import Receipts, encode_content
from p2pnode.protocol.custody import RECEIPTS
from p2pnode.protocol.entropy import Entropy
from p2pnode.turns import carry, note, twins
from p2pnode.turns.effects import Charge, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.send import seal_for
from p2pnode.turns.stores import Stores

TOGETHER = 48
"""Receipts in one envelope: as many as its smallest size holds."""

LIFETIME = limits.DEFAULT_LIFETIME
"""Lifetime class of receipts: that of messages, so that carriers cannot tell them apart."""


def owe(
    stores: Stores, device: DeviceId, envelope: EnvelopeId, now: Moment, entropy: Entropy
) -> None:
    """Note that a device is to be told that its envelope was opened."""
    least, most = RECEIPTS[stores.origin]
    late = int.from_bytes(entropy.take(4)) % (most - least + 1)
    stores.vault.owed.add(envelope, device, now.node + least + late)


def write_due(stores: Stores, now: Moment, entropy: Entropy) -> list[Effect]:
    """Seal receipts that have waited long enough, all that a device is owed in one envelope."""
    vault = stores.vault
    effects: list[Effect] = []
    for id_ in vault.owed.due(now.node):
        device = vault.devices.get(id_)
        contact = vault.contacts.get(device.contact) if device is not None else None
        ids = vault.owed.take(id_, TOGETHER)
        if device is None or device.session is None or contact is None:
            continue
        if contact.state == "active":
            content = encode_content(Receipts(tuple(ids)))
            effects.append(seal_for(stores, device, content, LIFETIME, None, now, entropy))
    return effects


def told(
    stores: Stores, device: DeviceId, ids: Iterable[bytes], now: Moment, entropy: Entropy
) -> list[Effect]:
    """Take receipts that came sealed: a device answers for what was sealed for it alone."""
    vault = stores.vault
    effects: list[Effect] = []
    for id_ in ids:
        read = twins.notice_read(stores, EnvelopeId(id_), now)
        if read is not None:
            effects += read
            continue
        row = vault.outbox.get(EnvelopeId(id_))
        if row is None:
            continue
        if row.device != device:
            effects.append(Charge(None, "foreign-receipt"))
            continue
        vault.outbox.remove(row.envelope)
        carry.come(stores, row, now, entropy)
        if row.message is not None:
            effects += note.state_reached(vault, row.message, "delivered", now, "delivered-carried")
    return effects
