"""What every turn that changes a message or a contact leaves behind: traces and events."""

import msgspec

from p2pnode.ids import ContactId
from p2pnode.protocol.delivery import State, advanced
from p2pnode.schema import Event, EventKind
from p2pnode.store.records import EventRow, MessageRow
from p2pnode.store.vault import Vault
from p2pnode.turns import views
from p2pnode.turns.effects import Effect, Happened
from p2pnode.turns.moment import Moment


def about_message(
    vault: Vault,
    kind: EventKind,
    row: MessageRow,
    ref: int,
    now: Moment,
    missing: int = 0,
    *,
    hide: bool = True,
) -> Happened:
    """Store an event about a message; the effect tells it to whoever listens. hide: see
    `views.message`."""
    cursor = vault.events.add(kind, now.wall, message=ref)
    name = views.petname(vault, row.contact)
    return Happened(
        Event(
            cursor=cursor,
            kind=kind,
            at=now.wall,
            message=views.message(row, name, missing, hide=hide),
            contact=name,
        )
    )


def about_contact(
    vault: Vault, kind: EventKind, contact: ContactId, now: Moment, reason: str = ""
) -> Happened:
    """Store an event about a contact; the effect tells it to whoever listens.

    reason: a constant slug, see `schema.Event`.
    """
    cursor = vault.events.add(kind, now.wall, contact=contact, reason=reason)
    row = EventRow(
        cursor=cursor, kind=kind, at=now.wall, message=None, contact=contact, reason=reason
    )
    event = views.event(row, vault)
    assert event is not None  # only an event about a message can be empty
    return Happened(event)


def state_reached(
    vault: Vault, ref: int, to: State, now: Moment, trace: str, detail: str = ""
) -> list[Effect]:
    """Move a message forward, with its trace and event; nothing when it was as far already."""
    row = vault.messages.get(ref)
    if row is None or advanced(row.state, to) == row.state:
        return []
    vault.messages.set_state(ref, to)
    vault.traces.add(ref, now.wall, trace, detail)
    return [about_message(vault, "message.state", msgspec.structs.replace(row, state=to), ref, now)]
