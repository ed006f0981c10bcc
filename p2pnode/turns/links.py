"""What a link with a contact's device leaves in the vault."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from p2pnode.errors import RemoteError
from p2pnode.ids import ContactId, DeviceId, EnvelopeId, PairingId
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.limits import MAX_IDS
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.link.messages import AddressesKept, Statement, addresses_digest
from p2pnode.protocol.link.statements import check
from p2pnode.protocol.pairing.confirm import confirmation
from p2pnode.protocol.session import reset
from p2pnode.store.meetings import DAY
from p2pnode.store.records import DeviceRow, ResetRow
from p2pnode.store.vault import Vault
from p2pnode.turns import mutual, note, resets, twins
from p2pnode.turns.asks import (
    Baseline,
    GetBaselines,
    GetLane,
    LinkUp,
    Met,
    PassTold,
    ReturningStated,
    ReturningUp,
    Stated,
    Step,
    Told,
)
from p2pnode.turns.effects import (
    Charge,
    Decision,
    Effect,
    KeyStepped,
    PassKept,
    Reachable,
    Tell,
)
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

TOGETHER = 10
"""Seconds in which links with a device, one after the other, count as one meeting."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What to say first on a link with a contact: statements, a confirmation still owed, receipts
    still owed; and the contact's lane."""

    statements: tuple[Statement, ...]
    confirmation: bytes
    lane: bytes
    receipts: tuple[EnvelopeId, ...]


def step(stores: Stores, ask: Step) -> Decision:
    """Move a device's link key on before the link counts as proven."""
    device = _device(stores.vault, ask.device)
    link = keys.stepped(device.link, ask.proven)
    stores.vault.devices.set_link(ask.device, link)
    return Decision(effects=(KeyStepped(ask.device, link),))


def baselines(stores: Stores, ask: GetBaselines) -> Decision:
    """Answer what is known of each device now, as a dictionary."""
    vault = stores.vault
    found: dict[DeviceId, Baseline] = {}
    for device_id in ask.devices:
        device = _device(vault, device_id)
        received = vault.sessions.load(device.session).received if device.session else 0
        found[device_id] = Baseline(received, device.stated_sent, device.stated_received)
    return Decision(found)


def up(stores: Stores, ask: LinkUp, now: Moment) -> Decision:
    """Note the encounter; answer the greeting."""
    vault = stores.vault
    device = _device(vault, ask.device)
    contact = vault.contacts.get(device.contact)
    assert contact is not None  # devices go with their contact
    _seen(vault, device, ask.transport, now)
    statements: tuple[Statement, ...] = ()
    if device.session is not None:
        session = vault.sessions.load(device.session)
        statements = (
            Statement(session=session.handle, sent=session.sent, received=session.received),
        )
    owed = b""
    if contact.state == "pending" and contact.confirm:
        owed = confirmation(contact.confirm, contact.alice, False)
    lane = vault.lanes.for_contact(contact.id)
    done = mutual.finish(vault, contact.account)
    receipts = tuple(vault.owed.take(ask.device, MAX_IDS))
    return Decision(Greeting(statements, owed, lane or b"", receipts), tuple(done))


def met(stores: Stores, ask: Met, now: Moment) -> Decision:
    """Note the encounter with a device whose vault is locked."""
    _seen(stores.vault, _device(stores.vault, ask.device), ask.transport, now)
    return Decision()


def _seen(vault: Vault, device: DeviceRow, transport: str, now: Moment) -> None:
    # Both sides dial, and one of two links made at once goes: people met once all the same.
    again = device.last_seen is not None and 0 <= now.wall - device.last_seen < TOGETHER
    vault.devices.set_seen(device.id, now.wall, again=again)
    if not again:
        vault.meetings.add(device.contact, transport, now.node // DAY, now.wall)


def stated(stores: Stores, ask: Stated, now: Moment, entropy: Entropy) -> Decision:
    """Check a device's index statements. One of theirs that went back stops the contact until it
    begins anew; where ours went back, we begin anew with it."""
    device = _device(stores.vault, ask.device)
    found = _checked(stores, device, ask.statements, ask.baseline, now, entropy)
    return Decision(effects=tuple(found))


def _checked(
    stores: Stores,
    device: DeviceRow,
    statements: Sequence[Statement],
    baseline: Baseline,
    now: Moment,
    entropy: Entropy,
) -> list[Effect]:
    vault = stores.vault
    if device.session is None:
        return []
    session = vault.sessions.load(device.session)
    for theirs in statements:
        if theirs.session != session.handle:
            continue
        verdict = check(
            own_sent=session.sent,
            own_received=baseline.received,
            last_stated_sent=baseline.stated_sent,
            last_stated_received=baseline.stated_received,
            theirs=theirs,
        )
        if verdict != "ok":
            return _set_back(stores, device, verdict, now, entropy)
        vault.devices.set_stated(
            device.id,
            max(device.stated_sent, theirs.sent),
            max(device.stated_received, theirs.received),
        )
    return []


def _set_back(
    stores: Stores, device: DeviceRow, verdict: str, now: Moment, entropy: Entropy
) -> list[Effect]:
    """An old copy of a store runs: theirs, or ours."""
    vault = stores.vault
    contact = vault.contacts.get(device.contact)
    if contact is None or contact.state not in ("active", "suspect"):
        return []
    charge = Charge(None, verdict)
    if verdict == "they-rolled-back":
        doubted = twins.doubted(vault, contact, "rollback", "rollback", now)
        return [charge, *doubted] if doubted else []
    begun = resets.set_back(stores, contact, now, entropy)
    if begun is None:
        return [Charge(None, "resets-too-often")]
    if not begun:
        return []
    return [
        charge,
        note.about_contact(vault, "contact.changed", contact.id, now, "set-back"),
        *begun,
    ]


def returning(stores: Stores, ask: ReturningUp) -> Decision:
    """Answer what to state on a link that only the reset mark opened: to whom it is not new, how
    far link keys and session have come here."""
    vault = stores.vault
    device = _device(vault, ask.device)
    row = _current(vault, device.contact, ask.generation)
    if row is None:
        return Decision(())
    generation, newest = row
    handle = reset.handle(generation.keys)
    if not newest:
        return Decision((Statement(session=handle, sent=OVER, received=0),))
    found = [Statement(session=handle, sent=device.link.index, received=0)]
    if device.session is not None:
        session = vault.sessions.load(device.session)
        found.append(
            Statement(session=session.handle, sent=session.sent, received=session.received)
        )
    return Decision(tuple(found))


def returning_stated(
    stores: Stores, ask: ReturningStated, now: Moment, entropy: Entropy
) -> Decision:
    """Find out which of the two has an old store, and begin anew if it is ours."""
    vault = stores.vault
    device = _device(vault, ask.device)
    row = _current(vault, device.contact, ask.generation)
    if row is None or not row[1]:
        return Decision()
    handle = reset.handle(row[0].keys)
    verdict = "ok"
    for theirs in ask.statements:
        if theirs.session == handle and theirs.sent > device.link.index + 1:
            verdict = "we-rolled-back"
        elif theirs.session == handle and theirs.sent + 1 < device.link.index:
            verdict = "they-rolled-back"
    if verdict != "ok":
        return Decision(effects=tuple(_set_back(stores, device, verdict, now, entropy)))
    found = _checked(stores, device, ask.statements, ask.baseline, now, entropy)
    return Decision(effects=tuple(found))


OVER = 2**53 - 1
"""Stated of a generation of reset keys that is not the newest: whoever holds no newer is behind."""


def _current(vault: Vault, contact: ContactId, ref: int) -> tuple[ResetRow, bool] | None:
    """Return a generation, and whether it is the newest; None while a reset of ours is under way,
    for then nothing here can be compared."""
    if resets.under_way(vault, contact):
        return None
    newest = resets.usable(vault, contact)
    found = next((row for row in vault.resets.of_contact(contact) if row.ref == ref), None)
    if newest is None or found is None:
        return None
    return found, found.ref == newest.ref


def told(stores: Stores, ask: Told) -> Decision:
    """Keep where a device says it may be reached. Hints only: links prove themselves."""
    vault = stores.vault
    device = _device(vault, ask.device)
    lane = vault.lanes.for_contact(device.contact)
    effects: list[Effect] = []
    for transport, addresses in ask.addresses.entries:
        vault.addresses.set(ask.device, transport, list(addresses))
        if lane is not None:
            effects += [Reachable(ask.device, lane, transport, one) for one in addresses]
    kept = AddressesKept(addresses_digest(ask.addresses))
    return Decision(effects=(*effects, Tell(ask.link, kept)))


def lane(stores: Stores, ask: GetLane) -> Decision:
    """Answer a device's newest lane."""
    device = stores.vault.devices.get(ask.device)
    found = stores.vault.lanes.for_contact(device.contact) if device is not None else None
    return Decision(found or b"")


def pass_told(stores: Stores, ask: PassTold) -> Decision:
    """Keep how a device is recognised while its vault is locked."""
    if _device(stores.vault, ask.device).carry_pass == ask.secret:
        return Decision()
    stores.vault.devices.set_pass(ask.device, ask.secret)
    return Decision(effects=(PassKept(ask.device, ask.secret),))


def _device(vault: Vault, device_id: DeviceId) -> DeviceRow:
    device = vault.devices.get(device_id)
    contact = vault.contacts.get(device.contact) if device is not None else None
    if device is None or contact is None or contact.state == "blocked":
        raise RemoteError("device-gone")  # removed or blocked while its link was coming up
    return device


@dataclass(frozen=True, slots=True)
class Returner:
    """How a contact is recognised that has lost its link keys, or whose keys we have lost.

    shown: the newest generation, by which we show ourselves. ours: a reset of ours is under way.
    """

    device: DeviceId
    contact: ContactId
    generation: int
    key: LinkKey
    shown: bool
    ours: bool


@dataclass(frozen=True, slots=True)
class Known:
    """Everybody a link may be with: (device, contact, link key, carry pass), mutual scans (id, key,
    whether done here), returners, and devices that resets replaced (number, contact, link key)."""

    devices: tuple[tuple[DeviceId, ContactId, LinkKey, bytes], ...]
    pairings: tuple[tuple[PairingId, LinkKey, bool], ...]
    returners: tuple[Returner, ...] = ()
    twins: tuple[tuple[int, ContactId, LinkKey], ...] = ()


def peers(stores: Stores) -> Decision:
    """Answer who may be recognised now. The blocked are strangers."""
    vault = stores.vault
    blocked = {row.id for row in vault.contacts.all() if row.state == "blocked"}
    known = [row for row in vault.devices.all() if row.contact not in blocked]
    devices = tuple((row.id, row.contact, row.link, row.carry_pass) for row in known)
    generations = vault.resets.by_contact()
    returners = tuple(
        one for row in known for one in _returners(row, generations.get(row.contact, []))
    )
    replaced = tuple(
        (row.ref, row.contact, row.link)
        for row in vault.twins.all()
        if row.link is not None and row.contact not in blocked
    )
    return Decision(Known(devices, mutual.link_keys(vault), returners, replaced))


def _returners(device: DeviceRow, generations: Sequence[ResetRow]) -> Iterator[Returner]:
    ours = any(row.sent is not None for row in generations)
    known = [row for row in generations if row.known]
    for n, row in enumerate(known):
        key = reset.link_key(row.keys, alice=row.alice)
        yield Returner(device.id, device.contact, row.ref, key, n == 0, ours)
