"""Time passes: what is over goes, and the node's clock is kept."""

from dataclasses import dataclass

from p2pnode.protocol.entropy import Entropy
from p2pnode.store.meetings import DAY
from p2pnode.turns import carry, delivery, mutual, pairing, receipts, resets, twins
from p2pnode.turns.asks import Spread, Upkeep
from p2pnode.turns.effects import Decision
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

KEPT_EVENTS = 100_000
"""Stored events kept at most; the oldest go, acknowledged or not."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How full the node is after its upkeep: bytes carried of how many, and how many more the disk
    takes (None where nobody asked it)."""

    carried: int
    limit: int
    room: int | None


KEPT_ABSENT = 10_000
"""Ids of each conversation that were named and have not come, kept at most; the newest stay. Who
names what never comes would fill the disk; a forgotten one only looks newer than it is."""


def upkeep(stores: Stores, ask: Upkeep, now: Moment, entropy: Entropy) -> Decision:
    """Expire messages, keys, pairings and carried envelopes; keep the clock. Answers `Kept`."""
    vault = stores.vault
    effects = [
        *delivery.expire(stores, now),
        *mutual.expire(stores, now),
        *pairing.expire(stores, now),
        *resets.send_again(stores, now, entropy),
    ]
    twins.expire(vault, now)
    carry.release(stores, now)
    vault.tags.expire(now.node)
    vault.opened.expire(now.node)
    vault.meetings.expire(now.node // DAY)
    vault.events.prune(KEPT_EVENTS)
    vault.messages.prune_absent(KEPT_ABSENT)
    stores.custody.expire(now.node, now.wall)
    if ask.examined:
        vault.meta.put(carry.EXAMINED, stores.custody.newest().to_bytes(8))
    vault.meta.put("clock", now.node.to_bytes(8, "big") + now.wall.to_bytes(8, "big"))
    room = None if stores.room is None else stores.room()
    kept = Kept(stores.custody.count_bytes()[1], stores.carry.limit, room)
    return Decision(kept, tuple(effects))


def spread(stores: Stores, ask: Spread, now: Moment, entropy: Entropy) -> Decision:
    """Do what a short time brings: copies for carriers, and receipts for those not met since.

    Answers in how many seconds there is more to do, None when nothing waits (but perhaps for
    somebody to come).
    """
    given = carry.give_first(stores, ask.links, now, entropy)
    written = receipts.write_due(stores, now, entropy)
    copied = carry.spread(stores, now)
    outbox = stores.vault.outbox
    ahead = (outbox.next_due(), stores.vault.owed.next_due(), outbox.next_first(now.node))
    due = min((moment for moment in ahead if moment is not None), default=None)
    left = None if due is None else max(0, due - now.node)
    if len(given) == carry.SPREAD_AT_ONCE:
        left = 0
    return Decision(left, (*given, *written, *copied))
