"""Rows of the vault as the local API shows them."""

from p2pnode import schema
from p2pnode.errors import InvalidInput, UnknownContact
from p2pnode.ids import ContactId, id_bytes, id_text
from p2pnode.protocol.fingerprint import fingerprint, grouped, words
from p2pnode.protocol.names import shown_hint_untrusted
from p2pnode.store.records import ContactRow, EventRow, MessageRow
from p2pnode.store.vault import Vault

ACCOUNT_SIZE = 32
"""Bytes of an account id; a mutual scan whose keys are still under way has none to show."""


def contact(row: ContactRow, vault: Vault, online: bool) -> schema.Contact:
    """Return an address-book entry as clients see it."""
    devices = vault.devices.of_contact(row.id)
    seen = [device.last_seen for device in devices if device.last_seen is not None]
    known = bool(devices)
    print_ = fingerprint(row.account) if known else b""
    return schema.Contact(
        name=row.name,
        hint=shown_hint_untrusted(row.hint),
        account=id_text(row.account) if known else "",
        fingerprint=grouped(print_) if known else "",
        words=words(print_) if known else [],
        state=row.state,
        verified=row.verified,
        doubt=row.doubt,
        devices=[id_text(device.id) for device in devices],
        last_seen=max(seen, default=None),
        online=online,
    )


def hidden(row: MessageRow, *, hide: bool) -> bool:
    """Tell whether a message's text is not shown, because its author asked to have it removed and
    our person grants such wishes (`hide`). One's own stays in sight."""
    return hide and row.redacted is not None and not row.mine


def message(row: MessageRow, name: str, missing: int = 0, *, hide: bool = True) -> schema.Message:
    """Return a message as clients see it; name is the petname of its contact."""
    return schema.Message(
        id=id_text(row.id),
        from_="" if row.mine else name,
        to=name if row.mine else "",
        text="" if hidden(row, hide=hide) else row.text,
        state=row.state,
        at=row.at,
        missing=missing,
        redacted=row.redacted is not None,
        span=row.span,
    )


def event(row: EventRow, vault: Vault, *, hide: bool = True) -> schema.Event | None:
    """Return a stored event with what it tells of; None when that has been forgotten since."""
    of = vault.messages.get(row.message) if row.message is not None else None
    if row.message is not None and of is None:
        return None
    about = of.contact if of is not None else row.contact
    name = petname(vault, about) if about is not None else ""
    shown = None
    if of is not None:
        shown = message(of, name, vault.messages.missing(of.contact, of.heads), hide=hide)
    return schema.Event(
        cursor=row.cursor,
        kind=row.kind,
        at=row.at,
        message=shown,
        contact=name,
        reason=row.reason,
    )


def existing(vault: Vault, contact: ContactId) -> ContactRow:
    """Return a contact that was there a moment ago. Raises UnknownContact when it is gone."""
    row = vault.contacts.get(contact)
    if row is None:
        raise UnknownContact("this contact is gone", hint="See: p2pnode contacts list")
    return row


def find_contact(vault: Vault, text: str) -> ContactRow:
    """Return the contact called `text`, or with that account id. Raises UnknownContact."""
    row = vault.contacts.by_name(text)
    if row is None and len(text) > ACCOUNT_SIZE:
        try:
            row = vault.contacts.by_account(id_bytes(text))
        except ValueError:
            row = None
    if row is not None:
        return row
    names = [known.name for known in vault.contacts.all()]
    near = nearest(text, names)
    raise UnknownContact(
        f'no contact "{shown_hint_untrusted(text)}"',
        hint=f"Did you mean: {near}?" if near else "See: p2pnode contacts list",
    )


def nearest(text: str, names: list[str]) -> str:
    """Return the name most like text, or an empty string when none is."""
    import difflib  # only ever needed for a mistake

    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(text.casefold(), list(folded), n=1, cutoff=0.5)
    return folded[close[0]] if close else ""


def find_message(vault: Vault, prefix: str) -> MessageRow:
    """Return the one message whose id begins with prefix. Raises InvalidInput."""
    if len(prefix) < 4 or not prefix.isalnum():
        raise InvalidInput("a message id has at least four letters", hint="See: p2pnode history")
    found = vault.messages.find(prefix.lower())
    if not found:
        raise InvalidInput("no message has this id", hint="See: p2pnode history NAME")
    if len(found) > 1 and found[0].id == found[1].id:  # a contact chose the id of one of ours
        found = [row for row in found if row.mine] or found
    if len(found) > 1:
        raise InvalidInput("more than one message id begins so", hint="Give more letters of it.")
    return found[0]


def petname(vault: Vault, contact_id: ContactId) -> str:
    """Return the petname of a contact that exists."""
    row = vault.contacts.get(contact_id)
    return row.name if row is not None else ""
