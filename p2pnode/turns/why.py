"""The events behind a message's state, in sentences for people."""

from collections.abc import Mapping

from p2pnode.protocol import limits
from p2pnode.schema import Because, WhyEvent
from p2pnode.store.records import ContactRow, MessageRow
from p2pnode.store.vault import Vault
from p2pnode.turns import views

_SENTENCES = {
    "saved": "saved here, durably",
    "keys-awaited": "the contact's keys are still under way; it waits here unsealed",
    "keys-here": "the keys have come; sealed",
    "sealed-anew": "sealed again, because the contact or this node begins anew",
    "handed": "over {detail}: taken by the recipient's own node",
    "couriered": "written to courier files",
    "carried": "over {detail}: a carrier took a sealed copy",
    "delivered-carried": "carriers brought word: opened and stored by the recipient's node",
    "delivered": "over {detail}: opened and stored by the recipient's node, which said so",
    "expired": "its lifetime of {detail} days ended before anybody took it to the recipient",
    "opened": "received, opened and stored here",
    "redaction-sent": "you asked to have it removed; whether it was is not told",
    "redaction-asked": "its author asked to have it removed",
}


def because(
    vault: Vault, row: MessageRow, online: bool, now: int, ways: Mapping[str, str]
) -> Because:
    """Return what happened to a message and what that means.

    now: wall time, Unix seconds; ways: how this node's transports are, `up` or what is amiss.
    """
    assert row.ref is not None  # it was read from the vault
    events = [
        WhyEvent(at=at, kind=kind, text=_SENTENCES[kind].format(detail=detail))
        for at, kind, detail in vault.traces.of(row.ref)
    ]
    return Because(
        id=views.message(row, "").id,
        state=row.state,
        events=events,
        summary=_summary(vault, row, online, now, ways),
    )


def _summary(vault: Vault, row: MessageRow, online: bool, now: int, ways: Mapping[str, str]) -> str:
    contact = vault.contacts.get(row.contact)
    assert contact is not None  # messages go with their contact
    match row.state:
        case "received":
            return f"From {contact.name}. Nothing for you to do."
        case "delivered" | "read":
            return f"{contact.name}'s node has it. Nothing for you to do."
        case "expired":
            return f"{contact.name} did not get it. Send it again if it still matters."
        case "handed" if row.handed:
            waits = _waiting(vault, row, contact, online, now, ways)
            return f"With {_carriers(vault, row)}, who meet others. {waits}"
        case "handed":
            return f"On {contact.name}'s node, not confirmed yet. Nothing for you to do."
        case _:
            return _waiting(vault, row, contact, online, now, ways)


UP = "up"
"""How a transport is that works."""

NAMED = 5
"""Carriers named at most."""


def _carriers(vault: Vault, row: MessageRow) -> str:
    """Return how many carry a message, and who of them is still known."""
    assert row.ref is not None
    count = "one carrier" if row.handed == 1 else f"{row.handed} carriers"
    devices = (vault.devices.get(one) for one in vault.outbox.carriers(row.ref))
    names = sorted({views.petname(vault, one.contact) for one in devices if one is not None})
    more = ", …" if len(names) > NAMED else ""
    return f"{count} ({', '.join(names[:NAMED])}{more})" if names else count


def _waiting(
    vault: Vault,
    row: MessageRow,
    contact: ContactRow,
    online: bool,
    now: int,
    ways: Mapping[str, str],
) -> str:
    days = limits.LIFETIMES[row.lifetime] // 86_400
    name, state = contact.name, contact.state
    if state == "pending":
        return f"Waits until pairing with {name} is complete on both sides."
    if state == "suspect":
        return f"Held back: {name}'s keys are in doubt. Meet, and verify or pair again."
    if state == "blocked":
        return f"Held back: {name} is blocked."
    if online:
        return f"{name} is reachable; it is on its way."
    seen = [device.last_seen for device in vault.devices.of_contact(row.contact)]
    last = max((at for at in seen if at is not None), default=None)
    when = f"was last seen {ago(now - last)} ago" if last is not None else "was not seen yet"
    amiss = ", ".join(f"{way} is {how}" for way, how in ways.items() if how != UP)
    goes = f"It goes out as soon as a path opens; lifetime {days} days."
    if UP in ways.values():
        here = f" Here {amiss}." if amiss else ""
        return f"{name} {when}.{here} {goes} Nothing for you to do."
    here = (
        f"no transport is up here ({amiss})" if amiss else "nothing by which nodes meet is on here"
    )
    return f"{name} {when}, and {here}: p2pnode doctor. {goes}"


def ago(seconds: int) -> str:
    """Return a span in the largest unit that fits, as people say it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"
