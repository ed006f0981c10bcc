"""Opening, transactions, plans, export and erase of the vault."""

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import trio

from p2pnode.errors import (
    LocalError,
    RemoteError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreTooNew,
)
from p2pnode.protocol.identity import Own, new_account, new_device
from p2pnode.store import database
from p2pnode.store.database import Database, Schema, set_aside, store_error
from p2pnode.store.vault import SCHEMA, Vault
from tests.entropy import SeededEntropy
from tests.fault_vfs import fault_disk
from tests.store_rows import Rows

KEY = bytes(range(32))


def names(vault: Vault) -> list[str]:
    return [row.name for row in vault.contacts.all()]


# Opening ---------------------------------------------------------------------------------------


def test_store_file_is_private_and_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    vault = Vault.create(path, KEY)
    with vault.transaction():
        vault.contacts.add(Rows().contact("Ada"))
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    vault.close()
    vault.close()
    vault = Vault.open(path, KEY)
    assert names(vault) == ["Ada"]
    vault.close()
    assert [file.name for file in tmp_path.iterdir()] == ["vault.db"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cipher", "chacha20"),
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("secure_delete", 1),
        ("temp_store", 2),
        ("mmap_size", 0),
        ("cache_size", -database.CACHE_KIB),
        ("wal_autocheckpoint", database.CHECKPOINT_PAGES),
        ("journal_size_limit", database.LOG_LIMIT),
    ],
)
def test_store_pragmas_are_what_was_asked_for(tmp_path: Path, name: str, value: object) -> None:
    vault = Vault.create(tmp_path / "vault.db", KEY)
    assert vault.database.value(f"PRAGMA {name}") == value
    vault.close()


def test_store_create_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    Vault.create(path, KEY).close()
    before = path.read_bytes()
    with pytest.raises(StoreError):
        Vault.create(path, bytes(32))
    assert path.read_bytes() == before


def test_store_absent_file_is_not_made_by_opening(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Vault.open(tmp_path / "vault.db", KEY)
    assert list(tmp_path.iterdir()) == []


def test_store_wrong_key_is_told_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    Vault.create(path, KEY).close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt):
        Vault.open(path, bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        Vault.open(path, b"short")
    assert path.read_bytes() == before


def test_store_needs_a_sqlite_that_encrypts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vault.db"
    monkeypatch.delattr(apsw, "mc_version")
    with pytest.raises(StoreError, match="cannot encrypt"):
        Vault.create(path, KEY)
    assert list(tmp_path.iterdir()) == []


def test_store_pragma_that_does_not_hold_stops_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOG_LIMIT", -5)
    with pytest.raises(StoreError, match="journal_size_limit"):
        Vault.create(tmp_path / "vault.db", KEY)


def test_store_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    newer = Schema(SCHEMA.name, SCHEMA.application, (*SCHEMA.steps, "CREATE TABLE more (a)"))
    Database.create(path, newer, KEY).close()
    with pytest.raises(StoreTooNew):
        Vault.open(path, KEY)
    Database.open(path, newer, KEY).close()


def test_store_migration_is_done_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    Vault.create(path, KEY).close()
    broken = Schema(
        SCHEMA.name,
        SCHEMA.application,
        (*SCHEMA.steps, "CREATE TABLE more (a); CREATE TABLE meta (a)"),
    )
    with pytest.raises(StoreError):
        Database.open(path, broken, KEY)
    step = "CREATE TABLE more (a); INSERT INTO more VALUES (1)"
    better = Schema(SCHEMA.name, SCHEMA.application, (*SCHEMA.steps, step))
    with pytest.raises(StoreError):
        Database.open(path, better, KEY, read_only=True)
    for _ in range(2):
        found = Database.open(path, better, KEY)
        assert found.rows("SELECT a FROM more") == [(1,)]
        found.close()


def test_store_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    Database.create(path, Schema("other", 7, SCHEMA.steps), KEY).close()
    with pytest.raises(StoreCorrupt, match="another kind"):
        Vault.open(path, KEY)


def test_store_reader_sees_commits_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    writer = Vault.create(path, KEY)
    reader = Vault.open(path, KEY, read_only=True)
    rows = Rows()
    with writer.transaction():
        writer.contacts.add(rows.contact("Ada"))
        assert names(reader) == []
    assert names(reader) == ["Ada"]
    with pytest.raises(StoreError), reader.transaction():
        reader.contacts.add(rows.contact("Bob"))
    reader.close()
    writer.close()


def test_store_opening_reads_little_of_a_large_vault(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    rows = Rows()
    vault = Vault.create(path, KEY)
    with vault.transaction():
        contact = rows.contact("Ada")
        vault.contacts.add(contact)
        for clock in range(20_000):
            vault.messages.add(rows.message(contact.id, clock=clock, text="hello " * 10))
    vault.close()
    assert path.stat().st_size > 4_000_000
    disk = fault_disk("p2pnode-counting")
    disk.read = 0
    vault = Vault(Database.open(path, SCHEMA, KEY, vfs=f"multipleciphers-{disk.name}"))
    assert disk.read < 100_000
    assert len(vault.messages.history(contact.id, 50)) == 50
    assert vault.messages.top_clock(contact.id) == 19_999
    assert disk.read < 600_000
    vault.close()


async def test_store_may_be_used_by_one_thread_after_another(tmp_path: Path) -> None:
    vault, rows = Vault.create(tmp_path / "vault.db", KEY), Rows()
    threads = set()

    def write(name: str) -> None:
        threads.add(threading.get_ident())
        with vault.transaction():
            vault.contacts.add(rows.contact(name))

    gate = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(
                lambda name: trio.to_thread.run_sync(write, name, limiter=gate), f"contact {number}"
            )
    write("here")
    assert len(threads) > 1
    assert len(names(vault)) == 21
    vault.close()


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (apsw.FullError("x"), StoreFull),
        (apsw.CorruptError("x"), StoreCorrupt),
        (apsw.NotADBError("x"), StoreCorrupt),
        (apsw.BusyError("x"), StoreError),
        (apsw.IOError("x"), StoreError),
    ],
)
def test_store_errors_are_ours(error: apsw.Error, ours: type[StoreError]) -> None:
    assert type(store_error(error, "vault")) is ours


def test_no_room_for_the_index_of_the_log_is_a_full_disk() -> None:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE
    assert type(store_error(error, "vault")) is StoreFull


def test_store_statements_of_a_closed_file_raise_our_error() -> None:
    vault = Vault.memory()
    vault.close()
    for ask in (vault.events.last, vault.contacts.all, vault.outbox.counts):
        with pytest.raises(StoreError):
            ask()
    with pytest.raises(StoreError), vault.transaction():
        pass


# Transactions ----------------------------------------------------------------------------------


def test_store_savepoint_undoes_one_turn_alone() -> None:
    vault, rows = Vault.memory(), Rows()
    with vault.transaction():
        with vault.savepoint():
            vault.contacts.add(rows.contact("Ada"))
        for error in (RemoteError("bad"), LocalError("no"), KeyError("bug")):
            with pytest.raises(type(error)), vault.savepoint():
                vault.contacts.add(rows.contact("Bob"))
                raise error
        with vault.savepoint():
            vault.contacts.add(rows.contact("Cy"))
    assert names(vault) == ["Ada", "Cy"]


def test_store_error_fails_the_whole_batch_even_when_caught() -> None:
    vault, rows = Vault.memory(), Rows()
    with pytest.raises(StoreError), vault.transaction():
        with vault.savepoint():
            vault.contacts.add(rows.contact("Ada"))
        with pytest.raises(StoreError), vault.savepoint():
            vault.contacts.add(rows.contact("ada"))
        with pytest.raises(StoreError), vault.savepoint():
            vault.contacts.add(rows.contact("Bob"))
    assert names(vault) == []
    with vault.transaction():
        vault.contacts.add(rows.contact("Cy"))
    assert names(vault) == ["Cy"]


def test_store_exception_leaves_no_trace_and_a_usable_store() -> None:
    vault, rows = Vault.memory(), Rows()
    with pytest.raises(KeyError), vault.transaction():
        vault.contacts.add(rows.contact("Ada"))
        raise KeyError
    with vault.transaction():
        vault.contacts.add(rows.contact("Bob"))
    assert names(vault) == ["Bob"]


def test_store_refuses_writes_outside_and_transactions_inside() -> None:
    vault = Vault.memory()
    with pytest.raises(StoreError, match="outside"):
        vault.meta.put("a", b"1")
    with pytest.raises(StoreError, match="outside"):
        vault.tags.add(1, [], 1)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="already"), vault.transaction(), vault.transaction():
        pass
    with vault.transaction():
        vault.meta.put("a", b"1")
    assert vault.meta.get("a") == b"1"


def test_store_log_stays_bounded(tmp_path: Path) -> None:
    vault, rows = Vault.create(tmp_path / "vault.db", KEY), Rows()
    raw = rows.take(4096)
    for _ in range(30):
        with vault.transaction():
            for _ in range(64):
                vault.outbox.add(rows.outbox(raw=raw))
    log = (tmp_path / "vault.db-wal").stat().st_size
    assert log < database.LOG_LIMIT
    assert vault.database.check() == []
    vault.close()


# Plans -----------------------------------------------------------------------------------------

ALLOWED_SCANS = ("CONSTANT ROW", "sqlite_sequence")


def test_store_hot_statements_use_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    vault, rows = Vault.memory(), Rows()
    with vault.transaction():
        contact, device, session = rows.fill(vault, "Ada")
        pairing = rows.pairing()
        vault.pairings.add(pairing)
    seen: list[tuple[str, tuple[object, ...]]] = []

    def watched(name: str) -> None:
        real = getattr(Database, name)

        def call(self: Database, sql: str, bindings: object = ()) -> object:
            given = list(bindings)  # type: ignore[call-overload]
            many = name == "run_many"
            seen.append((sql, given[0] if many else tuple(given)))
            return real(self, sql, given)

        monkeypatch.setattr(Database, name, call)

    for name in ("rows", "row", "value", "run", "run_many"):
        watched(name)
    id_ = rows.take(16)
    with vault.transaction():
        vault.contacts.get(contact.id)
        vault.contacts.by_name("ada")
        vault.contacts.by_account(contact.account)
        vault.contacts.expiring(5)
        vault.devices.get(device.id)
        vault.devices.of_contact(contact.id)
        vault.devices.set_seen(device.id, 1)
        vault.meetings.add(contact.id, "lan", 3, 1)
        vault.devices.set_link(device.id, device.link)
        vault.sessions.save(session, vault.sessions.load(session))
        vault.sessions.device(session)
        vault.tags.find(id_)
        vault.tags.add(session, [rows.tag(5)], 1)
        vault.tags.remove(id_)
        vault.tags.forget(session, 1, 90)
        vault.tags.prune(session, 10)
        vault.tags.expire(1)
        vault.tags.count(session)
        ref = vault.messages.add(rows.message(contact.id, heads=(id_, rows.take(16))))
        vault.messages.get(ref)
        vault.messages.by_id(contact.id, id_, True)  # type: ignore[arg-type]
        vault.messages.find("abcd")
        vault.messages.history(contact.id, 10)
        vault.messages.history(contact.id, 10, ref)
        vault.messages.set_state(ref, "handed")
        vault.messages.set_handed(ref, 1)
        vault.messages.heads(contact.id)
        vault.messages.top_clock(contact.id)
        vault.messages.missing(contact.id, [id_])
        envelope = rows.outbox(device=device.id)
        vault.outbox.add(envelope)
        vault.outbox.get(envelope.envelope)
        vault.outbox.for_device(device.id, 0, 10)
        vault.outbox.for_pairing(pairing.id)
        vault.outbox.accept(envelope.envelope)
        vault.outbox.remove(envelope.envelope)
        vault.opened.has(envelope.envelope)
        vault.opened.add(envelope.envelope, device.id, 1)
        vault.traces.add(ref, 1, "x", "")
        vault.traces.of(ref)
        vault.events.add("message.state", 1, ref, contact.id)
        vault.events.after(0, 10)
        vault.events.acked("bot")
        vault.events.ack("bot", 1)
        vault.events.prune(10)
        vault.pairings.tag_find(id_)
        vault.lanes.for_contact(contact.id)
        vault.addresses.get(device.id, "lan")
        vault.private.load("tor", "x")
    hot = [ask for ask in seen if not ask[0].startswith(("SAVEPOINT", "RELEASE"))]
    monkeypatch.undo()
    assert len(hot) > 50
    for sql, bindings in hot:
        plan = vault.database.explain(sql, bindings)
        for line in plan.splitlines():
            scan = line.startswith("SCAN") and not any(word in line for word in ALLOWED_SCANS)
            assert not scan, f"{sql}\n{plan}"
            assert "TEMP B-TREE" not in line, f"{sql}\n{plan}"


def test_store_removal_never_scans_a_table() -> None:
    """Each foreign key has an index on its child side, or removing a contact takes minutes."""
    vault = Vault.memory()
    tables = [
        row[0] for row in vault.database.rows("SELECT name FROM sqlite_schema WHERE type='table'")
    ]
    keys = 0
    for table in tables:
        for row in vault.database.rows(f"PRAGMA foreign_key_list({table})"):
            keys += 1
            plan = vault.database.explain(f"SELECT 1 FROM {table} WHERE {row[3]}=?", (b"",))
            assert plan.startswith("SEARCH"), f"{table}.{row[3]}: {plan}"
    assert keys > 10


# Personal data ---------------------------------------------------------------------------------


def everything(vault: Vault) -> str:
    tables = vault.database.rows("SELECT name FROM sqlite_schema WHERE type='table'")
    return repr([vault.database.rows(f"SELECT * FROM {name}") for (name,) in tables])


def test_store_every_table_has_exactly_one_owner() -> None:
    vault = Vault.memory()
    found = {
        row[0]
        for row in vault.database.rows(
            "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%'"
        )
    }
    owned = [table for owner in vault.owners for table in owner.TABLES]
    assert sorted(owned) == sorted(found)
    assert set(vault.owners) == {value for name, value in vars(vault).items() if name != "database"}


@pytest.mark.parametrize("way", ["erase", "owners"])
def test_store_erasing_a_contact_leaves_nothing_of_it(way: str) -> None:
    vault, rows = Vault.memory(), Rows()
    with vault.transaction():
        rows.fill(vault, "Ada")
    only_ada = everything(vault)
    with vault.transaction():
        bob, device, session = rows.fill(vault, "Bob")
    assert everything(vault) != only_ada
    with vault.transaction():
        if way == "erase":
            vault.erase(bob.id)
        else:  # in any order, each owner answers for its own tables
            for owner in vault.owners:
                owner.erase(bob.id)
                assert all(not rows_ for rows_ in owner.export(bob.id).values())
    left = everything(vault)
    for mark in (bob.id, bob.account, device.id, "Bob"):
        assert repr(mark) not in left
    assert vault.tags.count(session) == 0
    # Only the counters that keep row numbers from coming back remember that there was somebody.
    assert len(left) == pytest.approx(len(only_ada), abs=8)


def test_store_erasing_everything_leaves_nothing() -> None:
    vault, rows = Vault.memory(), Rows()
    entropy = SeededEntropy(1)
    account = new_account(entropy)
    with vault.transaction():
        rows.fill(vault, "Ada")
        vault.identity.save(Own(account, new_device(account, entropy), "Me"))
        vault.meta.put("slots", b"1")
        vault.private.save("tor", "onion", b"1")
        vault.pairings.add(rows.pairing())
        vault.events.ack("bot", 1)
    with vault.transaction():
        vault.erase()
    for owner in vault.owners:
        for table in owner.TABLES:
            assert vault.database.value(f"SELECT count(*) FROM {table}") == 0


def test_store_export_is_complete_but_keeps_secrets() -> None:
    vault, rows = Vault.memory(), Rows()
    with vault.transaction():
        ada, device, session = rows.fill(vault, "Ada")
        bob, _, _ = rows.fill(vault, "Bob")
        vault.meta.put("slots", b"secret")
        vault.private.save("tor", "onion", b"secret")
        vault.pairings.add(rows.pairing())
    whole, about_ada = vault.export(), vault.export(ada.id)
    for found, count in ((whole, 2), (about_ada, 1)):
        for table in (
            "contacts",
            "devices",
            "addresses",
            "sessions",
            "messages",
            "traces",
            "lanes",
            "conversations",
            "erasures",
        ):
            assert len(found[table]) == count, table
        assert len(found["private"]) == count + (found is whole)
        assert len(found["outbox"]) == 2 * count
    assert whole["messages"][0]["text"] == "hello"
    assert whole["pairings"][0]["petname"] == "Mia"
    assert about_ada["pairings"] == about_ada["meta"] == []
    assert bob.name not in repr(about_ada)
    state = vault.sessions.load(session)
    for secret in (b"secret", device.link.current, device.reset, state.root, state.kem_seed):
        assert repr(secret) not in repr(whole)
        assert secret.hex() not in repr(whole)


# Damage ----------------------------------------------------------------------------------------


def test_store_set_aside_moves_the_file_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"vault.db{suffix}").write_bytes(b"old")
    first = set_aside(path)
    path.write_bytes(b"new")
    second = set_aside(path)
    assert first.name == "vault.db.damaged-1"
    assert second.read_bytes() == b"new"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "vault.db.damaged-1",
        "vault.db.damaged-1-shm",
        "vault.db.damaged-1-wal",
        "vault.db.damaged-2",
    ]


def test_store_is_no_plain_database(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    Vault.create(path, KEY).close()
    with closing(sqlite3.connect(path)) as plain, pytest.raises(sqlite3.DatabaseError):
        plain.execute("SELECT * FROM meta")
