"""A home whose disk has lost pages is made whole, as far as what is left can be read."""

import shutil
from contextlib import closing, suppress
from pathlib import Path

import pytest

from p2pnode import repair
from p2pnode.config import Home
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import StoreCorrupt, StoreError
from p2pnode.store.database import Database
from p2pnode.store.salvage import TABLES, salvage
from p2pnode.store.vault import SCHEMA, Vault
from p2pnode.turns import carry
from tests.correspondents import DAY, KEY, WALL, Correspondent, befriend, exchange
from tests.cuts import Cut, cut_before
from tests.fault_vfs import fault_disk

PAGE = 2_048
CALLS = ("mkdir", "rename", "replace", "fsync", "rmdir")


def correspondent(name: str, folder: Path | None = None) -> Correspondent:
    """Return one with the real ML-KEM, which a new vault uses."""
    made = Correspondent(name, folder)
    made.entropy = OsEntropy()
    return made


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores of ana, who has written with two people; closed."""
    folder = tmp_path_factory.mktemp("before")
    ana, bo, cleo = correspondent("ana", folder), correspondent("bo"), correspondent("cleo")
    befriend(ana, bo)
    befriend(ana, cleo)
    for number in range(120):
        ana.write("bo", f"to bo {number} " * 20)
        ana.write("cleo", f"to cleo {number} " * 20)
    exchange(ana, bo)
    exchange(ana, cleo)
    for one in (ana, bo, cleo):
        one.close()
    return folder


@pytest.fixture
def home(before: Path, tmp_path: Path) -> Home:
    root = tmp_path / "home"
    shutil.copytree(before, root)
    return Home(root)


def spoil(path: Path, page: int) -> None:
    """Change a bit of one page."""
    raw = bytearray(path.read_bytes())
    raw[page * PAGE + 7] ^= 1
    path.write_bytes(raw)


def held(home: Home) -> tuple[bytes, dict[str, list[str]]]:
    """Return whose a vault is, and its texts by contact."""
    with closing(Vault.open(home.vault, KEY)) as vault:
        own = vault.identity.load()
        assert own is not None
        texts = {
            row.name: [one.text for one in vault.messages.history(row.id, 1_000)]
            for row in vault.contacts.all()
        }
        return own.account.public, texts


def test_sound_stores_are_found_sound(home):
    assert repair.look(home, KEY) == ("", "")


def test_a_custody_that_is_damaged_or_gone_is_begun_anew(home):
    identity, texts = held(home)
    with closing(Vault.open(home.vault, KEY)) as vault, vault.transaction():
        vault.meta.put(carry.EXAMINED, (77).to_bytes(8))
    spoil(home.custody, 0)
    found = repair.look(home, KEY)
    assert found.custody
    assert not found.vault
    repair.renew_custody(home, KEY)
    assert (home.root / "custody.db.damaged-1").exists()
    assert repair.look(home, KEY) == ("", "")
    home.custody.unlink()
    assert repair.look(home, KEY).custody
    repair.renew_custody(home, KEY)
    assert repair.look(home, KEY) == ("", "")
    assert held(home) == (identity, texts)
    with closing(Vault.open(home.vault, KEY)) as vault:
        assert carry.examined(vault) == 0


def saved_of(home: Home, before: Path, page: int) -> tuple[repair.Saved, dict[str, list[str]]]:
    """Spoil a page of the vault, repair it, and return what was told and what is there.

    Raises StoreCorrupt when nothing can be saved.
    """
    shutil.rmtree(home.root)
    shutil.copytree(before, home.root)
    spoil(home.vault, page)
    saved = repair.renew_vault(home, KEY)
    assert repair.look(home, KEY) == ("", "")
    assert not list(home.root.glob(".init-*"))
    return saved, held(home)[1]


def test_whichever_page_of_a_vault_is_lost_the_rest_is_saved(home, before):
    identity, texts = held(home)
    pages = home.vault.stat().st_size // PAGE
    whole, nothing = 0, []
    for page in range(0, pages, max(1, pages // 60)):
        try:
            saved, found = saved_of(home, before, page)
        except StoreCorrupt:
            nothing.append(page)
            assert home.vault.exists()  # as it was
            continue
        assert held(home)[0] == identity
        assert set(texts) - set(found) <= set(saved.lost) or "contacts" in saved.unread
        if saved.lost:
            assert {"devices", "resets"} & set(saved.unread)
        for name, said in found.items():
            assert said == [text for text in texts[name] if text in said]  # in their order
            assert said == texts[name] or "messages" in saved.unread
        assert saved.messages == sum(map(len, found.values()))
        whole += found == texts
    print(f"{pages} pages; tried every {max(1, pages // 60)}: all saved {whole}, nothing {nothing}")
    assert whole > len(nothing)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_first_page_of_a_table_takes_what_is_on_it_alone(home, before, table):
    """A small table's root is all of it, a large one's a way to all of it; indexes are neither."""
    _, texts = held(home)
    with closing(Vault.open(home.vault, KEY)) as vault:
        roots = vault.database.rows(
            "SELECT type, rootpage FROM sqlite_schema WHERE tbl_name=?", (table,)
        )
    for kind, root in roots:
        if kind == "index":
            _, found = saved_of(home, before, root - 1)
            assert found == texts
        elif table == "identity":
            with pytest.raises(StoreCorrupt, match="nothing can be saved"):
                saved_of(home, before, root - 1)
        else:
            saved, found = saved_of(home, before, root - 1)
            assert saved.unread == [table]
            keys = {"devices": sorted(texts), "resets": sorted(texts)}
            assert sorted(saved.lost) == keys.get(table, [])
            assert (found == texts) == (table in ("addresses", "conversations"))


def test_rows_around_a_bad_sector_are_read_though_the_disk_gives_errors(home):
    _, texts = held(home)
    count = sum(map(len, texts.values()))
    shortest = min(len(text) for said in texts.values() for text in said)
    disk = fault_disk("sectors")
    with closing(Vault.open(home.vault, KEY)) as vault:
        [[root]] = vault.database.rows("SELECT rootpage FROM sqlite_schema WHERE name='messages'")
    cost = []
    for page in range(root, home.vault.stat().st_size // PAGE, 7):
        old = Database.open(home.vault, SCHEMA, KEY, vfs=f"multipleciphers-{disk.name}")
        with closing(old), closing(Vault.memory()) as rows:
            disk.unreadable = {page * PAGE}
            try:
                salvage(Vault(old), rows)
            finally:
                disk.unreadable = set()
            found = [len(rows.messages.history(row.id, 1_000)) for row in rows.contacts.all()]
            cost.append(count - sum(found))
    assert any(cost)
    assert max(cost) <= PAGE // shortest  # no page holds more of them


def test_a_repair_that_is_cut_short_is_finished_by_the_next(home, before):
    identity, texts = held(home)
    last = home.vault.stat().st_size // PAGE - 2

    for number in range(100):
        shutil.rmtree(home.root)
        shutil.copytree(before, home.root)
        spoil(home.vault, last)
        spoil(home.custody, 0)
        done = False
        with suppress(Cut), cut_before(number, CALLS):
            repair.renew_vault(home, KEY)
            repair.renew_custody(home, KEY)
            done = True
        found = repair.look(home, KEY)
        if found.vault:
            repair.renew_vault(home, KEY)
        if found.custody:
            repair.renew_custody(home, KEY)
        assert repair.look(home, KEY) == ("", "")
        account, kept = held(home)
        assert account == identity
        assert set(kept) == set(texts)
        if done:
            break
    assert done
    assert number > 5


def test_without_a_vault_and_anything_set_aside_nothing_is_made_up(home):
    for path in home.root.glob("vault.db*"):
        path.unlink()
    with pytest.raises(StoreError):
        repair.renew_vault(home, KEY)
    assert not home.vault.exists()
    assert not list(home.root.glob(".init-*"))


def test_what_had_not_come_is_on_its_way_again_after_a_repair(tmp_path, monkeypatch):
    monkeypatch.setattr(repair, "wall_time", lambda: WALL + DAY)
    ana, bo = correspondent("ana", tmp_path), correspondent("bo")
    befriend(ana, bo)
    for number in range(3):
        ana.write("bo", f"waits {number}")
    for one in (ana, bo):
        one.close()
    home = Home(tmp_path)
    repair.renew_vault(home, KEY)
    with closing(Vault.open(home.vault, KEY)) as vault:
        [contact] = vault.contacts.all()
        waiting, _ = vault.outbox.to_contact(contact.id)
        assert waiting == len(vault.messages.history(contact.id, 9)) == 3
