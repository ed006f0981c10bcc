"""Small durable facts: what transports keep, and how far consumers have read."""

from p2pnode.turns.asks import Acknowledge, Begin, LoadPrivate, PrivateNames, SavePrivate
from p2pnode.turns.effects import Decision
from p2pnode.turns.stores import Stores


def acknowledge(stores: Stores, ask: Acknowledge) -> Decision:
    """Move a consumer's cursor on; it never goes back, nor beyond the last event."""
    events = stores.vault.events
    cursor = min(ask.cursor, events.last())
    if cursor > events.acked(ask.consumer):
        events.ack(ask.consumer, cursor)
    return Decision()


def begin(stores: Stores, ask: Begin) -> Decision:
    """Put a consumer that is not known at the newest event."""
    events = stores.vault.events
    fresh = events.begin(ask.consumer)
    return Decision((events.acked(ask.consumer), fresh))


def save(stores: Stores, ask: SavePrivate) -> Decision:
    """Keep a transport's value; an empty one deletes it."""
    stores.vault.private.save(ask.transport, ask.name, ask.value)
    return Decision()


def load(stores: Stores, ask: LoadPrivate) -> Decision:
    """Answer what a transport kept under a name, or None."""
    return Decision(stores.vault.private.load(ask.transport, ask.name))


def names(stores: Stores, ask: PrivateNames) -> Decision:
    """Answer under which names a transport kept something."""
    return Decision(stores.vault.private.names(ask.transport))
