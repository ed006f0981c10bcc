"""Beginning anew with a contact: ours after a restore or a rollback, theirs when it comes.

A generation of reset keys serves each side once. A second reset out of one means that two copies of
somebody are about, as does a device that goes on after a reset has replaced it (`twins`): the
contact is stopped until the person has decided.
"""

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import ContactId, DeviceId, EnvelopeId, SessionRef
from p2pnode.protocol import limits
from p2pnode.protocol.content import Replaced, ResetAnswer, encode_content
from p2pnode.protocol.conversation import check_place_untrusted
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import Outer, envelope_id, parse_untrusted
from p2pnode.protocol.identity import check_certificate_untrusted
from p2pnode.protocol.session import reset
from p2pnode.protocol.session.ratchet import seal
from p2pnode.protocol.session.records import TagRow
from p2pnode.protocol.session.reset import Fresh, ResetKeys
from p2pnode.store.records import ContactRow, ContactState, DeviceRow, ResetRow
from p2pnode.store.vault import Vault
from p2pnode.turns import agreements, note, redactions, twins
from p2pnode.turns.effects import (
    Charge,
    Cut,
    Decision,
    Effect,
    Parted,
    PeersChanged,
    Push,
)
from p2pnode.turns.moment import Moment
from p2pnode.turns.posting import LONGEST, age_at_birth, post
from p2pnode.turns.send import Under, seal_again, seal_for
from p2pnode.turns.stores import Stores


def first(vault: Vault, contact: ContactId, keys: ResetKeys, *, alice: bool) -> None:
    """Keep the generation a pairing made; what was before it no longer counts."""
    vault.resets.forget(contact)
    vault.resets.add(_generation(contact, keys, alice=alice), reset.tags(keys, alice=not alice))


def prepare(stores: Stores) -> Decision:
    """Give the devices of an older vault their generations; again does nothing."""
    vault = stores.vault
    for device in vault.devices.all():
        contact = vault.contacts.get(device.contact)
        if device.reset and contact is not None:
            keys = msgspec.msgpack.decode(device.reset, type=ResetKeys)
            first(vault, contact.id, keys, alice=contact.alice)
            vault.devices.set_reset(device.id, b"")
    return Decision()


# Our own resets ----------------------------------------------------------------------------------


def usable(vault: Vault, contact: ContactId) -> ResetRow | None:
    """Return the newest generation that the other side surely has."""
    return next((row for row in vault.resets.of_contact(contact) if row.known), None)


def under_way(vault: Vault, contact: ContactId) -> bool:
    """Tell whether a reset of ours waits for its answer."""
    return any(row.sent is not None for row in vault.resets.of_contact(contact))


def begin(
    stores: Stores, contact: ContactRow, restore: bytes, now: Moment, entropy: Entropy
) -> list[Effect]:
    """Begin anew with a contact: keep the new session, and send the reset before all else.

    restore: the 16-byte id of this restore. Does nothing where one is under way already, where no
    keys for it are here or the contact's cannot be used, or where our identity runs elsewhere.
    """
    vault = stores.vault
    row = usable(vault, contact.id)
    own = vault.identity.load()
    devices = vault.devices.of_contact(contact.id)
    if row is None or own is None or not devices or contact.doubt == "replaced":
        return []
    if under_way(vault, contact.id):
        return []
    device = devices[0]
    try:
        begun, fresh = reset.begin(
            row.keys,
            alice=row.alice,
            restore=restore,
            certificate=own.device.certificate,
            entropy=entropy,
        )
    except RemoteError:
        # Keys from a pairing before they were checked there. One contact must not stop a restore.
        return []
    waiting = _take_back(vault, device.id)
    if device.session is not None:
        vault.sessions.remove(device.session)
    _install(vault, device.id, fresh, now)
    _following(vault, row, fresh, alice=False)
    row = msgspec.structs.replace(row, own=restore, sent=begun)
    sent = _send(stores, row, device.id, now, entropy)
    again = seal_again(stores, contact.id, waiting, now, entropy)
    again += redactions.begun_anew(stores, contact.id, now, entropy)
    again += agreements.begun_anew(stores, contact.id, now, entropy, theirs=False)
    return [sent, *_going(contact.state, again), Parted(contact.id), PeersChanged()]


def _going(state: ContactState, found: list[Effect]) -> list[Effect]:
    """Return effects without what would leave for a contact in doubt: it waits in the outbox."""
    if state != "suspect":
        return found
    return [effect for effect in found if not isinstance(effect, Push)]


def ensure(stores: Stores, contact: ContactRow, now: Moment, entropy: Entropy) -> list[Effect]:
    """Begin anew with a contact that came out of a backup and was let be until now."""
    devices = stores.vault.devices.of_contact(contact.id)
    if not devices or devices[0].session is not None:
        return []
    return begin(stores, contact, entropy.take(reset.RESTORE_ID), now, entropy)


def set_back(
    stores: Stores, contact: ContactRow, now: Moment, entropy: Entropy
) -> list[Effect] | None:
    """Begin anew because a contact says that our store is an old one; None when that came too often
    lately to be believed: each time costs as much as all that waits for that contact."""
    vault = stores.vault
    if twins.too_often(vault, contact.id, now):
        return None
    begun = begin(stores, contact, entropy.take(reset.RESTORE_ID), now, entropy)
    if begun:  # nothing of the old session is left: this only counts it
        twins.set_aside(vault, contact.id, now)
    return begun


def _send(stores: Stores, row: ResetRow, device: DeviceId, now: Moment, entropy: Entropy) -> Effect:
    assert row.sent is not None
    raw = reset.seal(row.sent, row.keys, alice=row.alice, n=entropy.take(1)[0], entropy=entropy)
    envelope = envelope_id(raw)
    age = age_at_birth(entropy)
    ref = post(stores, raw, now, entropy, age=age, device=device)
    stores.vault.resets.update(msgspec.structs.replace(row, envelope=envelope))
    return Push(device=device, row=ref, envelope=envelope, age=age, raw=raw)


def send_again(stores: Stores, now: Moment, entropy: Entropy) -> list[Effect]:
    """Send resets that nobody has answered again, once their envelopes are over."""
    vault = stores.vault
    effects: list[Effect] = []
    for row in vault.resets.unanswered():
        devices = vault.devices.of_contact(row.contact)
        if devices and vault.outbox.get(EnvelopeId(row.envelope)) is None:
            effects.append(_send(stores, row, devices[0].id, now, entropy))
    return effects


def answered(
    stores: Stores, contact: ContactRow, said: ResetAnswer, now: Moment, entropy: Entropy
) -> list[Effect]:
    """The contact has taken our reset: the next generation is whole. Raises RemoteError."""
    vault = stores.vault
    generations = vault.resets.of_contact(contact.id)
    row = next((one for one in generations if one.sent and one.own == said.restore), None)
    after = next((one for one in generations if row and one.parent == row.ref), None)
    if row is None or after is None:
        return []
    check_place_untrusted(
        said.clock + 1, (), max(contact.clock, vault.messages.top_clock(contact.id))
    )
    keys = reset.answered_untrusted(after.keys, said, entropy)
    vault.resets.update(msgspec.structs.replace(after, keys=keys, known=True))
    _drop_own(vault, msgspec.structs.replace(row, crossing=said.crossing))
    contact = msgspec.structs.replace(contact, clock=max(contact.clock, said.clock))
    cuts: list[Effect] = []
    if contact.doubt == "rollback":  # of what its node had lost nothing counts any more
        state = "active" if contact.state == "suspect" else contact.state
        contact = msgspec.structs.replace(contact, state=state, doubt="")
        # What waited goes out on a fresh link.
        cuts = [Cut(device.id) for device in vault.devices.of_contact(contact.id)]
    vault.contacts.update(contact)
    changed = note.about_contact(vault, "contact.changed", contact.id, now, "reset-answered")
    return [changed, *cuts, PeersChanged()]


def _drop_own(vault: Vault, row: ResetRow) -> None:
    if row.envelope:
        vault.outbox.remove(EnvelopeId(row.envelope))
    vault.resets.update(msgspec.structs.replace(row, sent=None, envelope=b""))


# A contact's resets ------------------------------------------------------------------------------


def arrived_for_reset(
    stores: Stores, outer: Outer, envelope: EnvelopeId, now: Moment, entropy: Entropy
) -> tuple[list[Effect], list[TagRow]] | None:
    """Take a contact's reset; None when the tag is none of ours, or its contact is blocked.

    Returns effects, and the tags that are listed from now on. Raises RemoteError for junk, which
    changes nothing.
    """
    vault = stores.vault
    row = vault.resets.find(outer.tag)
    contact = vault.contacts.get(row.contact) if row is not None else None
    if row is None or contact is None or contact.state in ("blocked", "pending"):
        return None
    devices = vault.devices.of_contact(contact.id)
    if not devices:
        return None
    fresh = reset.take_untrusted(
        row.keys, outer, alice=row.alice, account=contact.account, entropy=entropy
    )
    if not row.theirs:
        if twins.too_often(vault, contact.id, now):
            charge = Charge(None, "resets-too-often")
            return [charge, *twins.doubted(vault, contact, "rollback", "rollback", now)], []
        taken = _take(stores, contact, row, fresh, now, entropy)
        _opened(vault, envelope, contact.id, now)
        return taken, fresh.tags
    _opened(vault, envelope, contact.id, now)
    if row.theirs == fresh.restore:
        return _answer_again(stores, contact, row, now, entropy), []
    vault.resets.update(msgspec.structs.replace(row, rival=outer.raw))
    return twins.doubted(vault, contact, "clone", "restored-twice", now), []


def settle(stores: Stores, contact: ContactRow, now: Moment, entropy: Entropy) -> list[Effect]:
    """The person holds the newest copy of a contact for the true one: others are strangers now.

    The caller makes the contact active.
    """
    vault = stores.vault
    twins.forget(vault, contact.id)
    effects: list[Effect] = []
    rivals = [row for row in vault.resets.of_contact(contact.id) if row.rival]
    for row in rivals:
        vault.resets.update(msgspec.structs.replace(row, rival=b""))
    for row in rivals[:1]:
        outer = parse_untrusted(row.rival)
        fresh = reset.take_untrusted(
            row.keys, outer, alice=row.alice, account=contact.account, entropy=entropy
        )
        effects += _take(stores, contact, row, fresh, now, entropy)
        _opened(vault, envelope_id(outer.raw), contact.id, now)
    return [*effects, PeersChanged()]


def _opened(vault: Vault, envelope: EnvelopeId, contact: ContactId, now: Moment) -> None:
    [device, *_] = vault.devices.of_contact(contact)
    vault.opened.add(envelope, device.id, now.node + 2 * limits.LIFETIMES[-1])


def _take(
    stores: Stores,
    contact: ContactRow,
    row: ResetRow,
    fresh: Fresh,
    now: Moment,
    entropy: Entropy,
) -> list[Effect]:
    """Put the contact's new device in the place of its old one, and answer it."""
    vault = stores.vault
    [device, *_] = vault.devices.of_contact(contact.id)
    generations = vault.resets.of_contact(contact.id)
    crossed = row.sent is not None or row.crossing == fresh.restore
    crossing = next((one for one in generations if one.parent == row.ref and not one.alice), None)
    crossing = crossing if crossed else None
    old, waiting = device, dict[int, Under]()
    if crossing is None:
        for one in generations:
            if one.sent is not None:
                _drop_own(vault, one)  # out of a generation that they have lost
        row = msgspec.structs.replace(row, sent=None, envelope=b"")
        _give_notice(stores, device, fresh, now, entropy)
        waiting = _take_back(vault, device.id)
    new = _successor(vault, device, fresh)
    if crossing is None:
        _install(vault, new, fresh, now)
    else:
        _cross(vault, contact.id, old, new, crossing, fresh, now)
    after = _following(vault, row, fresh, alice=True)
    kept = next((one for one in vault.resets.of_contact(contact.id) if one.ref == row.ref), row)
    vault.resets.update(msgspec.structs.replace(kept, theirs=fresh.restore, rival=b""))
    if contact.doubt in ("", "rollback"):
        contact = msgspec.structs.replace(contact, state="active", doubt="")
    vault.contacts.update(msgspec.structs.replace(contact, verified="no"))
    own = row.own if crossing is not None else b""
    said = _answer(stores, contact.id, after, fresh.restore, own, now, entropy)
    again = seal_again(stores, contact.id, waiting, now, entropy)
    if crossing is None:  # else our own reset has told them, and its session is heard as well
        again += redactions.begun_anew(stores, contact.id, now, entropy)
    again += agreements.begun_anew(stores, contact.id, now, entropy, theirs=True)
    changed = note.about_contact(vault, "contact.changed", contact.id, now, "restored")
    parted = Parted(contact.id)
    return [changed, *said, *_going(contact.state, again), parted, PeersChanged()]


def _give_notice(
    stores: Stores, device: DeviceRow, fresh: Fresh, now: Moment, entropy: Entropy
) -> None:
    """Set the replaced device aside, and tell it so: if it still runs, its person must know."""
    vault = stores.vault
    if device.session is None:
        return
    session = vault.sessions.load(device.session)
    content = encode_content(Replaced(fresh.restore))
    sealed = seal(session, content, lifetime=LONGEST, entropy=entropy)
    vault.sessions.save(device.session, sealed.session)
    age = age_at_birth(entropy)
    post(stores, sealed.raw, now, entropy, age=age, token=sealed.token)
    twins.set_aside(
        vault, device.contact, now, session=device.session, link=device.link, notice=sealed.id
    )


def _successor(vault: Vault, device: DeviceRow, fresh: Fresh) -> DeviceId:
    """Keep the device of a reset in the place of another; a rollback's is the same one."""
    id_ = check_certificate_untrusted(fresh.certificate).device
    if id_ == device.id:
        return id_
    vault.devices.add(
        msgspec.structs.replace(
            device,
            id=id_,
            certificate=fresh.certificate,
            last_seen=None,
            stated_sent=0,
            stated_received=0,
            carry_pass=b"",
        )
    )
    for table in (vault.sessions, vault.outbox, vault.tokens):
        table.succeed(device.id, id_)
    vault.devices.remove(device.id)
    return id_


def _cross(
    vault: Vault,
    contact: ContactId,
    old: DeviceRow,
    new: DeviceId,
    ours: ResetRow,
    theirs: Fresh,
    now: Moment,
) -> None:
    """Both have begun anew out of one generation: listen on both, send on the lower transcript."""
    if ours.transcript < theirs.transcript:
        ref = vault.sessions.add(new, theirs.session)
        vault.tags.add(ref, theirs.tags, now.node + limits.SKIPPED_LIFETIME)
        twins.set_aside(vault, contact, now, session=ref)
        return
    twins.set_aside(vault, contact, now, session=old.session)
    _install(vault, new, theirs, now)


def _install(vault: Vault, device: DeviceId, fresh: Fresh, now: Moment) -> SessionRef:
    """Make a fresh session and link key those of a device."""
    ref = vault.sessions.add(device, fresh.session)
    vault.tags.add(ref, fresh.tags, now.node + limits.SKIPPED_LIFETIME)
    vault.devices.set_session(device, ref)
    vault.devices.set_link(device, fresh.link)
    vault.devices.set_stated(device, 0, 0)
    return ref


def _following(vault: Vault, row: ResetRow, fresh: Fresh, *, alice: bool) -> ResetRow:
    """Keep the generation a reset makes. alice: we took it, so the other side surely has it."""
    after = msgspec.structs.replace(
        _generation(row.contact, fresh.keys, alice=alice),
        parent=row.ref,
        known=alice,
        transcript=fresh.transcript,
    )
    ref = vault.resets.add(after, reset.tags(fresh.keys, alice=not alice))
    return msgspec.structs.replace(after, ref=ref)


def _answer(
    stores: Stores,
    contact: ContactId,
    after: ResetRow,
    restore: bytes,
    crossing: bytes,
    now: Moment,
    entropy: Entropy,
) -> list[Effect]:
    [device, *_] = stores.vault.devices.of_contact(contact)
    clock = stores.vault.messages.top_clock(contact)
    said = reset.answer(after.keys, restore, clock=clock, crossing=crossing, entropy=entropy)
    return [seal_for(stores, device, encode_content(said), LONGEST, None, now, entropy)]


def _answer_again(
    stores: Stores, contact: ContactRow, row: ResetRow, now: Moment, entropy: Entropy
) -> list[Effect]:
    """The same reset came again, because its answer was lost: answer again."""
    generations = stores.vault.resets.of_contact(contact.id)
    after = next((one for one in generations if one.parent == row.ref and one.alice), None)
    [device, *_] = stores.vault.devices.of_contact(contact.id)
    if after is None or not stores.vault.outbox.takes_answer(device.id):
        return []
    own = row.own if row.sent is not None else b""
    return _answer(stores, contact.id, after, row.theirs, own, now, entropy)


def _take_back(vault: Vault, device: DeviceId) -> dict[int, Under]:
    """Empty a device's outbox; return which messages were in it, and since when."""
    found: dict[int, Under] = {}
    for envelope in vault.outbox.of_device(device):
        row = vault.outbox.get(envelope)
        if row is not None and row.message is not None:
            found[row.message] = Under(row.born, row.age)
        vault.outbox.remove(envelope)
    return found


def _generation(contact: ContactId, keys: ResetKeys, *, alice: bool) -> ResetRow:
    return ResetRow(
        ref=0,
        contact=contact,
        parent=0,
        known=True,
        alice=alice,
        own=b"",
        theirs=b"",
        transcript=b"",
        envelope=b"",
        keys=keys,
    )
