"""Time passes: what is over goes, and the node's clock is kept."""

from p2pnode.turns import delivery, mutual, pairing
from p2pnode.turns.effects import Decision
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

KEPT_EVENTS = 100_000
"""Stored events kept at most; the oldest acknowledged ones go first."""


def upkeep(stores: Stores, now: Moment) -> Decision:
    """Expire messages, keys, pairings and carried envelopes; keep the clock."""
    vault = stores.vault
    effects = [
        *delivery.expire(stores, now),
        *mutual.expire(stores, now),
        *pairing.expire(stores, now),
    ]
    vault.tags.expire(now.node)
    vault.opened.expire(now.node)
    vault.events.prune(KEPT_EVENTS)
    stores.custody.expire(now.node)
    vault.meta.put("clock", now.node.to_bytes(8, "big") + now.wall.to_bytes(8, "big"))
    return Decision(effects=tuple(effects))
