"""What becomes of one's own envelopes: acknowledged, offered again, expired."""

from p2pnode.protocol import limits
from p2pnode.turns import note
from p2pnode.turns.asks import Acknowledged, Backlog, Fetch
from p2pnode.turns.effects import Charge, Decision, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


def acknowledged(stores: Stores, ask: Acknowledged, now: Moment) -> Decision:
    """Keep what the recipient's own device says about envelopes sealed for it.

    Anything else (ids we never had, or sealed for another device) is passed over: a device can
    only ever answer for itself.
    """
    vault = stores.vault
    effects: list[Effect] = []
    for envelope in ask.ids:
        row = vault.outbox.get(envelope)
        if row is None:
            continue
        if row.device != ask.device:
            effects.append(Charge(None, "foreign-receipt"))
            continue
        if ask.receipts:
            vault.outbox.remove(envelope)
        elif not vault.outbox.accept(envelope):
            continue
        if row.message is None:
            continue
        if ask.receipts:
            effects += note.state_reached(
                vault, row.message, "delivered", now, "delivered", ask.transport
            )
        else:
            effects += note.state_reached(
                vault, row.message, "handed", now, "handed", ask.transport
            )
    return Decision(effects=tuple(effects))


def backlog(stores: Stores, ask: Backlog) -> Decision:
    """Answer the next page of a device's waiting envelopes: a list of (row, envelope id).

    To a suspect contact nothing is sent until a person has decided.
    """
    device = stores.vault.devices.get(ask.device)
    contact = stores.vault.contacts.get(device.contact) if device is not None else None
    if contact is None or contact.state == "suspect":
        return Decision([])
    return Decision(stores.vault.outbox.for_device(ask.device, ask.after, ask.limit))


def fetch(stores: Stores, ask: Fetch, now: Moment) -> Decision:
    """Answer (age in hours, raw bytes) for those own envelopes that still wait."""
    found = []
    for envelope in ask.ids:
        row = stores.vault.outbox.get(envelope)
        if row is not None:
            found.append((envelope, row.age + max(0, now.node - row.born) // 3600, row.raw))
    return Decision(found)


def expire(stores: Stores, now: Moment) -> list[Effect]:
    """End the messages whose lifetime is over."""
    vault = stores.vault
    effects: list[Effect] = []
    for row in vault.outbox.expired(now.node):
        vault.outbox.remove(row.envelope)
        if row.message is not None:
            effects += note.state_reached(
                vault,
                row.message,
                "expired",
                now,
                "expired",
                str(limits.LIFETIMES[row.lifetime] // 86_400),
            )
    return effects
