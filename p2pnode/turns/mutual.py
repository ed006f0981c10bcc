"""Mutual scans in the vault: both codes are known, the keys travel in pairing envelopes."""

import msgspec

from p2pnode.errors import InvalidInput, PairingFailed
from p2pnode.ids import ContactId, PairingId
from p2pnode.protocol import limits
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import Outer
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.names import FALLBACK, petname
from p2pnode.protocol.pairing import mutual
from p2pnode.protocol.pairing.agreement import Agreed, Half
from p2pnode.protocol.pairing.code import Code
from p2pnode.protocol.pairing.mutual import Mutual
from p2pnode.store.records import ContactRow, PairingRow
from p2pnode.store.vault import Vault
from p2pnode.turns import note, pairing
from p2pnode.turns.asks import BeginMutual, EndPairing, Keep, MutualBacklog, ShowMutual
from p2pnode.turns.effects import Decision, Effect, PairedMutually, PeersChanged, PushPairing
from p2pnode.turns.moment import Moment
from p2pnode.turns.posting import age_at_birth, post
from p2pnode.turns.stores import Stores


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a code that is shown and not yet answered by a scan."""

    code: Code
    half: Half


def show(stores: Stores, ask: ShowMutual, now: Moment) -> Decision:
    """Keep a shown code until the other's is scanned. Raises InvalidInput when too many are."""
    pairings = stores.vault.pairings
    if len(pairings.all()) >= limits.MAX_OPEN_PAIRINGS:
        raise InvalidInput("too many mutual scans wait for keys", hint="Cancel one of them.")
    pairings.add(
        PairingRow(
            id=ask.id,
            kind="mutual",
            phase="shown",
            record=msgspec.msgpack.encode(Shown(ask.code, ask.half)),
            petname="",
            expires=now.node + limits.MUTUAL_LIFETIME,
        )
    )
    return Decision()


def begin_mutual(stores: Stores, ask: BeginMutual, now: Moment, entropy: Entropy) -> Decision:
    """Both codes are known: send our keys by any path, and await theirs.

    Answers the name of the contact that waits for its keys. Raises InvalidInput.
    """
    vault = stores.vault
    row = vault.pairings.get(ask.id)
    if row is None or row.phase != "shown":
        raise InvalidInput("this code is not waiting for a scan", hint="Show a new one.")
    shown = msgspec.msgpack.decode(row.record, type=Shown)
    record, envelopes = mutual.begin(shown.code, shown.half, ask.code, entropy)
    vault.pairings.update(
        msgspec.structs.replace(
            row, phase="scanned", record=msgspec.msgpack.encode(record), petname=ask.petname
        )
    )
    for tag in mutual.tags(record):
        vault.pairings.tag_add(ask.id, tag)
    name = pairing.free_name(vault, petname(ask.petname) if ask.petname else FALLBACK)
    vault.contacts.add(
        ContactRow(
            id=ContactId(entropy.take(16)),
            account=pairing.waiting_account(ask.id),
            name=name,
            hint="",
            state="pending",
            verified="scan",
            created=now.wall,
            expires=now.node + limits.MUTUAL_LIFETIME,
            confirm=b"",
            alice=record.alice,
        )
    )
    sent = _send(stores, ask.id, envelopes, now, entropy)
    return Decision(name, (*sent, PeersChanged()))


def arrived_for_pairing(
    stores: Stores, outer: Outer, now: Moment, entropy: Entropy
) -> list[Effect] | None:
    """Take an envelope of a mutual scan; None when its tag is none of ours.

    Raises RemoteError for junk, which changes nothing.
    """
    vault = stores.vault
    pairing_id = vault.pairings.tag_find(outer.tag)
    row = vault.pairings.get(pairing_id) if pairing_id is not None else None
    if pairing_id is None or row is None:
        return None
    before = msgspec.msgpack.decode(row.record, type=Mutual)
    after, envelopes, agreed = mutual.receive_untrusted(before, outer, entropy)
    vault.pairings.update(
        msgspec.structs.replace(
            row,
            record=msgspec.msgpack.encode(after),
            phase="done" if after.done else "scanned",
        )
    )
    effects = _send(stores, pairing_id, envelopes, now, entropy)
    if agreed is not None:
        effects += _agreed(stores, pairing_id, row.petname, agreed, now, entropy)
    return effects


def _agreed(
    stores: Stores, id_: PairingId, name: str, agreed: Agreed, now: Moment, entropy: Entropy
) -> list[Effect]:
    """Keep the contact. The record stays until a link shows that the other side is done too.

    Whoever turns out to be a contact already is none anew, and the scan ends: were that an error,
    each copy of the envelope would come again, and hold up whatever came with it.
    """
    try:
        kept = pairing.keep(stores, Keep(id_, agreed, name, True, "scan"), now, entropy)
    except PairingFailed:
        ended = drop(stores.vault, id_)
        known = stores.vault.contacts.by_account(agreed.account)
        if known is None:
            return ended
        told = note.about_contact(stores.vault, "contact.changed", known.id, now, "known-already")
        return [*ended, told]
    _, chosen = kept.answer
    return [*kept.effects, PairedMutually(id_, agreed.account, chosen)]


def _send(
    stores: Stores, id_: PairingId, envelopes: list[bytes], now: Moment, entropy: Entropy
) -> list[Effect]:
    sent: list[tuple[int, bytes]] = []
    for raw in envelopes:
        age = age_at_birth(entropy)
        post(stores, raw, now, entropy, age=age, pairing=id_)
        sent.append((age, raw))
    return [PushPairing(id_, tuple(sent))] if sent else []


def backlog(stores: Stores, ask: MutualBacklog, now: Moment) -> Decision:
    """Answer (age in hours, raw bytes) of what a mutual scan has to send."""
    outbox = stores.vault.outbox
    rows = [outbox.get(envelope) for _, envelope in outbox.for_pairing(ask.id)]
    return Decision(
        [(row.age + max(0, now.node - row.born) // 3600, row.raw) for row in rows if row]
    )


def link_keys(vault: Vault) -> tuple[tuple[PairingId, LinkKey, bool], ...]:
    """Return how the other sides of mutual scans are recognised: (id, key, whether done here)."""
    found = []
    for row in vault.pairings.all():
        if row.phase == "shown":
            continue
        record = msgspec.msgpack.decode(row.record, type=Mutual)
        key = keys.first(mutual.link_secret(record), alice=record.alice)
        found.append((row.id, key, record.done))
    return tuple(found)


def finish(vault: Vault, account: bytes) -> list[Effect]:
    """A link with the contact stands, so both sides are done: the scan's record goes."""
    effects: list[Effect] = []
    for row in vault.pairings.all():
        if row.phase == "done" and _account(row) == account:
            effects += drop(vault, row.id)
    return effects


def _account(row: PairingRow) -> bytes:
    record = msgspec.msgpack.decode(row.record, type=Mutual)
    return mutual.peer_account(record)


def end(stores: Stores, ask: EndPairing) -> Decision:
    """Give up a mutual scan."""
    return Decision(effects=tuple(drop(stores.vault, ask.id)))


def drop(vault: Vault, id_: PairingId) -> list[Effect]:
    """Forget a mutual scan: its keys, its envelopes, and the contact that still waits for it."""
    for _, envelope in vault.outbox.for_pairing(id_):
        vault.outbox.remove(envelope)
    vault.pairings.remove(id_)
    waiting = vault.contacts.by_account(pairing.waiting_account(id_))
    gone = pairing.give_up(vault, waiting) if waiting is not None else []
    return [*gone, PeersChanged()]


def expire(stores: Stores, now: Moment) -> list[Effect]:
    """End mutual scans whose time is over."""
    effects: list[Effect] = []
    for row in stores.vault.pairings.all():
        if row.expires <= now.node:
            effects += drop(stores.vault, row.id)
    return effects
