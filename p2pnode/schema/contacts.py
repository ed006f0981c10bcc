"""The address book."""

from typing import Literal

from p2pnode.schema.base import Answer, Asks, Done, Name


class ListContacts(Asks["Contacts"], frozen=True):
    """Ask for the address book."""


class ContactRef(Asks["Contact"], frozen=True):
    """Ask for one contact, by petname or account id."""

    contact: Name


class Contact(Answer, frozen=True):
    """One contact.

    hint: what it calls itself, made safe to show. state: pending (their yes or keys are awaited),
    active, blocked, suspect (nothing is sent). verified: how the key was checked (words compared
    at pairing, codes scanned both ways, or later in person); no: not since it was restored. doubt:
    why it is suspect: mismatch (of fingerprints), rollback (its node was set back to an old state),
    clone (two copies of it run), replaced (it says that your own identity was restored elsewhere).
    """

    name: str
    hint: str
    account: str
    fingerprint: str
    words: list[str]
    state: Literal["pending", "active", "blocked", "suspect"]
    verified: Literal["no", "words", "scan", "person"]
    devices: list[str]
    last_seen: int | None
    online: bool
    doubt: Literal["", "mismatch", "rollback", "clone", "replaced"] = ""


class Contacts(Answer, frozen=True):
    """The address book, sorted by name."""

    contacts: list[Contact]


class RenameContact(Asks["Contact"], frozen=True):
    """Change a petname."""

    contact: Name
    name: Name


class RemoveContact(Asks[Done], frozen=True):
    """Forget a contact, its keys, sessions, messages and addresses."""

    contact: Name


class BlockContact(Asks["Contact"], frozen=True):
    """Block or unblock a contact: nothing of it is taken, nothing is sent."""

    contact: Name
    blocked: bool = True


class RotateAddress(Asks[Done], frozen=True):
    """Change the addresses a contact reaches this node at; the old ones serve until it has the new
    ones."""

    contact: Name


class VerifyContact(Asks["Contact"], frozen=True):
    """Record that the fingerprint was compared in person, or that it did not match."""

    contact: Name
    matches: bool
