"""An envelope arrives: for us, for a pairing of ours, or to be carried."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import DeviceId, EnvelopeId, MessageId, SessionRef
from p2pnode.protocol import limits
from p2pnode.protocol.content import (
    Fading,
    Proposal,
    Redaction,
    Replaced,
    ResetAnswer,
    Text,
    Verdict,
    content_untrusted,
)
from p2pnode.protocol.content import Receipts as ContentReceipts
from p2pnode.protocol.conversation import check_place_untrusted
from p2pnode.protocol.custody import Kind
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import Outer, envelope_id, parse_untrusted
from p2pnode.protocol.link.messages import Accepted, Delivered, Receipts, Refused, Want
from p2pnode.protocol.session.ratchet import open_untrusted
from p2pnode.protocol.session.records import TagRow
from p2pnode.store.records import ContactRow, MessageRow
from p2pnode.turns import agreements, carry, keeping, note, receipts, redactions, resets, twins
from p2pnode.turns.asks import BY_COURIER, Arrived, Examine, LinkId, Offered
from p2pnode.turns.contacts import activate
from p2pnode.turns.effects import Carried, Charge, Decision, Effect, Later, NoRoom, Receipt, Tell
from p2pnode.turns.moment import Moment
from p2pnode.turns.mutual import arrived_for_pairing
from p2pnode.turns.stores import Stores

Known = Literal["opened", "come", "held"]

REFUSED_NO_ROOM = 1
"""Refusal code: this node will not carry the envelope now."""

REFUSED_STORE = 2
"""Refusal code: this node can store nothing now."""

FOR_MAIL = 12_000_000
"""Bytes of what carried envelopes leave free on the disk that arriving mail may fill. What is left
after that is this node's own: to write, to erase, to lock, to start again, whatever others send."""


def arrived(stores: Stores, ask: Arrived, now: Moment, entropy: Entropy) -> Decision:
    """Open an envelope that is for us; otherwise carry it when policy allows.

    Junk under a tag of ours uses nothing up and is treated like any foreign envelope, so that a
    peer cannot learn from our answer that the tag was ours. Answers what became of it: known,
    opened, kept or refused, or "later". Raises RemoteError for a malformed envelope.
    """
    outer = parse_untrusted(ask.raw)
    envelope = envelope_id(ask.raw)
    if stores.vault.outbox.known_outside(envelope):
        source = carry.slot(stores.vault, carry.OWN)
        answer = Tell(ask.link, Accepted((envelope,)))
        return Decision("known", (answer, Carried(ask.link, envelope, source, late=True)))
    known = _known(stores, ask.device, envelope)
    if known is not None:
        return Decision("known", tuple(_tell(stores, ask.link, {known: [envelope]})))
    if stores.room is not None and stores.room() <= -FOR_MAIL:
        # Before the tag is looked at: the answer must not tell whose it is.
        return Decision("refused", (Tell(ask.link, Refused(REFUSED_STORE, (envelope,))), NoRoom()))
    if ask.later and not _handed_over(stores, ask, outer):
        return Decision("later", (Later(ask),))
    if stores.vault.opened.refused(envelope):
        return Decision("known", tuple(_taken_and_dropped(stores, ask, outer, envelope, now)))
    effects: list[Effect] = []
    try:
        mine = _open(stores, outer, envelope, now, entropy)
        if mine is not None:
            told = _answered(stores, ask, outer, envelope, mine, now, entropy)
            return Decision("opened", (*mine, *told))
        private = _private(stores, outer, envelope, now, entropy)
        if private is not None:
            told = _carried_on(stores, ask, outer, envelope, now)
            owing = _owing(stores, private, now, entropy)
            return Decision("opened", (*owing, *told))
    except RemoteError as error:
        effects.append(Charge(ask.link, error.reason))
    kept = _carried(stores, ask, outer, envelope, now)
    return Decision("kept" if len(kept) > 1 else "refused", (*effects, *kept))


def _handed_over(stores: Stores, ask: Arrived, outer: Outer) -> bool:
    """Tell whether an envelope is for us and comes from its author."""
    hit = stores.vault.tags.find(outer.tag)
    return hit is not None and stores.vault.sessions.device(hit[0]) == ask.device


def _answered(
    stores: Stores,
    ask: Arrived,
    outer: Outer,
    envelope: EnvelopeId,
    mine: list[Effect],
    now: Moment,
    entropy: Entropy,
) -> list[Effect]:
    """Say what becomes of the receipts for what was opened, and what the link is told.

    The author's own device is told at once; for others a receipt is owed. A carrier learns nothing:
    it is answered as by any carrier, and the envelope is carried on as by any.
    """
    direct = False
    for effect in mine:
        if isinstance(effect, Receipt) and effect.device == ask.device:
            direct = direct or effect.envelope == envelope
        elif isinstance(effect, Receipt):
            receipts.owe(stores, effect.device, effect.envelope, now, entropy)
    if direct:
        return []
    if stores.vault.opened.has(envelope) == ask.device:
        return [Tell(ask.link, Accepted((envelope,)))]
    return _carried_on(stores, ask, outer, envelope, now)


def _owing(stores: Stores, found: Sequence[Effect], now: Moment, entropy: Entropy) -> list[Effect]:
    """Owe the receipts among effects; return the others."""
    others: list[Effect] = []
    for effect in found:
        if isinstance(effect, Receipt):
            receipts.owe(stores, effect.device, effect.envelope, now, entropy)
        else:
            others.append(effect)
    return others


def offered(stores: Stores, ask: Offered) -> Decision:
    """Say which offered envelopes are wanted; those known already are acknowledged again."""
    found: dict[Known | None, list[EnvelopeId]] = {}
    hidden = carry.held_back(stores, ask.peer)
    for envelope in ask.ids:
        known = None if envelope in hidden else _known(stores, ask.device, envelope)
        found.setdefault(known, []).append(envelope)
    return Decision(effects=tuple(_tell(stores, ask.link, found)))


def _tell(
    stores: Stores, link: LinkId, found: Mapping[Known | None, Sequence[EnvelopeId]]
) -> Iterator[Tell]:
    """Yield the answers to what a link named."""
    for known, ids in found.items():
        match known:
            case "opened":
                yield Tell(link, Receipts(tuple(ids)))
            case "held":
                yield Tell(link, Accepted(tuple(ids)))
            case "come":
                pairs = ((one, stores.custody.token(one) or b"") for one in ids)
                yield Tell(link, Delivered(tuple(pairs)))
            case None:
                yield Tell(link, Want(tuple(ids)))


def _known(stores: Stores, device: DeviceId | None, envelope: EnvelopeId) -> Known | None:
    """Say what is known of an envelope: it came from this device and was opened, or it is known to
    have come, or it is held, or nothing.

    Only its author learns that an envelope was opened here. For others only what is carried counts:
    one that came from its author alone is taken again from a carrier, and carried like the rest.
    """
    if device is not None and stores.vault.opened.has(envelope) == device:
        return "opened"
    if stores.custody.token(envelope) is not None:
        return "come"
    return "held" if stores.custody.has(envelope) else None


def _open(
    stores: Stores, outer: Outer, envelope: EnvelopeId, now: Moment, entropy: Entropy
) -> list[Effect] | None:
    """Open an envelope under a listed tag; None when the tag is not ours (any more).

    Then open what had come before its turn: when the listing moves, envelopes in custody may have
    become ours. Raises RemoteError when it does not authenticate.
    """
    hit = stores.vault.tags.find(outer.tag)
    if hit is None:
        return None
    ref, row = hit
    opened = _open_one(stores, ref, row, outer, envelope, now, entropy)
    if opened is None:
        return None
    effects, listed = opened
    return [*effects, *_open_early(stores, listed, now, entropy)]


def _private(
    stores: Stores, outer: Outer, envelope: EnvelopeId, now: Moment, entropy: Entropy
) -> list[Effect] | None:
    """Take what is ours outside of any session: part of a mutual scan, or a reset; None when it
    is neither. Raises RemoteError for junk, which changes nothing."""
    pairing = arrived_for_pairing(stores, outer, now, entropy)
    if pairing is not None:
        return pairing
    taken = resets.arrived_for_reset(stores, outer, envelope, now, entropy)
    if taken is None:
        return None
    effects, listed = taken
    return [*effects, *_open_early(stores, listed, now, entropy)]


def _open_early(
    stores: Stores, listed: list[TagRow], now: Moment, entropy: Entropy
) -> list[Effect]:
    """Open what had come before its tag was listed."""
    effects: list[Effect] = []
    while listed:
        found = stores.custody.by_tags([tag.tag for tag in listed])
        listed = []
        for early, raw in found:
            early_outer = parse_untrusted(raw)
            early_hit = stores.vault.tags.find(early_outer.tag)
            if early_hit is None:
                continue
            try:
                more = _open_one(
                    stores, early_hit[0], early_hit[1], early_outer, early, now, entropy
                )
            except RemoteError as error:
                effects.append(Charge(None, error.reason))
                continue
            if more is not None:
                effects += more[0]
                listed += more[1]
    return effects


def _open_one(
    stores: Stores,
    ref: SessionRef,
    row: TagRow,
    outer: Outer,
    envelope: EnvelopeId,
    now: Moment,
    entropy: Entropy,
) -> tuple[list[Effect], list[TagRow]] | None:
    """Open one envelope and keep everything it changes; None when its contact is blocked."""
    vault = stores.vault
    device = vault.devices.get(vault.sessions.device(ref))
    contact = vault.contacts.get(device.contact) if device is not None else None
    if device is None or contact is None or contact.state == "blocked":
        return None
    opened = open_untrusted(vault.sessions.load(ref), row, outer, entropy=entropy)
    vault.sessions.save(ref, opened.session)
    vault.tags.remove(row.tag)
    if opened.listed:
        vault.tags.add(ref, opened.listed, now.node + limits.SKIPPED_LIFETIME)
    for chain, first in opened.forget:
        vault.tags.forget(ref, chain, first)
    if opened.skipped:
        vault.tags.prune(ref, limits.MAX_SKIPPED)
    vault.opened.add(envelope, device.id, now.node + 2 * limits.LIFETIMES[-1])
    effects: list[Effect] = []
    if contact.state == "pending":
        # Only who has our yes and has given theirs can seal for this session.
        effects += activate(stores, contact, now, entropy)
    content, lifetime = opened.content, outer.lifetime
    effects += _content(stores, contact, device.id, content, lifetime, envelope, now, entropy, ref)
    return effects, opened.listed


def _content(
    stores: Stores,
    contact: ContactRow,
    device: DeviceId,
    raw: bytes,
    lifetime: int,
    envelope: EnvelopeId,
    now: Moment,
    entropy: Entropy,
    session: SessionRef,
) -> list[Effect]:
    """Store what an authentic envelope says. A kind we do not know gets no receipt.

    Nonsense inside is its author's own and changes nothing; the envelope is used up all the same.
    """
    vault = stores.vault
    try:
        content = content_untrusted(raw)
        receipt = Receipt(device, envelope)
        match content:
            case ContentReceipts(ids=ids):
                return receipts.told(stores, device, ids, now, entropy)
            case ResetAnswer():
                return resets.answered(stores, contact, content, now, entropy)
            case Replaced():
                return twins.replaced(vault, contact, device, session, envelope, now)
            case Proposal():
                done = agreements.proposed(stores, contact, content, now, entropy)
                return [*done, receipt]
            case Verdict():
                return [*agreements.answered(stores, contact, content, now), receipt]
            case Redaction(id=id_):
                return [*redactions.asked(stores, contact, MessageId(id_), now), receipt]
            case Text() | Fading():
                heads = tuple(MessageId(head) for head in content.heads)
                check_place_untrusted(content.clock, heads, vault.messages.top_clock(contact.id))
            case _:
                return []
    except RemoteError as error:
        return [Charge(None, error.reason)]
    id_ = MessageId(content.id)
    gone = vault.gone.get(contact.id, id_)
    if vault.messages.by_id(contact.id, id_, mine=False) is not None or (
        gone is not None and gone.redacted is None
    ):
        return [receipt]
    rule = vault.conversations.get(contact.id)
    span = agreements.granted(rule, content.span) if isinstance(content, Fading) else 0
    message = MessageRow(
        ref=None,
        contact=contact.id,
        id=id_,
        mine=False,
        device=device,
        text=content.text,
        heads=heads,
        clock=content.clock,
        at=content.at,
        arrived=now.wall,
        state="received",
        lifetime=lifetime,
        handed=0,
        since=now.node,
        span=span,
        due=keeping.due(stores, rule, now.node, span),
        envelopes=(envelope,),
        redacted=gone.redacted if gone is not None else None,
    )
    ref = vault.messages.add(message)
    vault.traces.add(ref, now.wall, "opened", "")
    if gone is not None:
        vault.gone.forget(contact.id, id_)
        vault.traces.add(ref, now.wall, "redaction-asked", "")
    missing = vault.messages.missing(contact.id, heads)
    stored = msgspec.structs.replace(message, ref=ref)
    told = note.about_message(
        vault, "message.received", stored, ref, now, missing, hide=stores.redactions
    )
    return [told, receipt]


def _keep(
    stores: Stores, ask: Arrived, outer: Outer, envelope: EnvelopeId, now: Moment
) -> bytes | None:
    kind: Kind = "contact"
    of = ask.contact or carry.COURIER
    if ask.contact is None and ask.link != BY_COURIER:
        kind, of = "stranger", carry.STRANGERS
    return carry.keep(stores, kind, of, outer, envelope, ask.age, now)


def _carried_on(
    stores: Stores, ask: Arrived, outer: Outer, envelope: EnvelopeId, now: Moment
) -> list[Effect]:
    """Carry an envelope that was ours all the same, so that not carrying it tells nothing."""
    told = Tell(ask.link, Accepted((envelope,)))
    source = _keep(stores, ask, outer, envelope, now)
    return [told] if source is None else [told, Carried(ask.link, envelope, source)]


def _carried(
    stores: Stores, ask: Arrived, outer: Outer, envelope: EnvelopeId, now: Moment
) -> list[Effect]:
    """Take an envelope that is not for us into custody, or refuse it."""
    source = _keep(stores, ask, outer, envelope, now)
    if source is None:
        return [Tell(ask.link, Refused(REFUSED_NO_ROOM, (envelope,)))]
    return [Tell(ask.link, Accepted((envelope,))), Carried(ask.link, envelope, source)]


def _taken_and_dropped(
    stores: Stores, ask: Arrived, outer: Outer, envelope: EnvelopeId, now: Moment
) -> list[Effect]:
    """Answer for an envelope whose message went as for any that is carried, and keep none of it.

    To a peer it is as if it had to make room at once. Not to want it would tell more: that this
    node is its author's, or its recipient's.
    """
    [told, *_] = _carried(stores, ask, outer, envelope, now)
    stores.custody.remove([envelope])
    return [told]


EXAMINED_AT_ONCE = 512
"""Carried envelopes one turn looks at."""


def examine(stores: Stores, ask: Examine, now: Moment, entropy: Entropy) -> Decision:
    """Open what is ours among envelopes that came into custody while the vault was locked, or whose
    opening a crash prevented; note how far that has come."""
    vault, custody = stores.vault, stores.custody
    page = custody.tags(ask.after, EXAMINED_AT_ONCE)
    effects: list[Effect] = []
    for _, tag in page:
        for envelope, raw in custody.by_tag(tag):
            if vault.opened.has(envelope) is not None:
                if vault.opened.refused(envelope):
                    custody.remove([envelope])
                continue
            outer = parse_untrusted(raw)
            try:
                mine = _open(stores, outer, envelope, now, entropy)
                mine = mine or _private(stores, outer, envelope, now, entropy) or []
            except RemoteError as error:
                mine = [Charge(None, error.reason)]
            effects += _owing(stores, mine, now, entropy)
    reached = page[-1][0] if page else None
    if reached is not None:
        vault.meta.put(carry.EXAMINED, reached.to_bytes(8))
    return Decision(reached, tuple(effects))
