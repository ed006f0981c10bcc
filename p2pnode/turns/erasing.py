"""A person wants something to be gone: a contact, or its conversation, at once or after a while."""

from p2pnode.ids import ContactId, EnvelopeId
from p2pnode.protocol import limits
from p2pnode.store.custody import REMOVED_AT_ONCE
from p2pnode.store.records import ErasureRow
from p2pnode.turns import contacts, keeping, twins, views
from p2pnode.turns.asks import CancelErasures, Erase, Remove
from p2pnode.turns.effects import Decision, Effect, Scrub
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


def plan(stores: Stores, ask: Erase, now: Moment) -> Decision:
    """Plan an erasure, or do it now. Raises UnknownContact."""
    views.existing(stores.vault, ask.contact)
    if not ask.after:
        return Decision(effects=tuple(_erase(stores, ask.contact, ask.what, now)))
    stores.vault.erasures.add(ErasureRow(ask.contact, ask.what, now.node + ask.after))
    return Decision()


def cancel(stores: Stores, ask: CancelErasures) -> Decision:
    """Forget planned erasures; answers how many there were."""
    planned = [row for row in stores.vault.erasures.all() if ask.contact in (None, row.contact)]
    for row in planned:
        stores.vault.erasures.remove(row.contact, row.what)
    return Decision(len(planned))


def remove(stores: Stores, ask: Remove, now: Moment) -> Decision:
    """Forget a contact at once. Raises UnknownContact."""
    views.existing(stores.vault, ask.contact)
    return Decision(effects=tuple(_contact(stores, ask.contact, now)))


def collect(stores: Stores, now: Moment) -> Decision:
    """Do what is due: planned erasures, messages whose time is over, carried envelopes.

    Answers whether there is more to do at once.
    """
    vault, custody = stores.vault, stores.custody
    effects: list[Effect] = []
    for row in vault.erasures.all():
        if row.due <= now.node:
            effects += _erase(stores, row.contact, row.what, now)
    rows = vault.messages.over(now.node, keeping.COLLECTED_AT_ONCE)
    if rows:
        keeping.let_go(stores, rows, now)
    vault.gone.expire(now.node)
    gone = custody.expire(now.node, now.wall)
    more = len(rows) == keeping.COLLECTED_AT_ONCE or gone >= REMOVED_AT_ONCE
    if rows or effects or (not more and keeping.wants_scrub(stores, now)):
        effects.append(Scrub())
    return Decision(more, tuple(effects))


def _erase(stores: Stores, contact: ContactId, what: str, now: Moment) -> list[Effect]:
    if what == "contact":
        return _contact(stores, contact, now)
    keeping.owe(stores, keeping.AT_ONCE)
    # Its messages go like those whose time is over: a few in each turn, after a crash as well.
    stores.vault.erasures.remove(contact, what)
    stores.vault.messages.end(contact, now.node)
    stores.vault.messages.forget_absent(contact)
    return []


def _contact(stores: Stores, contact: ContactId, now: Moment) -> list[Effect]:
    """Erase a contact in one transaction: keys, lanes, envelopes, messages, all that is left."""
    vault = stores.vault
    envelopes = {
        *vault.outbox.to_devices(contact),
        *vault.opened.of_contact(contact),
        *(EnvelopeId(one) for one in vault.messages.envelopes(contact)),
        *twins.notices(vault, contact),
    }
    keeping.drop(stores, sorted(envelopes), now.node + limits.REMEMBERED, forget=True)
    keeping.owe(stores, keeping.AT_ONCE)
    return contacts.forget(vault, contact)
