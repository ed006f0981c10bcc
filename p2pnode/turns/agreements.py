"""Both sides agree how long messages live. One proposes, the other's person answers.

Each message then carries its own life, so what was agreed when it was written counts. A life that
our person never consented to is not granted: no contact can make vanish what it wrote alone.
"""

import msgspec

from p2pnode.errors import InvalidInput
from p2pnode.ids import ContactId
from p2pnode.protocol.content import Proposal, Verdict
from p2pnode.protocol.entropy import Entropy
from p2pnode.store.records import ContactRow, ConversationRow
from p2pnode.turns import note, views
from p2pnode.turns.asks import Decide, Propose
from p2pnode.turns.effects import Decision, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.send import refuse_untrusted, tell
from p2pnode.turns.stores import Stores

FOR_EVER = 2**62
"""Stands for a life without end where the shorter of two is chosen."""


def granted(rule: ConversationRow, span: int) -> int:
    """Return how many seconds a message lives whose author gave it `span`; 0 without end.

    Never shorter than our person has ever consented to with this contact.
    """
    return max(span, rule.least) if rule.least else 0


def propose(stores: Stores, ask: Propose, now: Moment, entropy: Entropy) -> Decision:
    """Propose a life for messages, or accept the same one that the other proposed.

    Raises UnknownContact, UntrustedKey, InvalidInput.
    """
    rule = _ready(stores, ask.contact)
    if rule.their_offer and rule.their_span == ask.span:
        return decide(stores, Decide(ask.contact, accepted=True), now, entropy)
    if rule.span == ask.span and not rule.own_offer and not rule.their_offer:
        raise InvalidInput("this is what is in force already", hint="See: p2pnode disappear")
    if rule.own_offer and rule.own_span == ask.span and not rule.their_offer:
        return Decision()  # it is under way
    offer = entropy.take(16)
    stores.vault.conversations.save(
        msgspec.structs.replace(
            _consented(rule, ask.span),
            own_offer=offer,
            own_span=ask.span,
            their_offer=b"",
            their_span=0,
        )
    )
    sealed = Proposal(offer, ask.span, rule.their_offer)
    return Decision(effects=tuple(tell(stores, ask.contact, sealed, now, entropy)))


def decide(stores: Stores, ask: Decide, now: Moment, entropy: Entropy) -> Decision:
    """Accept or decline what the other proposed. Raises InvalidInput when nothing was."""
    rule = _ready(stores, ask.contact)
    if not rule.their_offer:
        raise InvalidInput(
            "nothing was proposed that waits for an answer", hint="See: p2pnode disappear"
        )
    effects = tell(stores, ask.contact, Verdict(rule.their_offer, ask.accepted), now, entropy)
    if ask.accepted:
        return Decision(effects=(*effects, *_in_force(stores, rule, rule.their_span, now)))
    stores.vault.conversations.save(msgspec.structs.replace(rule, their_offer=b"", their_span=0))
    return Decision(effects=tuple(effects))


def proposed(
    stores: Stores, contact: ContactRow, offer: Proposal, now: Moment, entropy: Entropy
) -> list[Effect]:
    """Keep what the other proposed.

    Where both propose at once the same is in force; of two different ones the shorter stands, on
    both sides, unless one answers the other.
    """
    rule = stores.vault.conversations.get(contact.id)
    if rule.their_offer == offer.id:
        return []  # sent anew, and it waits for its answer already
    same = rule.own_offer and rule.own_span == offer.span
    idle = not rule.own_offer and not rule.their_offer
    if same or (idle and rule.span == offer.span):
        done = _in_force(stores, rule, offer.span, now) if same else []
        return [*_agree_again(stores, contact.id, offer, now, entropy), *done]
    answers = bool(offer.answers) and offer.answers == rule.own_offer
    if rule.own_offer and not answers:
        ours, theirs = rule.own_span or FOR_EVER, offer.span or FOR_EVER
        if ours < theirs:
            return []  # the other side finds ours shorter, and drops its own
    stores.vault.conversations.save(
        msgspec.structs.replace(
            rule, own_offer=b"", own_span=0, their_offer=offer.id, their_span=offer.span
        )
    )
    return [note.about_contact(stores.vault, "disappear.proposed", contact.id, now)]


def _agree_again(
    stores: Stores, contact: ContactId, offer: Proposal, now: Moment, entropy: Entropy
) -> list[Effect]:
    """Say yes to what is in force here; not without end to who takes none of the answers."""
    vault = stores.vault
    if not all(vault.outbox.takes_answer(one.id) for one in vault.devices.of_contact(contact)):
        return []
    return tell(stores, contact, Verdict(offer.id, True), now, entropy)


def answered(stores: Stores, contact: ContactRow, verdict: Verdict, now: Moment) -> list[Effect]:
    """Take the other's answer; one to what is no longer proposed changes nothing."""
    rule = stores.vault.conversations.get(contact.id)
    if not rule.own_offer or verdict.id != rule.own_offer:
        return []
    if verdict.accepted:
        return _in_force(stores, rule, rule.own_span, now)
    stores.vault.conversations.save(msgspec.structs.replace(rule, own_offer=b"", own_span=0))
    return [note.about_contact(stores.vault, "disappear.declined", contact.id, now)]


def begun_anew(
    stores: Stores, contact: ContactId, now: Moment, entropy: Entropy, *, theirs: bool
) -> list[Effect]:
    """A session was replaced, and what was under way in it may never come: propose ours anew.

    An answer that was lost comes again then, for one that was accepted; any other is asked for
    anew. theirs: the contact begins anew. A restored one knows nothing of what it had proposed, and
    would not hear our answer; one that does know proposes it anew.
    """
    rule = stores.vault.conversations.get(contact)
    effects: list[Effect] = []
    if theirs and rule.their_offer:
        rule = msgspec.structs.replace(rule, their_offer=b"", their_span=0)
        stores.vault.conversations.save(rule)
        effects.append(note.about_contact(stores.vault, "disappear.withdrawn", contact, now))
    if rule.own_offer:
        again = Proposal(rule.own_offer, rule.own_span, b"")
        effects += tell(stores, contact, again, now, entropy)
    return effects


def _in_force(stores: Stores, rule: ConversationRow, span: int, now: Moment) -> list[Effect]:
    stores.vault.conversations.save(
        msgspec.structs.replace(
            _consented(rule, span),
            span=span,
            own_offer=b"",
            own_span=0,
            their_offer=b"",
            their_span=0,
        )
    )
    return [note.about_contact(stores.vault, "disappear.agreed", rule.contact, now)]


def _consented(rule: ConversationRow, span: int) -> ConversationRow:
    least = min(span, rule.least or span) if span else rule.least
    return msgspec.structs.replace(rule, least=least)


def _ready(stores: Stores, contact: ContactId) -> ConversationRow:
    row = views.existing(stores.vault, contact)
    refuse_untrusted(row)
    if row.state == "pending":
        raise InvalidInput(f"{row.name} is not paired yet", hint="Wait until pairing is complete.")
    return stores.vault.conversations.get(contact)
