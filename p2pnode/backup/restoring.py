"""How a new home is made of a backup."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from p2pnode.backup.contents import Owner, Person, Record, Said, Settings, decoded_untrusted
from p2pnode.config import Home
from p2pnode.engine.clock import wall_time
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import InvalidInput, RemoteError, StoreCorrupt, StoreError
from p2pnode.home import make_home
from p2pnode.ids import AccountId, ContactId, DeviceId, Lane, MessageId
from p2pnode.protocol import identity, primitives
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.identity import Account, Own
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.names import petname, suggested_untrusted
from p2pnode.protocol.session import reset
from p2pnode.protocol.session.reset import RESTORE_ID, ResetKeys
from p2pnode.store import files, sealed_file
from p2pnode.store.custody import Custody
from p2pnode.store.keys import MODERATE, Cost
from p2pnode.store.records import (
    ContactRow,
    ConversationRow,
    DeviceRow,
    LaneRow,
    MessageRow,
    ResetRow,
)
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns import resets
from p2pnode.turns.moment import Moment
from p2pnode.turns.pairing import free_name
from p2pnode.turns.stores import Stores

MAX_CONTACTS = 100_000
"""Contacts in one backup: far more than anybody has, and as many as are held at once."""


class Restored(NamedTuple):
    """What came out of a backup. settings: whether its config.toml was put in place."""

    own: Own
    contacts: int
    messages: int
    made: int
    settings: bool


def restore(
    home: Home,
    path: Path,
    phrase: str,
    *,
    passphrase: bytes | None,
    key_file: Path | None = None,
    cost: Cost = MODERATE,
) -> Restored:
    """Make a home out of a backup: all of it or nothing. A config.toml that is there stays.

    Raises InvalidInput (an identity is there), WrongPassphrase, StoreCorrupt and what
    `sealed_file.read_untrusted` raises, StoreError, Denied.
    """
    found: list[Restored] = []
    texts: list[str] = []

    def fill(vault: Vault, custody: Custody) -> Own:
        stores = Stores(vault, custody, CarryPolicy(1))
        pieces = sealed_file.read_untrusted(path, phrase)
        decoded = (decoded_untrusted(piece) for piece in pieces)
        done = filled(stores, decoded, texts, Moment(0, wall_time()), OsEntropy())
        settings = bool(texts) and not home.config.exists()
        if settings:  # before the home is one, so that a crash cannot leave it without them
            home.config.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(home.config, texts[0].encode())
        found.append(done._replace(settings=settings))
        return done.own

    make_home(home, fill, passphrase=passphrase, key_file=key_file, cost=cost)
    return found[0]


def filled(
    stores: Stores, found: Iterator[Record], texts: list[str], now: Moment, entropy: Entropy
) -> Restored:
    """Put the records of a backup into new stores, and begin anew with everybody. texts: gets the
    settings. Raises StoreCorrupt when they make no whole.
    """
    vault = stores.vault
    first = next(found, None)
    if not isinstance(first, Owner):
        raise StoreCorrupt("the backup cannot be read", why="it does not say whose it is")
    account = Account(first.seed, AccountId(primitives.sign_public(first.seed)))
    own = Own(account, identity.new_device(account, entropy), _name(first.name))
    initialise(vault, own, entropy.take(32))
    known: dict[bytes, ContactId] = {}
    messages = 0
    try:
        with vault.transaction(), stores.custody.transaction():
            for record in found:
                match record:
                    case Settings(text=text):
                        texts.append(text)
                    case Person():
                        if record.account in known or len(known) == MAX_CONTACTS:
                            raise RemoteError("bad-contacts")
                        known[record.account] = _add_person(vault, record, entropy)
                    case Said():
                        _add_said(vault, known[record.account], record)
                        messages += 1
                    case _:
                        raise RemoteError("two-owners")
            restore_id = entropy.take(RESTORE_ID)
            for contact in known.values():
                row = vault.contacts.get(contact)
                assert row is not None  # added a moment ago
                if row.state == "active" or row.doubt in ("rollback", "clone"):
                    resets.begin(stores, row, restore_id, now, entropy)
    except (RemoteError, InvalidInput, KeyError, StoreError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreCorrupt("the backup makes no whole", why=str(error)) from None
    return Restored(own, len(known), messages, first.made, settings=False)


def _name(kept: str) -> str:
    """Return a name that was valid where the backup was made; Unicode may be an older one here."""
    try:
        return petname(kept)
    except InvalidInput:
        return suggested_untrusted(kept)


def _add_person(vault: Vault, person: Person, entropy: Entropy) -> ContactId:
    certificate = identity.check_certificate_untrusted(person.certificate)
    if certificate.account != person.account:
        raise RemoteError("foreign-account")
    contact = ContactId(entropy.take(16))
    vault.contacts.add(
        ContactRow(
            id=contact,
            account=AccountId(person.account),
            name=free_name(vault, _name(person.name)),
            hint=person.hint,
            state=person.state,
            verified=person.verified,
            created=person.created,
            expires=None,
            confirm=b"",
            alice=person.generations[0].alice,
            doubt=person.doubt,
            clock=person.clock,
        )
    )
    device = DeviceRow(
        id=certificate.device,
        contact=contact,
        certificate=person.certificate,
        link=LinkKey(0, entropy.take(32), b"", False),  # of no use until both have begun anew
        session=None,
        last_seen=None,
        stated_sent=0,
        stated_received=0,
        reset=b"",
    )
    vault.devices.add(device)
    vault.conversations.save(
        ConversationRow(contact, person.retention, person.span, person.least, person.clock)
    )
    vault.lanes.add(LaneRow(lane=Lane(entropy.take(16)), contact=contact, pairing=None))
    for transport, addresses in person.addresses:
        vault.addresses.set(DeviceId(certificate.device), transport, list(addresses))
    refs = [0]
    for one in person.generations:
        made = ResetKeys(one.secret, one.own_dh, one.own_kem, one.their_dh, one.their_kem)
        if one.parent >= len(refs):
            raise RemoteError("bad-generations")
        row = ResetRow(
            ref=0,
            contact=contact,
            parent=refs[one.parent],
            known=True,
            alice=one.alice,
            own=one.own,
            theirs=one.theirs,
            transcript=one.transcript,
            envelope=b"",
            keys=made,
        )
        refs.append(vault.resets.add(row, reset.tags(made, alice=not one.alice)))
    return contact


def _add_said(vault: Vault, contact: ContactId, said: Said) -> None:
    """Put a message back; how old it is the start finds out, as for those of older schemas."""
    vault.messages.add(
        MessageRow(
            ref=None,
            contact=contact,
            id=MessageId(said.id),
            mine=said.mine,
            device=None,
            text=said.text,
            heads=said.heads,
            clock=said.clock,
            at=said.at,
            arrived=said.arrived,
            state=said.state,
            lifetime=said.lifetime,
            handed=said.handed,
        )
    )
