"""What this node carries: for others, and as copies of its own mail.

Custody knows sources as slots alone; the key that makes them lies in the vault.
"""

from collections.abc import Sequence
from typing import NamedTuple

from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol.custody import (
    FIRST,
    FORGOTTEN_AT_ONCE,
    ORIGINS,
    STRANGERS_EPOCH,
    STRANGERS_LATER,
    STRANGERS_SEE,
    TOKENS,
    Admit,
    Kind,
    Refuse,
    forgets,
    judge,
    victim,
    within,
)
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import Outer, parse_untrusted, token_hash
from p2pnode.protocol.limits import LIFETIMES
from p2pnode.protocol.primitives import prf
from p2pnode.protocol.reconcile.buckets import leaf, leaf_of
from p2pnode.store.records import OutboxRow
from p2pnode.store.vault import Vault
from p2pnode.turns.asks import FetchCarried, GetLeafIds, GetLeaves, GetRecent, HaveCome
from p2pnode.turns.effects import Carried, Charge, Decision, Effect, Give
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

SPREAD_AT_ONCE = 64
"""Own envelopes whose copies one turn puts into custody."""

EVICTED_AT_ONCE = 64
"""Envelopes that make room for one at most: 16 small ones for the largest, and rows besides."""

LOOKED_AT = 32
"""Envelopes of a source, the oldest, among which the one that goes is chosen."""

OWN, STRANGERS, COURIER = b"own", b"strangers", b"courier"

SLOT_KEY = "source-slots"
"""Under which name the vault keeps the key of the slots."""


def slot(vault: Vault, of: bytes) -> bytes:
    """Return the slot of a source: a contact's id, OWN or STRANGERS."""
    key = vault.meta.get(SLOT_KEY)
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
) -> bytes | None:
    """Take an envelope into custody if policy allows, making room by it; return its source's slot,
    None when it is not taken.

    of: the contact's id, OWN or STRANGERS. age: whole hours, as claimed; what is said to be past
    its lifetime already leaves no trace, so that a lie of that kind costs nobody the envelope.
    """
    if age * 3600 >= LIFETIMES[outer.lifetime]:
        return None
    custody, size = stores.custody, len(outer.raw)
    source, strangers = slot(stores.vault, of), slot(stores.vault, STRANGERS)
    usage = custody.usage(source, strangers)
    policy = stores.carry
    if stores.room is not None:
        policy = within(policy, usage, stores.room())
    for _ in range(EVICTED_AT_ONCE):
        verdict = judge(policy, usage, kind, source, strangers, size)
        if isinstance(verdict, Admit):
            custody.put(envelope, outer.tag, outer.raw, outer.lifetime, age, source, now.node)
            return source
        if isinstance(verdict, Refuse):
            return None
        if forgets(*custody.rows(verdict.slot)):
            custody.forget_gone(verdict.slot, FORGOTTEN_AT_ONCE)
        else:
            gone = victim(
                custody.candidates(verdict.slot, LOOKED_AT),
                age=age * 3600,
                size=size,
                older=verdict.older,
            )
            if gone is None:
                return None
            custody.remove([EnvelopeId(gone.id)])
        usage = custody.usage(source, strangers)
    return None


EXAMINED = "examined"
"""Under which name the vault keeps up to which row custody was looked at with the vault open."""


def examined(vault: Vault) -> int:
    """Return up to which row of custody everything that is ours has been opened."""
    return int.from_bytes(vault.meta.get(EXAMINED) or b"")


def spread(stores: Stores, now: Moment) -> list[Effect]:
    """Give carriers copies of own envelopes whose time for it has come.

    One that its recipient's own node has taken meanwhile needs no carrier.
    """
    effects: list[Effect] = []
    for row in stores.vault.outbox.take_due(now.node, SPREAD_AT_ONCE):
        age = row.age + max(0, now.node - row.born) // 3600
        outer = parse_untrusted(row.raw)
        if row.accepted:
            continue
        source = keep(stores, "own", OWN, outer, row.envelope, age, now)
        if source is not None:
            late = stores.origin != "fast"
            effects.append(Carried(None, row.envelope, source, late=late))
    return effects


def held_back(stores: Stores, peer: DeviceId | None) -> frozenset[EnvelopeId]:
    """Return what a peer is not to know of yet: own envelopes that somebody else carries first."""
    return frozenset(stores.vault.outbox.held_back(peer))


def leaves(stores: Stores, ask: GetLeaves) -> Decision:
    """Answer the digests of what counts as carried towards a peer, and the newest row."""
    custody = stores.custody
    found = custody.leaves()
    hidden = held_back(stores, ask.peer)
    for number in {leaf_of(one) for one in hidden}:
        [ids] = custody.leaf_ids([number])
        found[number] = leaf([one for one in ids if one not in hidden])
    return Decision((found, custody.newest()))


def leaf_ids(stores: Stores, ask: GetLeafIds) -> Decision:
    """Answer the ids of some leaves, as towards a peer."""
    hidden = held_back(stores, ask.peer)
    found = stores.custody.leaf_ids(ask.leaves)
    return Decision([[one for one in ids if one not in hidden] for ids in found])


def recent(stores: Stores, ask: GetRecent) -> Decision:
    """Answer the ids of what came after a row, as towards a peer, and the newest row."""
    custody, hidden = stores.custody, held_back(stores, ask.peer)
    found = custody.recent(ask.after, ask.limit)
    return Decision(([one for one in found if one not in hidden], custody.newest()))


def come(stores: Stores, row: OutboxRow, now: Moment, entropy: Entropy) -> None:
    """An own envelope has come: let carriers know after a while, where the person wants it."""
    given = row.first is None or row.spread is None
    if stores.tokens and row.device is not None and given:
        least, most = TOKENS
        late = least + int.from_bytes(entropy.take(4)) % (most - least + 1)
        stores.vault.tokens.add(row.envelope, row.device, row.token, now.node + late)


def release(stores: Stores, now: Moment) -> None:
    """Let go of own copies that have come; carriers learn of it when they next offer theirs."""
    for envelope, token in stores.vault.tokens.take_due(now.node):
        stores.custody.deliver(envelope, token)


def have_come(stores: Stores, ask: HaveCome) -> Decision:
    """Let go of carried envelopes whose tokens are shown; a wrong token is charged to its link."""
    effects: list[Effect] = []
    for envelope, token in ask.pairs:
        row = stores.custody.get(envelope)
        if row is None:
            continue
        if token_hash(token) == parse_untrusted(row[0]).token_hash:
            stores.custody.deliver(envelope, token)
        else:
            effects.append(Charge(ask.link, "bad-delivered-token"))
    return Decision(effects=tuple(effects))


def for_strangers(stores: Stores, now: Moment) -> Decision:
    """Answer the ids that strangers may get: a few at random, the same ones for some hours, so that
    whoever comes often as somebody new does not see more."""
    key = stores.vault.meta.get(SLOT_KEY)
    assert key is not None  # written when the home was made
    epoch = now.node // STRANGERS_EPOCH
    start = prf(key, b"p2pn strangers", epoch.to_bytes(8))
    since = STRANGERS_LATER[stores.origin]
    return Decision(tuple(stores.custody.from_start(start, since, STRANGERS_SEE)))


class Delays(NamedTuple):
    """When copies of a fresh envelope go to one carrier, and to all. Node time."""

    first: int | None
    spread: int


def delays(stores: Stores, now: Moment, entropy: Entropy) -> Delays:
    """Choose when copies of a fresh envelope go to carriers."""

    def chosen(span: tuple[int, int]) -> int:
        least, most = span
        return now.node + least + int.from_bytes(entropy.take(4)) % (most - least + 1)

    one = FIRST[stores.origin]
    return Delays(None if one is None else chosen(one), chosen(ORIGINS[stores.origin]))


def give_first(
    stores: Stores, links: Sequence[tuple[int, DeviceId | None]], now: Moment, entropy: Entropy
) -> list[Effect]:
    """Give fresh envelopes whose time for it has come to one carrier each, chosen at random among
    those who are here; without any they wait.

    To that carrier we are one as well from then on; to others we have nothing until it is spread,
    or until somebody brings it (see `held_back`).
    """
    outbox = stores.vault.outbox
    effects: list[Effect] = []
    for row in outbox.first_due(now.node, SPREAD_AT_ONCE) if links else ():
        others = [link for link, device in links if device != row.device]
        if not others and not row.accepted:
            continue
        outbox.first_given(row.envelope)
        if not row.accepted:
            keep(stores, "own", OWN, parse_untrusted(row.raw), row.envelope, row.age, now)
            link = others[int.from_bytes(entropy.take(4)) % len(others)]
            age = row.age + max(0, now.node - row.born) // 3600
            effects.append(Give(link, row.envelope, age, row.raw))
    return effects


def fetch(stores: Stores, ask: FetchCarried) -> Decision:
    """Answer (id, age in hours, raw bytes) of those carried envelopes that are still here."""
    found = []
    for envelope in ask.ids:
        row = stores.custody.get(envelope)
        if row is not None:
            raw, age = row
            found.append((envelope, age, raw))
    return Decision(found)
