"""Own envelopes for couriers: what a stick takes along, and that it did."""

from p2pnode.turns.asks import Couriered, OwnParcels
from p2pnode.turns.effects import Decision
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

COURIERED = "couriered"


def own(stores: Stores, ask: OwnParcels, now: Moment) -> Decision:
    """Answer the next page of own envelopes: a list of (row, id, age in hours, raw bytes).

    Those for a contact that was stopped stay here, as on links.
    """
    vault = stores.vault
    wanted = None
    if ask.contact is not None:
        wanted = [row.id for row in vault.devices.of_contact(ask.contact)]
    found = []
    for ref, row in vault.outbox.page(ask.after, ask.limit, wanted):
        age = row.age + max(0, now.node - row.born) // 3600
        found.append((ref, row.envelope, age, row.raw))
    return Decision(found)


def written(stores: Stores, ask: Couriered, now: Moment) -> Decision:
    """Note for `why` that messages are in a courier's files; again says nothing new."""
    vault = stores.vault
    for envelope in ask.ids:
        row = vault.outbox.get(envelope)
        if row is None or row.message is None:
            continue
        told = vault.traces.of(row.message)
        if not told or told[-1][1] != COURIERED:
            vault.traces.add(row.message, now.wall, COURIERED, "")
    return Decision()
