"""Devices that a reset replaced. Each is told so; one that goes on is a second copy of somebody.

The contact is stopped then until its person has decided.
"""

from collections.abc import Sequence

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import ContactId, DeviceId, EnvelopeId, SessionRef
from p2pnode.protocol import limits
from p2pnode.protocol.link.keys import LinkKey, stepped
from p2pnode.store.records import ContactRow, Doubt, TwinRow
from p2pnode.store.vault import Vault
from p2pnode.turns import note
from p2pnode.turns.asks import StepTwin, TwinMet
from p2pnode.turns.effects import Decision, Effect, Receipt, TwinStepped
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


def doubted(
    vault: Vault, contact: ContactRow, doubt: Doubt, reason: str, now: Moment
) -> list[Effect]:
    """Stop an active contact, and tell the person why; one that is stopped stays so."""
    if contact.state != "active":
        return []
    vault.contacts.update(msgspec.structs.replace(contact, state="suspect", doubt=doubt))
    return [note.about_contact(vault, "contact.suspect", contact.id, now, reason)]


def set_aside(
    vault: Vault,
    contact: ContactId,
    now: Moment,
    *,
    session: SessionRef | None = None,
    link: LinkKey | None = None,
    notice: bytes = b"",
) -> None:
    """Keep what a reset replaced for as long as anything of it may be under way; the oldest with
    this contact gives way.

    session: to go on listening in. link: by which the device is known again. notice: the id of the
    envelope that tells it.
    """
    for old in _twins(vault, contact)[: 1 - limits.MAX_REPLACED]:
        _forget(vault, old)
    until = now.node + limits.REPLACED_LIFETIME
    vault.twins.add(TwinRow(0, contact, session, link, notice, until))


def too_often(vault: Vault, contact: ContactId, now: Moment) -> bool:
    """Tell whether the two have begun anew as often as may be, in less than a day.

    What each time leaves here stays for a month: without a bound one contact could fill the disk,
    and the recognition pages of all links.
    """
    kept = _twins(vault, contact)
    since = now.node + limits.REPLACED_LIFETIME - limits.RESETS_WITHIN
    return len(kept) >= limits.MAX_REPLACED and kept[0].until > since


def step(stores: Stores, ask: StepTwin) -> Decision:
    """Move a replaced device's link key on, as for any other, so that it is known again."""
    twin = _twin(stores.vault, ask.twin)
    if twin.link is None:
        raise RemoteError("device-gone")
    link = stepped(twin.link, ask.proven)
    stores.vault.twins.set_link(twin.ref, link)
    return Decision(effects=(TwinStepped(twin.ref, link),))


def met(stores: Stores, ask: TwinMet, now: Moment) -> Decision:
    """A device that was replaced is here, so two copies run: stop the contact.

    Answers (age in hours, raw bytes) of what tells the other that it was replaced; None when it
    has gone.
    """
    vault = stores.vault
    twin = _twin(vault, ask.twin)
    contact = vault.contacts.get(twin.contact)
    effects = doubted(vault, contact, "clone", "clone", now) if contact is not None else []
    row = vault.outbox.get(EnvelopeId(twin.notice))
    if row is None:
        return Decision(None, tuple(effects))
    age = row.age + max(0, now.node - row.born) // 3600
    return Decision((age, row.raw), tuple(effects))


def notice_read(stores: Stores, envelope: EnvelopeId, now: Moment) -> list[Effect] | None:
    """A receipt came for what a replaced device was told: it runs. None when it was no such."""
    vault = stores.vault
    twin = vault.twins.by_notice(envelope)
    contact = vault.contacts.get(twin.contact) if twin is not None else None
    if contact is None:
        return None
    vault.outbox.remove(envelope)
    return doubted(vault, contact, "clone", "clone", now)


def replaced(
    vault: Vault,
    contact: ContactRow,
    device: DeviceId,
    session: SessionRef,
    envelope: EnvelopeId,
    now: Moment,
) -> list[Effect]:
    """A contact says that our identity was restored elsewhere: stop, tell, and say that we live."""
    row = vault.devices.get(device)
    if row is None or row.session != session:
        return []
    stopped = doubted(vault, contact, "replaced", "replaced", now)
    return [*stopped, Receipt(device, envelope)]


def notices(vault: Vault, contact: ContactId) -> list[EnvelopeId]:
    """Return what is under way to a contact's replaced devices; to no device of now."""
    return [EnvelopeId(twin.notice) for twin in _twins(vault, contact) if twin.notice]


def forget(vault: Vault, contact: ContactId) -> None:
    """Forget all that resets replaced with a contact: from now on they are strangers."""
    for twin in _twins(vault, contact):
        _forget(vault, twin)


def expire(vault: Vault, now: Moment) -> None:
    """Forget what was replaced so long ago that nothing of it can be under way."""
    for twin in vault.twins.all():
        if twin.until <= now.node:
            _forget(vault, twin)


def _forget(vault: Vault, twin: TwinRow) -> None:
    if twin.notice:
        vault.outbox.remove(EnvelopeId(twin.notice))
    vault.twins.remove(twin.ref)


def _twins(vault: Vault, contact: ContactId) -> Sequence[TwinRow]:
    return [twin for twin in vault.twins.all() if twin.contact == contact]


def _twin(vault: Vault, ref: int) -> TwinRow:
    twin = vault.twins.get(ref)
    if twin is None:
        raise RemoteError("device-gone")  # forgotten while its link was coming up
    return twin
