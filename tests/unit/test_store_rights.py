"""Every table is owned, exported or left out with a reason, erasable; old vaults come along."""

from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from p2pnode.engine.transports import HostFor, Running
from p2pnode.errors import InvalidInput
from p2pnode.ids import ContactId, EnvelopeId, SessionRef
from p2pnode.spi.transport import Courier, Transport
from p2pnode.store import custody as custody_module
from p2pnode.store import vault as vault_module
from p2pnode.store.custody import Custody
from p2pnode.store.database import Database, Schema
from p2pnode.store.migrations import vault_0001
from p2pnode.store.vault import SCHEMA, Vault
from p2pnode.turns.moment import Moment
from p2pnode.turns.start import catch_up
from p2pnode.turns.stores import Stores
from tests.correspondents import DAY, WALL, decrypted
from tests.store_rows import Rows

KEY = bytes(range(32))


def columns(database: Database) -> dict[str, set[str]]:
    tables = database.rows(
        "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%'"
    )
    return {
        name: {row[1] for row in database.rows(f"PRAGMA table_info({name})")} - {"ref"}
        for (name,) in tables
    }


def full() -> Vault:
    """Return a vault with something in every table and column."""
    from p2pnode.protocol.identity import Own, new_account, new_device
    from tests.entropy import SeededEntropy

    vault, rows, entropy = Vault.memory(), Rows(), SeededEntropy(1)
    account = new_account(entropy)
    with vault.transaction():
        _, device, _ = rows.fill(vault, "Ada")
        vault.identity.save(Own(account, new_device(account, entropy), "Me"))
        vault.meta.put("slots", b"1")
        pairing = rows.pairing()
        vault.pairings.add(pairing)
        vault.pairings.tag_add(pairing.id, bytes(16))
        vault.events.ack("bot", 1)
        [(_, first), *_] = vault.outbox.page(0, 1, None)
        vault.outbox.carried(first.envelope, device.id)
        vault.owed.add(first.envelope, device.id, 5)
        vault.tokens.add(first.envelope, device.id, bytes(16), 5)
    return vault


def test_rights_cover_every_table_and_column_of_the_vault() -> None:
    vault = full()
    owned: dict[str, type] = {}
    for owner in vault.owners:
        shown: dict[str, set[str]] = {table: set() for table in owner.TABLES}
        for table, row in owner.exported(None):
            shown[table] |= set(row)
        assert {table: [*rows] for table, rows in owner.export(None).items() if rows} == {
            table: [row for name, row in owner.exported(None) if name == table]
            for table in shown
            if shown[table]
        }
        for table in owner.TABLES:
            assert table not in owned, table
            owned[table] = type(owner)
            known = columns(vault.database)[table]
            assert vault.database.value(f"SELECT count(*) FROM {table}"), f"{table} is not filled"
            if table in owner.LEFT_OUT:
                assert not shown[table], f"{table} is left out, and is there"
                continue
            left_out = {column for column in known if f"{table}.{column}" in owner.LEFT_OUT}
            assert not left_out & shown[table], table
            assert known - shown[table] - left_out == set(), f"{table}: neither out nor in"
        for name in owner.LEFT_OUT:
            table, _, column = name.partition(".")
            assert table in owner.TABLES, name
            assert not column or column in columns(vault.database)[table], name
    assert set(owned) == set(columns(vault.database))
    with vault.transaction():
        vault.erase()
    for table in owned:
        assert not vault.database.value(f"SELECT count(*) FROM {table}"), table


def test_rights_cover_every_table_of_custody(tmp_path: Path) -> None:
    custody = Custody.create(tmp_path / "custody.db")
    assert set(Custody.TABLES) == set(columns(custody.database))
    assert set(Custody.LEFT_OUT) == set(Custody.TABLES)
    with custody.transaction():
        custody.put(EnvelopeId(bytes(32)), b"t" * 16, b"raw", 0, 0, b"slot", 5)
    assert custody.export() == {"carried": [{"envelopes": 1, "bytes": 3}]}
    with custody.transaction():
        custody.erase()
    assert custody.export() == {"carried": [{"envelopes": 0, "bytes": 0}]}
    assert custody.database.value("SELECT count(*) FROM sources") == 0
    custody.close()


def test_every_owner_of_every_store_is_on_the_list() -> None:
    """A table of a migration to come, of whichever store, fails here until somebody owns it."""
    migrations = sorted(Path(vault_0001.__file__).parent.glob("*_0*.py"))
    steps = {"vault": vault_module.SCHEMA.steps, "custody": custody_module.SCHEMA.steps}
    for store, known in steps.items():
        there = [path for path in migrations if path.stem.startswith(store)]
        assert len(there) == len(known), f"a migration of the {store} is not in its schema"
    owned = {table for owner in Vault.memory().owners for table in owner.TABLES}
    assert owned == set(columns(Database.memory(vault_module.SCHEMA)))
    assert set(Custody.TABLES) == set(columns(Database.memory(custody_module.SCHEMA)))


# Transports ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", entry_points(group="p2pnode.transports"), ids=lambda one: one.name
)
def test_transports_tell_what_they_keep(point) -> None:
    kind = point.load()
    assert issubclass(kind, Transport | Courier)
    for name, what in kind.private.items():
        assert name
        assert what


async def test_a_transport_keeps_nothing_under_a_name_it_does_not_declare() -> None:
    saved = []

    class Owner:
        async def ask(self, ask):
            saved.append(ask.name)

    transport = SimpleNamespace(name="x", private={"lane-": "keys", "shared": "a key"})
    host = HostFor(Running(transport), None, Owner(), None, None, None)  # type: ignore[arg-type]
    await host.save("lane-00ff", b"1")
    await host.save("shared", b"1")
    for name in ("shared-too", "lanes", "other", ""):
        with pytest.raises(InvalidInput):
            await host.save(name, b"1")
    assert saved == ["lane-00ff", "shared"]


def test_what_belongs_to_a_lane_goes_with_its_contact_though_no_transport_runs() -> None:
    vault, rows = Vault.memory(), Rows()
    with vault.transaction():
        ada, _, _ = rows.fill(vault, "Ada")
        rows.fill(vault, "Bo")
        vault.private.save("tor", "shared", b"1")
    [about] = vault.private.export(ada.id)["private"]
    with vault.transaction():
        vault.erase(ada.id)
    left = [row["name"] for row in vault.private.export(None)["private"]]
    assert about["name"] not in left
    assert len(left) == 2


# Migration -------------------------------------------------------------------------------------


def test_a_vault_of_the_first_schema_comes_along_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    first = Schema(SCHEMA.name, SCHEMA.application, (vault_0001.SQL,), page=SCHEMA.page)
    old, rows = Database.create(path, first, KEY), Rows()
    contact, device, sealed = rows.contact("Ada"), rows.device(ContactId(b"")), rows.take(32)
    with old.transaction():
        old.run(
            "INSERT INTO contacts (id, account, name, hint, state, verified, created, confirm,"
            " alice, fold) VALUES (?,?,'Ada','A','active','words',1,x'',1,'ada')",
            (contact.id, contact.account),
        )
        old.run(
            "INSERT INTO devices (id, contact, stated_sent, stated_received, link, certificate,"
            " reset, pass) VALUES (?,?,0,0,x'',x'',x'',x'')",
            (device.id, contact.id),
        )
        for ref, mine, arrived in ((1, 1, WALL - 10 * DAY), (2, 0, WALL - DAY), (3, 0, 5)):
            old.run(
                "INSERT INTO messages (ref, id, contact, mine, head, clock, at, arrived, state,"
                " lifetime, handed, heads, text) VALUES (?,?,?,?,0,?,7,?,'queued',3,0,x'',?)",
                (ref, rows.take(16), contact.id, mine, ref, arrived, f"text {ref}"),
            )
        old.run("INSERT INTO traces VALUES (1, 1, 7, 'saved', '')")
        old.run(
            "INSERT INTO outbox (envelope, message, device, lifetime, age, born, dies, token,"
            " accepted, raw) VALUES (?,1,?,3,0,0,9,x'',0,x'00')",
            (sealed, device.id),
        )
        old.run(
            "INSERT INTO opened (envelope, device, expires) VALUES (?,?,5)",
            (rows.take(32), device.id),
        )
    old.close()
    vault = Vault.open(path, KEY)
    assert vault.database.value("PRAGMA user_version") == len(SCHEMA.steps)
    assert vault.database.check() == []
    found = vault.messages.history(contact.id, 10)
    assert [(row.text, row.mine) for row in found] == [
        ("text 1", True), ("text 2", False), ("text 3", False)
    ]  # fmt: skip
    assert [row.envelopes for row in found] == [(sealed,), (), ()]
    assert {(row.span, row.since, row.due, row.redacted) for row in found} == {
        (0, None, None, None)
    }
    assert vault.traces.of(1) == [(7, "saved", "")]
    # Once the time is known, they are dated, and a retention counts for them: one goes that came
    # ten days ago; when the third came nobody can tell, so its time begins now.
    custody = Custody.create(tmp_path / "custody.db")
    stores = Stores(vault, custody, None, retention=5 * DAY)  # type: ignore[arg-type]
    catch_up(stores, Moment(100, WALL), None)  # type: ignore[arg-type]
    found = vault.messages.history(contact.id, 10)
    assert [(row.text, row.since) for row in found] == [("text 2", 100 - DAY), ("text 3", 100)]
    assert vault.outbox.get(EnvelopeId(sealed)) is None
    vault.close()
    custody.close()


# What was deleted ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 15, 16])
def test_scrubbing_leaves_nothing_of_deleted_rows_where_they_moved(tmp_path: Path, seed) -> None:
    """Overwriting deleted rows alone leaves copies of those that had moved: 15 and 16 show it."""
    random, rows = Random(seed), Rows(seed)
    vault = Vault.create(tmp_path / "vault.db", KEY)
    held: dict[int, bytes] = {}
    with vault.transaction():
        ada = rows.contact("Ada")
        vault.contacts.add(ada)
    for _ in range(30):
        with vault.transaction():
            for _ in range(random.randrange(1, 20)):
                mark = b"canary-%s" % random.randbytes(6).hex().encode()
                text = mark.decode() + "y" * random.choice([0, 3, 40, 300, 3000])
                held[vault.messages.add(rows.message(ada.id, text=text, clock=len(held)))] = mark
        with vault.transaction():
            for ref in random.sample(sorted(held), min(len(held), random.randrange(15))):
                vault.messages.remove(ref)
                del held[ref]
    reader = Vault.open(tmp_path / "vault.db", KEY, read_only=True)
    with reader.database.snapshot():
        reader.contacts.all()
        assert not vault.database.scrub(rewrite=True)  # a long read is not waited for
    assert vault.database.scrub(rewrite=True)
    assert (tmp_path / "vault.db-wal").stat().st_size == 0
    plain = decrypted(vault)
    assert {plain[at : at + 19] for at in places(plain, b"canary-")} == set(held.values())
    assert reader.contacts.by_name("ada") == ada
    reader.close()
    vault.close()


def places(raw: bytes, mark: bytes) -> list[int]:
    found, at = [], raw.find(mark)
    while at >= 0:
        found.append(at)
        at = raw.find(mark, at + 1)
    return found


def test_rows_of_ids_stay_unused_through_scrubbing() -> None:
    vault, rows = Vault.memory(), Rows()
    with vault.transaction():
        _, device, ref = rows.fill(vault, "Ada")
        vault.sessions.remove(ref)
    vault.database.scrub(rewrite=True)
    with vault.transaction():
        assert vault.sessions.add(device.id, rows.session()) > SessionRef(ref)
