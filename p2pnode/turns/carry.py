"""What this node carries: for others, and as copies of its own mail.

Custody knows sources as slots alone; the key that makes them lies in the vault.
"""

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.custody import ORIGINS, Admit, Kind, Refuse, judge, victim
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import Outer, parse_untrusted
from p2pnode.protocol.limits import LIFETIMES
from p2pnode.protocol.primitives import prf
from p2pnode.store.vault import Vault
from p2pnode.turns.asks import FetchCarried
from p2pnode.turns.effects import Carried, Decision, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

SPREAD_AT_ONCE = 64
"""Own envelopes whose copies one turn puts into custody."""

EVICTED_AT_ONCE = 64
"""Envelopes that make room for one at most: 16 small ones for the largest, and rows besides."""

LOOKED_AT = 32
"""Envelopes of a source, the oldest, among which the one that goes is chosen."""

OWN, STRANGERS, COURIER = b"own", b"strangers", b"courier"


def slot(vault: Vault, of: bytes) -> bytes:
    """Return the slot of a source: a contact's id, OWN or STRANGERS."""
    key = vault.meta.get("source-slots")
    assert key is not None  # written when the home was made
    return prf(key, b"p2pn source slot", of, size=8)


def keep(
    stores: Stores,
    kind: Kind,
    of: bytes,
    outer: Outer,
    envelope: EnvelopeId,
    age: int,
    now: Moment,
) -> bool:
    """Take an envelope into custody if policy allows, making room by it; tell whether it is there.

    of: the contact's id, OWN or STRANGERS. age: whole hours, as claimed; what is said to be past
    its lifetime already leaves no trace, so that a lie of that kind costs nobody the envelope.
    """
    if age * 3600 >= LIFETIMES[outer.lifetime]:
        return False
    custody, size = stores.custody, len(outer.raw)
    source, strangers = slot(stores.vault, of), slot(stores.vault, STRANGERS)
    for _ in range(EVICTED_AT_ONCE):
        usage = custody.usage(source, strangers)
        verdict = judge(stores.carry, usage, kind, source, strangers, size)
        if isinstance(verdict, Admit):
            custody.put(envelope, outer.tag, outer.raw, outer.lifetime, age, source, now.node)
            return True
        if isinstance(verdict, Refuse):
            return False
        gone = victim(
            custody.candidates(verdict.slot, LOOKED_AT),
            age=age * 3600,
            size=size,
            older=verdict.older,
        )
        if gone is None:
            return False
        custody.remove([EnvelopeId(gone.id)])
    return False


def spread(stores: Stores, now: Moment) -> list[Effect]:
    """Give carriers copies of own envelopes whose time for it has come.

    One that its recipient's own node has taken meanwhile needs no carrier.
    """
    effects: list[Effect] = []
    for row in stores.vault.outbox.take_due(now.node, SPREAD_AT_ONCE):
        age = row.age + max(0, now.node - row.born) // 3600
        outer = parse_untrusted(row.raw)
        if not row.accepted and keep(stores, "own", OWN, outer, row.envelope, age, now):
            effects.append(Carried(None, row.envelope))
    return effects


def delay(stores: Stores, entropy: Entropy) -> int:
    """Return after how many seconds a fresh envelope's copy goes to carriers."""
    least, most = ORIGINS[stores.origin]
    return least + int.from_bytes(entropy.take(4)) % (most - least + 1)


def fetch(stores: Stores, ask: FetchCarried) -> Decision:
    """Answer (id, age in hours, raw bytes) of those carried envelopes that are still here."""
    found = []
    for envelope in ask.ids:
        row = stores.custody.get(envelope)
        if row is not None:
            raw, age = row
            found.append((envelope, age, raw))
    return Decision(found)
