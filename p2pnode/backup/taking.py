"""How a backup is taken from a vault."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import trio

from p2pnode import schema
from p2pnode.backup.contents import (
    Generation,
    Owner,
    Person,
    Record,
    Said,
    Settings,
    decoded_untrusted,
)
from p2pnode.config import Home, text_of
from p2pnode.engine.clock import wall_time
from p2pnode.errors import InvalidInput, StoreCorrupt, StoreFull, WrongPassphrase
from p2pnode.protocol import limits, wire
from p2pnode.store import keys, sealed_file
from p2pnode.store.keys import MODERATE, Cost
from p2pnode.store.records import ContactRow
from p2pnode.store.vault import Vault
from p2pnode.turns import asks

PAGE = 500
"""Messages read at once."""

WRONG_PAUSE = 2.0
"""Seconds a wrong passphrase costs beyond the work of trying it."""

Ask = Callable[[asks.Ask], Awaitable[Any]]


class Made(NamedTuple):
    """What went into a backup. newest: the newest generation of reset keys of the vault."""

    contacts: int
    messages: int
    size: int
    newest: int


def create(
    home: Home, key: bytes, path: Path, phrase: str, *, history: bool, cost: Cost = MODERATE
) -> Made:
    """Write a backup of a home, with the daemon running or not. key: the vault's, 32 bytes.

    Raises InvalidInput (something is at path), StoreError and its kinds, Denied, ConfigError.
    """
    with closing(Vault.open(home.vault, key, read_only=True)) as vault:
        newest = vault.resets.newest()
        count = [0, 0]
        settings = text_of(home.config)
        pieces = map(_readable, _counted(records(vault, settings, history), count))
        size = sealed_file.write(path, phrase, pieces, cost=cost)
    return Made(count[0], count[1], size, newest)


def _readable(record: Record) -> bytes:
    """Return a record's bytes, which `restore` can read: that is to fail now, not when all that is
    left is the backup."""
    raw = wire.encode(record)
    try:
        decoded_untrusted(raw)
    except StoreCorrupt as error:
        kind = type(record).__name__.lower()
        raise StoreCorrupt(
            "no backup was made: it could not be restored", why=f"{kind}: {error.why}"
        ) from None
    return raw


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


def records(
    vault: Vault, settings: str, history: bool, *, lost: list[str] | None = None
) -> Iterator[Record]:
    """Yield what a backup of a vault holds.

    lost: gets the names of paired contacts whose keys are damaged or missing, who are left out.
    Raises StoreCorrupt, with lost only when the identity does not read.
    """
    own = vault.identity.load()
    if own is None:
        raise StoreCorrupt("the vault holds no identity")
    yield Owner(version=1, seed=own.account.seed, name=own.name, made=wall_time())
    if settings:
        yield Settings(settings)
    for contact in vault.contacts.all():
        try:
            person = _person(vault, contact)
        except StoreCorrupt:
            if lost is None:
                raise
            person = None
        if person is not None:
            yield person
            if history:
                yield from _said(vault, contact)
        elif lost is not None and contact.state != "pending":
            lost.append(contact.name)


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
