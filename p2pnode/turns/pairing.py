"""Pairings that must outlive their link: codes, pending contacts, confirmations."""

import msgspec

from p2pnode.errors import PairingFailed
from p2pnode.ids import AccountId, ContactId, Lane, PairingId
from p2pnode.protocol import limits
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.messages import PairingMessage
from p2pnode.protocol.names import petname, suggested_untrusted
from p2pnode.protocol.pairing.agreement import Agreed
from p2pnode.protocol.pairing.confirm import check_confirmation_untrusted, confirmation
from p2pnode.protocol.session.ratchet import start
from p2pnode.protocol.session.reset import ResetKeys
from p2pnode.store.records import ContactRow, DeviceRow, LaneRow
from p2pnode.store.vault import Vault
from p2pnode.turns import resets, twins
from p2pnode.turns.asks import Confirm, Keep, Refused
from p2pnode.turns.contacts import activate, forget
from p2pnode.turns.effects import Decision, Effect, LaneOpened, PeersChanged, Tell
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


def keep(stores: Stores, ask: Keep, now: Moment, entropy: Entropy) -> Decision:
    """Keep a pending contact with its keys, link key and session; active if both said yes.

    Answers the contact's (id, name). Raises PairingFailed for oneself, or for somebody who is a
    contact already: a key never replaces another one silently.
    """
    vault = stores.vault
    agreed = ask.agreed
    own = vault.identity.load()
    if own is not None and own.account.public == agreed.account:
        raise PairingFailed("this is your own code", hint="Let the other person scan it.")
    row = _room_for(vault, ask, now, entropy)
    device = DeviceRow(
        id=agreed.device,
        contact=row.id,
        certificate=agreed.certificate,
        link=keys.first(agreed.link_secret, alice=agreed.alice),
        session=None,
        last_seen=None,
        stated_sent=0,
        stated_received=0,
        reset=b"",
    )
    vault.devices.add(device)
    resets.first(vault, row.id, _reset_keys(agreed), alice=agreed.alice)
    session, tags = start(
        secret=agreed.session_secret,
        alice=agreed.alice,
        own_dh_private=agreed.own_dh_private,
        their_dh_public=agreed.their_dh_public,
        own_kem_seed=agreed.own_kem_seed,
        their_kem_public=agreed.their_kem_public,
        entropy=entropy,
    )
    ref = vault.sessions.add(agreed.device, session)
    vault.devices.set_session(agreed.device, ref)
    vault.tags.add(ref, tags, now.node + limits.SKIPPED_LIFETIME)
    effects: list[Effect] = [PeersChanged()]
    if vault.lanes.for_contact(row.id) is None:
        lane = Lane(entropy.take(16))
        vault.lanes.add(LaneRow(lane=lane, contact=row.id, pairing=None))
        effects.append(LaneOpened(lane))
    if ask.theirs:
        effects += activate(stores, row, now, entropy)
    return Decision((row.id, row.name), tuple(effects))


def _room_for(vault: Vault, ask: Keep, now: Moment, entropy: Entropy) -> ContactRow:
    """Return the contact row the agreement belongs to, made or emptied of its old keys."""
    agreed = ask.agreed
    existing = vault.contacts.by_account(agreed.account) or vault.contacts.by_account(
        waiting_account(ask.pairing)
    )
    if existing is not None and existing.state in ("active", "blocked"):
        raise PairingFailed(
            f"this is {existing.name}, who is a contact already",
            hint=f"To start afresh: p2pnode contacts remove {existing.name}",
        )
    if existing is not None:
        for device in vault.devices.of_contact(existing.id):
            vault.devices.remove(device.id)
        for notice in twins.notices(vault, existing.id):
            vault.outbox.remove(notice)
        vault.twins.erase(existing.id)
    row = ContactRow(
        id=existing.id if existing is not None else ContactId(entropy.take(16)),
        account=agreed.account,
        name=existing.name if existing is not None else _new_name(vault, ask),
        hint=agreed.hint,
        state="pending",
        verified=ask.verified,
        created=existing.created if existing is not None else now.wall,
        expires=now.node + limits.PENDING_LIFETIME,
        confirm=agreed.confirm_key,
        alice=agreed.alice,
        doubt=existing.doubt if existing is not None else "",
        clock=existing.clock if existing is not None else 0,
    )
    if existing is not None:
        vault.contacts.update(row)
    else:
        vault.contacts.add(row)
    return row


def _new_name(vault: Vault, ask: Keep) -> str:
    wanted = petname(ask.petname) if ask.petname else suggested_untrusted(ask.agreed.hint)
    return free_name(vault, wanted)


def waiting_account(pairing: PairingId) -> AccountId:
    """Return what stands for the account of a contact whose keys are still under way."""
    return AccountId(pairing + bytes(16))


def free_name(vault: Vault, wanted: str) -> str:
    """Return `wanted`, with a number behind it when a contact has that name already."""
    name, number = wanted, 1
    while vault.contacts.by_name(name) is not None:
        number += 1
        name = f"{wanted[: limits.MAX_NAME - 4]}-{number}"
    return name


def confirmed(stores: Stores, ask: Confirm, now: Moment, entropy: Entropy) -> Decision:
    """Take the other's yes; say that we have it when they do not know yet.

    Raises RemoteError when it does not authenticate.
    """
    vault = stores.vault
    device = vault.devices.get(ask.device)
    contact = vault.contacts.get(device.contact) if device is not None else None
    if contact is None or not contact.confirm:
        return Decision()
    has_ours = check_confirmation_untrusted(contact.confirm, not contact.alice, ask.raw)
    effects: list[Effect] = []
    if contact.state == "pending":
        effects += activate(stores, contact, now, entropy)
    if not has_ours:
        answer = confirmation(contact.confirm, contact.alice, True)
        effects.append(Tell(ask.link, PairingMessage(answer)))
    return Decision(contact.id, tuple(effects))


def refused(stores: Stores, ask: Refused) -> Decision:
    """The other person said no: a pending contact goes, unless it was one before."""
    device = stores.vault.devices.get(ask.device)
    contact = stores.vault.contacts.get(device.contact) if device is not None else None
    if contact is None or contact.state != "pending":
        return Decision()
    return Decision(effects=tuple(give_up(stores.vault, contact)))


def give_up(vault: Vault, contact: ContactRow) -> list[Effect]:
    """End a pending contact. One with messages (paired anew) stays, stopped."""
    if vault.messages.top_clock(contact.id) == 0:
        return forget(vault, contact.id)
    vault.contacts.update(
        msgspec.structs.replace(contact, state="suspect", confirm=b"", expires=None)
    )
    return [PeersChanged()]


def expire(stores: Stores, now: Moment) -> list[Effect]:
    """End pending contacts whose time is over, and forget confirmations nobody needs now."""
    vault = stores.vault
    effects: list[Effect] = []
    for contact in vault.contacts.expiring(now.node):
        if contact.state == "pending":
            effects += give_up(vault, contact)
        else:
            vault.contacts.update(msgspec.structs.replace(contact, confirm=b"", expires=None))
    return effects


def _reset_keys(agreed: Agreed) -> ResetKeys:
    return ResetKeys(
        secret=agreed.reset_secret,
        own_dh_private=agreed.own_reset_dh_private,
        own_kem_seed=agreed.own_reset_kem_seed,
        their_dh_public=agreed.their_reset_dh_public,
        their_kem_public=agreed.their_reset_kem_public,
    )
