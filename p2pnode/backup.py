"""Backups: what is in one, how it is taken from a vault, and how a new home is made of it.

In it: the account's key, contacts with the keys by which sessions begin anew, settings, and the
messages if the person wants them. Never in it: the device's own keys, ratchet states, link keys and
tags, of which a copy would be a second voice. So what is restored is a new device of the account,
and begins anew with everybody.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec
import trio

from p2pnode import schema
from p2pnode.config import Home
from p2pnode.engine.clock import wall_time
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import (
    ConfigError,
    InvalidInput,
    RemoteError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    WrongPassphrase,
)
from p2pnode.home import make_home
from p2pnode.ids import AccountId, ContactId, DeviceId, Lane, MessageId
from p2pnode.protocol import identity, limits, primitives, wire
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.delivery import State
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.identity import Account, Own
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.names import petname, suggested_untrusted
from p2pnode.protocol.session import reset
from p2pnode.protocol.session.reset import RESTORE_ID, ResetKeys
from p2pnode.store import files, keys, sealed_file
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
from p2pnode.turns import asks, resets
from p2pnode.turns.moment import Moment
from p2pnode.turns.pairing import free_name
from p2pnode.turns.stores import Stores

PAGE = 500
"""Messages read at once."""

MAX_CONTACTS = 100_000

WRONG_PAUSE = 2.0
"""Seconds a wrong passphrase costs beyond the work of trying it."""

Ask = Callable[[asks.Ask], Awaitable[Any]]
OptionalId = Annotated[bytes, msgspec.Meta(max_length=RESTORE_ID)]
Digest = Annotated[bytes, msgspec.Meta(max_length=32)]
Text = Annotated[str, msgspec.Meta(max_length=limits.MAX_NAME)]
Address = Annotated[bytes, msgspec.Meta(min_length=1, max_length=limits.MAX_ADDRESS)]
Transport = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]


class Owner(wire.Wire, frozen=True, tag=1):
    """Whose backup it is, and when it was made."""

    version: Literal[1]
    seed: wire.Bytes32
    name: Text
    made: wire.Unsigned


class Settings(wire.Wire, frozen=True, tag=2):
    """config.toml as it was."""

    text: str


class Generation(wire.Wire, frozen=True):
    """One generation of reset keys. parent: its place among these from 1 on, 0 for none."""

    secret: wire.Bytes32
    own_dh: wire.Bytes32
    own_kem: wire.Bytes64
    their_dh: wire.Bytes32
    their_kem: wire.KemPublic
    alice: bool
    own: OptionalId
    theirs: OptionalId
    transcript: Digest
    parent: Annotated[int, msgspec.Meta(ge=0, le=limits.RESET_GENERATIONS)]


class Person(wire.Wire, frozen=True, tag=3):
    """A contact, its device, how to begin anew with it, how long messages are kept, and where it
    said it may be reached."""

    account: wire.Bytes32
    name: Text
    hint: Text
    state: Literal["active", "blocked", "suspect"]
    verified: Literal["no", "words", "scan", "person"]
    doubt: Literal["", "mismatch", "rollback", "clone", "replaced"]
    created: wire.Unsigned
    clock: wire.Unsigned
    retention: wire.Unsigned | None
    span: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_SPAN)]
    least: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_SPAN)]
    certificate: Annotated[bytes, msgspec.Meta(max_length=identity.CERTIFICATE)]
    generations: Annotated[
        tuple[Generation, ...], msgspec.Meta(min_length=1, max_length=limits.RESET_GENERATIONS)
    ]
    addresses: Annotated[
        tuple[
            tuple[
                Transport,
                Annotated[tuple[Address, ...], msgspec.Meta(max_length=limits.MAX_ADDRESSES)],
            ],
            ...,
        ],
        msgspec.Meta(max_length=limits.MAX_TRANSPORTS),
    ]


class Said(wire.Wire, frozen=True, tag=4):
    """A message of a conversation."""

    account: wire.Bytes32
    id: wire.Bytes16
    mine: bool
    text: str
    heads: Annotated[tuple[wire.Bytes16, ...], msgspec.Meta(max_length=limits.MAX_HEADS)]
    clock: wire.Unsigned
    at: wire.Unsigned
    arrived: wire.Unsigned
    state: State
    lifetime: Annotated[int, msgspec.Meta(ge=0, lt=len(limits.LIFETIMES))]
    handed: wire.Unsigned


Record: TypeAlias = Owner | Settings | Person | Said


class Made(NamedTuple):
    """What went into a backup. newest: the newest generation of reset keys of the vault."""

    contacts: int
    messages: int
    size: int
    newest: int


class Restored(NamedTuple):
    """What came out of a backup. settings: whether its config.toml was put in place."""

    own: Own
    contacts: int
    messages: int
    made: int
    settings: bool


# Taking one --------------------------------------------------------------------------------------


def create(
    home: Home, key: bytes, path: Path, phrase: str, *, history: bool, cost: Cost = MODERATE
) -> Made:
    """Write a backup of a home, with the daemon running or not. key: the vault's, 32 bytes.

    Raises InvalidInput (something is at path), StoreError and its kinds, Denied.
    """
    with closing(Vault.open(home.vault, key, read_only=True)) as vault:
        newest = vault.resets.newest()
        count = [0, 0]
        settings = _settings(home)
        pieces = map(_readable, _counted(records(vault, settings, history), count))
        size = sealed_file.write(path, phrase, pieces, cost=cost)
    return Made(count[0], count[1], size, newest)


def _readable(record: Record) -> bytes:
    """Return a record's bytes, which `restore` can read: that is to fail now, not when all that is
    left is the backup."""
    raw = wire.encode(record)
    try:
        _decoded_untrusted(raw)
    except StoreCorrupt as error:
        kind = type(record).__name__.lower()
        raise StoreCorrupt(
            "no backup was made: it could not be restored", why=f"{kind}: {error.why}"
        ) from None
    return raw


def _settings(home: Home) -> str:
    try:
        return home.config.read_text("utf-8") if home.config.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{home.config} cannot be read", why=str(error)) from None


async def serve(home: Home, request: schema.CreateBackup, ask: Ask) -> schema.BackupMade:
    """Make a backup for a client of the local API, who must know the vault's secret.

    ask: runs a turn. Raises WrongPassphrase, VaultLocked, and what `create` raises.
    """
    place = Path(request.place)
    key_file = Path(request.key_file) if request.key_file else None
    if not place.is_absolute() or (key_file is not None and not key_file.is_absolute()):
        raise InvalidInput("paths must be absolute")
    phrase = sealed_file.new_phrase()

    def work() -> Made:
        passphrase = request.passphrase.encode() or None
        key = keys.unlock(home.vault_key, passphrase=passphrase, key_file=key_file)
        return create(home, key, place, phrase, history=request.history)

    try:
        made = await trio.to_thread.run_sync(work)
    except WrongPassphrase:
        await trio.sleep(WRONG_PAUSE)
        raise
    with suppress(StoreFull):  # it is made; without room nobody can note when
        await ask(asks.BackedUp(made.newest))
    return shown(made, place, phrase)


def shown(made: Made, place: Path, phrase: str) -> schema.BackupMade:
    """Return what a person is told of a backup."""
    return schema.BackupMade(
        place=str(place),
        phrase=phrase,
        contacts=made.contacts,
        messages=made.messages,
        bytes=made.size,
    )


def _counted(found: Iterator[Record], count: list[int]) -> Iterator[Record]:
    for one in found:
        count[0] += isinstance(one, Person)
        count[1] += isinstance(one, Said)
        yield one


def records(vault: Vault, settings: str, history: bool) -> Iterator[Record]:
    """Yield what a backup of a vault holds."""
    own = vault.identity.load()
    if own is None:
        raise StoreCorrupt("the vault holds no identity")
    yield Owner(version=1, seed=own.account.seed, name=own.name, made=wall_time())
    if settings:
        yield Settings(settings)
    contacts = vault.contacts.all()
    for contact in contacts:
        person = _person(vault, contact)
        if person is not None:
            yield person
            if history:
                yield from _said(vault, contact)


def _person(vault: Vault, contact: ContactRow) -> Person | None:
    """Return a contact; None for one that is not paired yet."""
    devices = vault.devices.of_contact(contact.id)
    known = [row for row in reversed(vault.resets.of_contact(contact.id)) if row.known]
    if contact.state == "pending" or not devices or not known:
        return None
    place = {row.ref: n for n, row in enumerate(known, 1)}
    rule = vault.conversations.get(contact.id)
    told = [
        (name, found) for device, name, found in vault.addresses.all() if device == devices[0].id
    ]
    return Person(
        account=contact.account,
        name=contact.name,
        hint=contact.hint,
        state=contact.state,
        verified=contact.verified,
        doubt=contact.doubt,
        created=contact.created,
        clock=max(contact.clock, rule.top, vault.messages.top_clock(contact.id)),
        retention=rule.retention,
        span=rule.span,
        least=rule.least,
        certificate=devices[0].certificate,
        generations=tuple(
            Generation(
                secret=row.keys.secret,
                own_dh=row.keys.own_dh_private,
                own_kem=row.keys.own_kem_seed,
                their_dh=row.keys.their_dh_public,
                their_kem=row.keys.their_kem_public,
                alice=row.alice,
                own=row.own,
                theirs=row.theirs,
                transcript=row.transcript,
                parent=place.get(row.parent, 0),
            )
            for row in known
        ),
        addresses=tuple((name, tuple(found)) for name, found in told[-limits.MAX_TRANSPORTS :]),
    )


def _said(vault: Vault, contact: ContactRow) -> Iterator[Said]:
    """Yield the messages, but not those that both agreed shall go, or whose author asked."""
    before: int | None = None
    while page := vault.messages.history(contact.id, PAGE, before):
        before = page[0].ref
        for row in reversed(page):
            if row.span or row.redacted is not None:
                continue
            yield Said(
                account=contact.account,
                id=row.id,
                mine=row.mine,
                text=row.text,
                heads=row.heads,
                clock=row.clock,
                at=row.at,
                arrived=row.arrived,
                state=row.state,
                lifetime=row.lifetime,
                handed=row.handed,
            )


# Making a home of one ----------------------------------------------------------------------------


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
        decoded = (_decoded_untrusted(piece) for piece in pieces)
        done = filled(stores, decoded, texts, Moment(0, wall_time()), OsEntropy())
        settings = bool(texts) and not home.config.exists()
        if settings:  # before the home is one, so that a crash cannot leave it without them
            home.config.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(home.config, texts[0].encode())
        found.append(done._replace(settings=settings))
        return done.own

    make_home(home, fill, passphrase=passphrase, key_file=key_file, cost=cost)
    return found[0]


def _decoded_untrusted(raw: bytes) -> Record:
    try:
        record: Record = wire.decode_untrusted(raw, Record, limit=sealed_file.MAX_PIECE)  # type: ignore[arg-type]
    except RemoteError as error:
        raise StoreCorrupt("the backup cannot be read", why=error.reason) from None
    return record


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
