"""The address book: renamed, verified, blocked, removed, made active."""

import msgspec

from p2pnode.errors import InvalidInput, UntrustedKey
from p2pnode.ids import ContactId, Lane
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.names import petname
from p2pnode.schema import EventKind
from p2pnode.store.records import ContactRow, LaneRow
from p2pnode.store.vault import Vault
from p2pnode.turns import agreements, note, redactions, resets, views
from p2pnode.turns.asks import Block, LaneKept, Rename, Rotate, Verify
from p2pnode.turns.effects import (
    Cut,
    Decision,
    Effect,
    LaneClosed,
    LaneOpened,
    LaneRevoked,
    Paired,
    PeersChanged,
    Reachable,
)
from p2pnode.turns.moment import Moment
from p2pnode.turns.send import seal_again, seal_waiting
from p2pnode.turns.stores import Stores


def activate(stores: Stores, contact: ContactRow, now: Moment, entropy: Entropy) -> list[Effect]:
    """Make a pending contact active: both said yes. What was written meanwhile is sealed.

    With one who was paired before, what was under way under the old keys can be opened no more: it
    is sealed again, and so is what was asked for.
    """
    vault = stores.vault
    # The vault may hold a newer row than the caller read; its confirmation key must survive.
    row = vault.contacts.get(contact.id) or contact
    vault.contacts.update(msgspec.structs.replace(row, state="active", doubt=""))
    return [
        note.about_contact(vault, "contact.paired", contact.id, now),
        Paired(contact.id, row.account, row.name),
        PeersChanged(),
        *seal_waiting(stores, contact.id, now, entropy),
        *seal_again(stores, contact.id, {}, now, entropy),
        *redactions.begun_anew(stores, contact.id, now, entropy),
        *agreements.begun_anew(stores, contact.id, now, entropy, theirs=True),
    ]


def rename(stores: Stores, ask: Rename, now: Moment) -> Decision:
    """Change a petname. Raises InvalidInput when it is taken or cannot be a name."""
    row = views.existing(stores.vault, ask.contact)
    name = petname(ask.name)
    holder = stores.vault.contacts.by_name(name)
    if holder is not None and holder.id != row.id:
        raise InvalidInput(f'"{name}" is already the name of a contact', hint="Choose another.")
    stores.vault.contacts.update(msgspec.structs.replace(row, name=name))
    return _changed(stores.vault, row.id, now)


def forget(vault: Vault, contact: ContactId) -> list[Effect]:
    """Remove a contact and everything of it; return what the engine must end."""
    effects: list[Effect] = [
        Cut(device.id, unsought=True) for device in vault.devices.of_contact(contact)
    ]
    effects += (LaneRevoked(lane) for lane in vault.lanes.of_contact(contact))
    vault.erase(contact)
    return [*effects, PeersChanged()]


def rotate(stores: Stores, ask: Rotate, entropy: Entropy) -> Decision:
    """Give a contact another lane, and so other addresses; the old one serves until it has them.

    Raises InvalidInput for a contact that is not yet one, UntrustedKey for one that is blocked.
    """
    row = views.existing(stores.vault, ask.contact)
    if row.state == "pending":
        raise InvalidInput(f"{row.name} is not paired yet", hint="Wait until pairing is complete.")
    if row.state == "blocked":
        raise UntrustedKey(
            f"{row.name} is blocked, and is told nothing",
            hint=f"First: p2pnode contacts unblock {row.name}",
        )
    lane = Lane(entropy.take(16))
    stores.vault.lanes.add(LaneRow(lane=lane, contact=row.id, pairing=None))
    return Decision(effects=(LaneOpened(lane),))


def lane_kept(stores: Stores, ask: LaneKept) -> Decision:
    """A contact has kept the addresses of a lane: its older lanes end."""
    vault = stores.vault
    device = vault.devices.get(ask.device)
    lanes = vault.lanes.of_contact(device.contact) if device is not None else []
    if Lane(ask.lane) not in lanes:
        return Decision()
    older = lanes[: lanes.index(Lane(ask.lane))]
    for lane in older:
        vault.lanes.remove(lane)
    return Decision(effects=tuple(LaneRevoked(lane) for lane in older))


def block(stores: Stores, ask: Block, now: Moment, entropy: Entropy) -> Decision:
    """Block or unblock. Raises InvalidInput for a contact that is not yet one.

    While blocked he is a stranger to this node: his links end, he is not dialled, and the places
    that only he knows lead nowhere. They are kept, so that both find each other again.
    """
    row = views.existing(stores.vault, ask.contact)
    if row.state == "pending":
        raise InvalidInput(
            f"{row.name} is not paired yet", hint=f"Instead: p2pnode contacts remove {row.name}"
        )
    open_ = "suspect" if row.doubt else "active"
    state = "blocked" if ask.blocked else open_
    if (row.state == "blocked") == ask.blocked:
        return Decision()
    row = msgspec.structs.replace(row, state=state)
    stores.vault.contacts.update(row)
    anew = resets.ensure(stores, row, now, entropy) if state == "active" else []
    changed = _changed(stores.vault, row.id, now)
    ways = _shut_off(stores.vault, row.id) if ask.blocked else _let_in(stores.vault, row.id)
    return Decision(effects=(*changed.effects, *anew, *ways, PeersChanged()))


def _shut_off(vault: Vault, contact: ContactId) -> list[Effect]:
    return [
        *(Cut(device.id, unsought=True) for device in vault.devices.of_contact(contact)),
        *(LaneClosed(lane) for lane in vault.lanes.of_contact(contact)),
    ]


def _let_in(vault: Vault, contact: ContactId) -> list[Effect]:
    lanes = vault.lanes.of_contact(contact)
    if not lanes:
        return []
    return [
        *(LaneOpened(lane) for lane in lanes),
        *(
            Reachable(device, lanes[-1], transport, address)
            for device, transport, addresses in vault.addresses.of_contact(contact)
            for address in addresses
        ),
    ]


def verify(stores: Stores, ask: Verify, now: Moment, entropy: Entropy) -> Decision:
    """Record a comparison of fingerprints in person.

    A mismatch stops the contact, and a later match lets it go on. Where two copies of a contact
    were seen, a match says that the newest one is the true one. One whose node was set back to an
    old state goes on when that has begun anew; one that was told of a copy of ourselves stays
    stopped until both are paired again.
    """
    vault = stores.vault
    row = views.existing(vault, ask.contact)
    if row.state == "pending" and not vault.devices.of_contact(row.id):
        raise InvalidInput(f"{row.name}'s keys are not here yet", hint="Wait until they are.")
    if not ask.matches:
        state = "blocked" if row.state == "blocked" else "suspect"  # which unblocking leads to
        vault.contacts.update(
            msgspec.structs.replace(row, state=state, verified="no", doubt="mismatch")
        )
        return _changed(vault, row.id, now, "contact.suspect")
    settled = row.state == "suspect" and row.doubt in ("mismatch", "clone")
    effects = list(resets.settle(stores, row, now, entropy)) if row.doubt == "clone" else []
    row = views.existing(vault, ask.contact)
    if settled:
        row = msgspec.structs.replace(row, state="active", doubt="")
    row = msgspec.structs.replace(row, verified="person")
    vault.contacts.update(row)
    changed = _changed(vault, row.id, now)
    if not settled:
        return Decision(effects=(*effects, *changed.effects))
    effects += resets.ensure(stores, row, now, entropy)
    # What waited goes out on a fresh link, and to carriers.
    cuts = [Cut(device.id) for device in vault.devices.of_contact(row.id)]
    return Decision(effects=(*effects, *changed.effects, *cuts, PeersChanged()))


def _changed(
    vault: Vault, contact: ContactId, now: Moment, kind: EventKind = "contact.changed"
) -> Decision:
    return Decision(effects=(note.about_contact(vault, kind, contact, now),))
