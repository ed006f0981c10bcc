"""The author of a message asks to have it removed. A request, and never more than that."""

import msgspec

from p2pnode.errors import InvalidInput
from p2pnode.ids import ContactId, MessageId
from p2pnode.protocol import limits
from p2pnode.protocol.content import Redaction
from p2pnode.protocol.entropy import Entropy
from p2pnode.store.records import ContactRow
from p2pnode.turns import note, views
from p2pnode.turns.asks import Redact
from p2pnode.turns.effects import Charge, Decision, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.send import refuse_untrusted, tell
from p2pnode.turns.stores import Stores

TOLD_AGAIN = 64
"""Requests told again at most when a session is begun anew, the newest: each is an envelope."""


def redact(stores: Stores, ask: Redact, now: Moment, entropy: Entropy) -> Decision:
    """Ask the recipient to remove one's own message; again asks no more. Answers the message's id.

    Raises InvalidInput for another's message, UntrustedKey.
    """
    vault = stores.vault
    row = views.find_message(vault, ask.message)
    contact = views.existing(vault, row.contact)
    if not row.mine:
        raise InvalidInput(
            f"this message is {contact.name}'s; only its author can ask to have it removed",
            hint=f"To delete all of it here: p2pnode erase --conversation {contact.name}",
        )
    refuse_untrusted(contact)
    if contact.state == "pending":
        raise InvalidInput(
            f"{contact.name} is not paired yet", hint="Nothing of it has left this node."
        )
    assert row.ref is not None  # it was read from the vault
    if row.redacted is not None:
        return Decision(row.id)
    vault.messages.redact(row.ref, now.wall)
    vault.traces.add(row.ref, now.wall, "redaction-sent", "")
    marked = msgspec.structs.replace(row, redacted=now.wall)
    told = note.about_message(vault, "message.redacted", marked, row.ref, now)
    return Decision(row.id, (told, *tell(stores, contact.id, Redaction(row.id), now, entropy)))


def asked(stores: Stores, contact: ContactRow, of: MessageId, now: Moment) -> list[Effect]:
    """Record that a contact asks to have a message of its own removed; it may come later still.

    For a message that it did not write the request is refused and counted.
    """
    vault = stores.vault
    row = vault.messages.by_id(contact.id, of, mine=False)
    if row is None:
        if vault.messages.by_id(contact.id, of, mine=True) is not None:
            return [Charge(None, "foreign-redaction")]
        vault.gone.add_redaction(contact.id, of, now.wall, now.node + limits.REMEMBERED)
        return []
    if row.redacted is not None:
        return []
    assert row.ref is not None  # it was read from the vault
    vault.messages.redact(row.ref, now.wall)
    vault.traces.add(row.ref, now.wall, "redaction-asked", "")
    marked = msgspec.structs.replace(row, redacted=now.wall)
    return [
        note.about_message(vault, "message.redacted", marked, row.ref, now, hide=stores.redactions)
    ]


def begun_anew(stores: Stores, contact: ContactId, now: Moment, entropy: Entropy) -> list[Effect]:
    """A session was replaced: ask anew for what was to be removed.

    What was under way may never come, and what had come is not in a backup made before. Nobody
    knows which it was; who has heard of it already hears nothing new.
    """
    return [
        effect
        for id_ in stores.vault.messages.redacted(contact, TOLD_AGAIN)
        for effect in tell(stores, contact, Redaction(id_), now, entropy)
    ]
