"""What a link with a contact's device leaves in the vault."""

from dataclasses import dataclass

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import ContactId, DeviceId, EnvelopeId, PairingId
from p2pnode.protocol.limits import MAX_IDS
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.link.messages import AddressesKept, Statement, addresses_digest
from p2pnode.protocol.link.statements import check
from p2pnode.protocol.pairing.confirm import confirmation
from p2pnode.store.records import DeviceRow
from p2pnode.store.vault import Vault
from p2pnode.turns import mutual, note
from p2pnode.turns.asks import (
    Baseline,
    GetBaselines,
    GetLane,
    LinkUp,
    PassTold,
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
    vault.devices.set_seen(ask.device, now.wall)
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


def stated(stores: Stores, ask: Stated, now: Moment) -> Decision:
    """Check a device's index statements; one that went back stops the contact."""
    vault = stores.vault
    device = _device(vault, ask.device)
    if device.session is None:
        return Decision()
    session = vault.sessions.load(device.session)
    effects: list[Effect] = []
    for theirs in ask.statements:
        if theirs.session != session.handle:
            continue
        verdict = check(
            own_sent=session.sent,
            own_received=ask.baseline.received,
            last_stated_sent=ask.baseline.stated_sent,
            last_stated_received=ask.baseline.stated_received,
            theirs=theirs,
        )
        if verdict == "ok":
            vault.devices.set_stated(
                ask.device,
                max(device.stated_sent, theirs.sent),
                max(device.stated_received, theirs.received),
            )
        else:
            effects += _suspect(vault, device, verdict, now)
    return Decision(effects=tuple(effects))


def _suspect(vault: Vault, device: DeviceRow, verdict: str, now: Moment) -> list[Effect]:
    contact = vault.contacts.get(device.contact)
    if contact is None or contact.state != "active":
        return []
    vault.contacts.update(msgspec.structs.replace(contact, state="suspect"))
    return [
        Charge(None, verdict),
        note.about_contact(vault, "contact.suspect", contact.id, now),
    ]


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
    if device is None:
        raise RemoteError("device-gone")  # removed while its link was coming up
    return device


@dataclass(frozen=True, slots=True)
class Known:
    """Everybody a link may be with: (device, contact, link key, carry pass), and mutual scans (id,
    key, whether done here)."""

    devices: tuple[tuple[DeviceId, ContactId, LinkKey, bytes], ...]
    pairings: tuple[tuple[PairingId, LinkKey, bool], ...]


def peers(stores: Stores) -> Decision:
    """Answer who may be recognised now. The blocked are strangers."""
    vault = stores.vault
    blocked = {row.id for row in vault.contacts.all() if row.state == "blocked"}
    devices = tuple(
        (row.id, row.contact, row.link, row.carry_pass)
        for row in vault.devices.all()
        if row.contact not in blocked
    )
    return Decision(Known(devices, mutual.link_keys(vault)))
