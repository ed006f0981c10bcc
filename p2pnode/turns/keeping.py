"""How long messages are kept, and how they go: with everything that repeats them.

Times are node time, which takes in time switched off as far as the wall clock can be believed. A
message that goes takes with it its traces, the events that quote it, its sealed envelopes under way
and their copies in custody. Its id is remembered for a while, so that it is neither missed nor
taken for new; its envelopes are refused as long.
"""

import contextlib
from collections.abc import Sequence

import msgspec

from p2pnode.errors import StoreFull
from p2pnode.ids import EnvelopeId, MessageId
from p2pnode.protocol import limits
from p2pnode.protocol.elapsed import EARLIEST, LONGEST_BELIEVED
from p2pnode.store.database import Database
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

SOON, AT_ONCE = b"soon", b"at once"
"""How it is owed: for what went by itself, and for what a person wanted to be gone."""

UNCUT = "uncut"
"""Under which name it keeps that the logs could not be cut when something went."""

REWRITTEN = "rewritten"
"""Under which name it keeps when it was last written anew, node time."""

SMALL = 32 * 1024 * 1024
"""Bytes up to which a store is written anew as often as once in `CUT_EVERY`."""

CUT_EVERY = 3_600
"""Seconds between two such times, and until custody's log is cut after an envelope went: cards wear
out by writing."""

REWRITE_EVERY = 86_400
"""Seconds between two times a larger vault is written anew. Larger custody never is: it holds only
what is sealed."""

QUIET = 900
"""Seconds without a message, here or there, after which a larger vault is written anew: all that
is written waits for that, for seconds on a slow card."""

REWRITE_LATEST = 2 * REWRITE_EVERY
"""Seconds after which it is written anew though it was never quiet."""


def due(stores: Stores, rule: ConversationRow, since: int, span: int) -> int | None:
    """Return when a message kept since then goes; None when it stays."""
    kept = stores.retention if rule.retention is None else rule.retention
    ends = [since + seconds for seconds in (kept, span) if seconds]
    return min(ends, default=None)


def adopt(stores: Stores, now: Moment) -> None:
    """Reckon anew when messages go, where the settings have changed since they came, or where they
    came from a backup or an older schema."""
    vault = stores.vault
    dated = vault.messages.date(EARLIEST, now.node, now.wall, LONGEST_BELIEVED)
    if not dated and int.from_bytes(vault.meta.get(DEFAULT) or b"") == stores.retention:
        return
    for contact in vault.contacts.all():
        own = vault.conversations.get(contact.id).retention
        if dated or own is None:
            vault.messages.limit(contact.id, stores.retention if own is None else own)
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
    owe(stores, SOON)


def drop(
    stores: Stores, envelopes: Sequence[EnvelopeId], until: int, *, forget: bool = False
) -> None:
    """Delete envelopes from outbox and custody, and take no more copies of them. forget: also whose
    they were."""
    for envelope in envelopes:
        stores.vault.outbox.remove(envelope)
    stores.custody.remove(envelopes)
    stores.vault.opened.refuse(envelopes, until, forget=forget)


def owe(stores: Stores, how: bytes) -> None:
    """Note that the vault is to be written anew: at once (`AT_ONCE`), or in a while (`SOON`)."""
    if stores.vault.meta.get(OWED) != AT_ONCE:
        stores.vault.meta.put(OWED, how)


def wants_scrub(stores: Stores, now: Moment) -> bool:
    """Tell whether there is something left to scrub though nothing was deleted just now."""
    dropped = stores.custody.dropped
    late = dropped is not None and now.node - dropped >= CUT_EVERY
    return late or _rewrite_due(stores, now) or bool(stores.vault.meta.get(UNCUT))


def _rewrite_due(stores: Stores, now: Moment) -> bool:
    meta = stores.vault.meta
    how, last = meta.get(OWED), meta.get(REWRITTEN)
    if not how or how == AT_ONCE or last is None:
        return bool(how)
    waited = now.node - int.from_bytes(last)
    if stores.vault.database.size() <= SMALL:
        return waited >= CUT_EVERY
    newest = stores.vault.messages.newest()
    quiet = newest is None or now.node - newest >= QUIET
    return waited >= (REWRITE_EVERY if quiet else REWRITE_LATEST)


def scrub(stores: Stores, now: Moment) -> None:
    """See to it that files and logs no longer hold what was deleted; outside of a transaction.

    Where a long read or a full disk prevents it, a later time does it.
    """
    vault, custody = stores.vault, stores.custody
    rewrite = _rewrite_due(stores, now)
    whole = _scrubbed(vault.database, rewrite=rewrite)
    if _scrubbed(custody.database, rewrite=rewrite and custody.database.size() <= SMALL):
        custody.dropped = None
    else:
        whole = False
    before = bool(vault.meta.get(UNCUT))
    if before == whole or (whole and rewrite):
        with contextlib.suppress(StoreFull), vault.transaction():
            vault.meta.put(UNCUT, b"" if whole else b"1")
            if whole and rewrite:
                vault.meta.put(OWED, b"")
                vault.meta.put(REWRITTEN, now.node.to_bytes(8))


def _scrubbed(database: Database, *, rewrite: bool) -> bool:
    try:
        return database.scrub(rewrite=rewrite)
    except StoreFull:
        return False
