"""How long messages are kept, and how they go: with everything that repeats them.

Times are node time, which takes in time switched off as far as the wall clock can be believed. A
message that goes takes with it its traces, the events that quote it, its sealed envelopes under way
and their copies in custody. Its id is remembered for a while, so that it is neither missed nor
taken for new; its envelopes are refused as long.
"""

from collections.abc import Sequence

import msgspec

from p2pnode.ids import EnvelopeId, MessageId
from p2pnode.protocol import limits
from p2pnode.protocol.elapsed import EARLIEST, LONGEST_BELIEVED
from p2pnode.store.database import REWRITTEN_AT_ONCE
from p2pnode.store.records import ConversationRow, MessageRow
from p2pnode.turns.asks import SetRetention
from p2pnode.turns.effects import Decision
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

COLLECTED_AT_ONCE = 256
"""Messages that one turn lets go at most."""

DEFAULT = "retention"
"""Under which name the vault keeps the retention that `due` was reckoned with, where a conversation
has no rule of its own."""

OWED = "unscrubbed"
"""Under which name the vault keeps that its file is to be written anew, because messages went."""

REWRITTEN = "rewritten"
"""Under which name it keeps when that was last done, node time."""

REWRITE_EVERY = 86_400
"""Seconds between two times a large vault is written anew."""


def due(stores: Stores, rule: ConversationRow, since: int, span: int) -> int | None:
    """Return when a message kept since then goes; None when it stays."""
    kept = stores.retention if rule.retention is None else rule.retention
    ends = [since + seconds for seconds in (kept, span) if seconds]
    return min(ends, default=None)


def adopt(stores: Stores, now: Moment) -> None:
    """Reckon anew when messages go, where the settings have changed since they came."""
    vault = stores.vault
    vault.messages.date(EARLIEST, now.node, now.wall, LONGEST_BELIEVED)
    if int.from_bytes(vault.meta.get(DEFAULT) or b"") == stores.retention:
        return
    own = {row.contact for row in vault.conversations.all() if row.retention is not None}
    for contact in vault.contacts.all():
        if contact.id not in own:
            vault.messages.limit(contact.id, stores.retention)
    vault.meta.put(DEFAULT, stores.retention.to_bytes(8))


def set_retention(stores: Stores, ask: SetRetention) -> Decision:
    """Keep how long messages with a contact are kept; those that are older go with the next turn
    that collects."""
    vault = stores.vault
    rule = vault.conversations.get(ask.contact)
    vault.conversations.save(msgspec.structs.replace(rule, retention=ask.retention))
    vault.messages.limit(ask.contact, stores.retention if ask.retention is None else ask.retention)
    return Decision()


def let_go(stores: Stores, rows: Sequence[MessageRow], now: Moment) -> None:
    """Delete messages and everything here that repeats them."""
    vault, until = stores.vault, now.node + limits.REMEMBERED
    refs = [row.ref for row in rows if row.ref is not None]
    vault.events.forget(refs)
    envelopes = [EnvelopeId(one) for row in rows for one in row.envelopes]
    drop(stores, envelopes, until)
    for contact in {row.contact for row in rows}:
        of = [row for row in rows if row.contact == contact]
        rule = vault.conversations.get(contact)
        top = max(rule.top, *(row.clock for row in of))
        vault.conversations.save(msgspec.structs.replace(rule, top=top))
        vault.gone.add(contact, [MessageId(row.id) for row in of], until)
    for ref in refs:
        vault.messages.remove(ref)
    vault.meta.put(OWED, b"1")


def drop(
    stores: Stores, envelopes: Sequence[EnvelopeId], until: int, *, forget: bool = False
) -> None:
    """Delete envelopes from outbox and custody, and take no more copies of them. forget: also whose
    they were."""
    for envelope in envelopes:
        stores.vault.outbox.remove(envelope)
    stores.custody.remove(envelopes)
    stores.vault.opened.refuse(envelopes, until, forget=forget)


def scrub(stores: Stores, now: Moment) -> None:
    """See to it that files and logs no longer hold what was deleted; outside of a transaction.

    Where a long read prevents it, the next time does it. A large vault is written anew once a day.
    """
    vault, custody = stores.vault, stores.custody
    owed = bool(vault.meta.get(OWED))
    last = int.from_bytes(vault.meta.get(REWRITTEN) or b"")
    small = vault.database.size() <= REWRITTEN_AT_ONCE
    rewrite = owed and (small or now.node - last >= REWRITE_EVERY)
    if vault.database.scrub(rewrite=rewrite) and rewrite:
        with vault.transaction():
            vault.meta.put(OWED, b"")
            vault.meta.put(REWRITTEN, now.node.to_bytes(8))
    if custody.database.scrub(rewrite=custody.database.size() <= REWRITTEN_AT_ONCE):
        custody.dropped = False
