"""What the local API asks of the stores: each question reads, on a connection of its own."""

from collections.abc import Mapping
from typing import Any

from p2pnode import schema
from p2pnode.ids import ContactId, Lane
from p2pnode.store.records import ContactRow
from p2pnode.store.vault import Vault
from p2pnode.turns import views
from p2pnode.turns.stores import Stores
from p2pnode.turns.why import because


def taken(stores: Stores, name: str) -> bool:
    """Tell whether a contact has this petname."""
    return stores.vault.contacts.by_name(name) is not None


def contact_row(stores: Stores, name: str) -> ContactRow:
    """Find a contact by petname or account id. Raises UnknownContact."""
    return views.find_contact(stores.vault, name)


def contact(stores: Stores, name: str, online: frozenset[bytes]) -> schema.Contact:
    """Return a contact as clients see it. Raises UnknownContact."""
    row = views.find_contact(stores.vault, name)
    return views.contact(row, stores.vault, row.id in online)


def contacts(stores: Stores, online: frozenset[bytes]) -> schema.Contacts:
    """Return the address book."""
    vault = stores.vault
    return schema.Contacts(
        contacts=[views.contact(row, vault, row.id in online) for row in vault.contacts.all()]
    )


def message(stores: Stores, prefix: str) -> schema.Message:
    """Return a message by the beginning of its id. Raises InvalidInput."""
    row = views.find_message(stores.vault, prefix)
    return views.message(row, views.petname(stores.vault, row.contact), hide=stores.redactions)


def history(stores: Stores, name: str, limit: int, before: str) -> schema.History:
    """Return a page of a conversation. Raises UnknownContact, InvalidInput."""
    vault = stores.vault
    contact = views.find_contact(vault, name)
    ref = views.find_message(vault, before).ref if before else None
    rows = vault.messages.history(contact.id, limit, ref)
    return schema.History(
        messages=[
            views.message(
                row,
                contact.name,
                vault.messages.missing(contact.id, row.heads),
                hide=stores.redactions,
            )
            for row in rows
        ]
    )


def why(
    stores: Stores, prefix: str, online: frozenset[bytes], now: int, ways: Mapping[str, str]
) -> schema.Because:
    """Return what happened to a message. ways: state of each transport. Raises InvalidInput."""
    row = views.find_message(stores.vault, prefix)
    return because(stores.vault, row, row.contact in online, now, ways)


def events(stores: Stores, request: schema.TakeEvents) -> list[schema.Event]:
    """Return stored events a consumer has not acknowledged.

    None only when there are no more: events about what has been forgotten since are passed over.
    """
    events = stores.vault.events
    after = request.after if request.after >= 0 else events.acked(request.consumer)
    while rows := events.after(after, request.limit):
        shown = (views.event(row, stores.vault, hide=stores.redactions) for row in rows)
        if found := [event for event in shown if event is not None]:
            return found
        after = rows[-1].cursor
    return []


def reachable(stores: Stores) -> tuple[dict[Lane, bool], list[tuple[Any, Any, str, bytes]]]:
    """Return what a transport that is turned on must know: contacts' lanes and addresses."""
    return lanes(stores.vault), told(stores.vault)


def lanes(vault: Vault) -> dict[Lane, bool]:
    """Return the lanes of all contacts, and whether each is served; the blocked are not."""
    blocked = _blocked(vault)
    return {
        row.lane: row.contact not in blocked for row in vault.lanes.all() if row.contact is not None
    }


def _blocked(vault: Vault) -> set[ContactId]:
    return {row.id for row in vault.contacts.all() if row.state == "blocked"}


def told(vault: Vault) -> list[tuple[Any, Any, str, bytes]]:
    """Return every address to dial that a contact's device has told: (device, lane, transport,
    address). The blocked are not dialled."""
    told = []
    blocked = _blocked(vault)
    for device, transport, addresses in vault.addresses.all():
        row = vault.devices.get(device)
        lane = vault.lanes.for_contact(row.contact) if row is not None else None
        if row is not None and lane is not None and row.contact not in blocked:
            told += [(device, lane, transport, address) for address in addresses]
    return told
