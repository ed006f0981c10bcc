"""What becomes of one's own envelopes: acknowledged, offered again, expired."""

from p2pnode.protocol import limits
from p2pnode.protocol.entropy import Entropy
from p2pnode.store.records import OutboxRow
from p2pnode.store.vault import Vault
from p2pnode.turns import carry, note
from p2pnode.turns.asks import Acknowledged, Backlog, Fetch
from p2pnode.turns.effects import Charge, Decision, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


def acknowledged(stores: Stores, ask: Acknowledged, now: Moment, entropy: Entropy) -> Decision:
    """Keep what a contact's device says about our envelopes.

    The recipient's own may say that one came, or was opened. Another's can only say that it carries
    a copy. Ids we never had are passed over.
    """
    vault = stores.vault
    effects: list[Effect] = []
    for envelope in ask.ids:
        row = vault.outbox.get(envelope)
        if row is None:
            continue
        if row.device != ask.device or ask.locked:
            effects += _by_another(vault, ask, row, now)
            continue
        if ask.receipts or row.message is None:
            vault.outbox.remove(envelope)  # what carries no message gets no receipt
            carry.come(stores, row, now, entropy)
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


def _by_another(vault: Vault, ask: Acknowledged, row: OutboxRow, now: Moment) -> list[Effect]:
    if ask.receipts:
        return [Charge(None, "foreign-receipt")]
    carriers = vault.outbox.carried(row.envelope, ask.device)
    if carriers is None or row.message is None:
        return []
    vault.messages.set_handed(row.message, carriers)
    if carriers > 1:
        return []
    return note.state_reached(vault, row.message, "handed", now, "carried", ask.transport)


def backlog(stores: Stores, ask: Backlog) -> Decision:
    """Answer the next page of a device's waiting envelopes: a list of (row, envelope id).

    To a suspect contact nothing is sent until a person has decided, but our own reset.
    """
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
