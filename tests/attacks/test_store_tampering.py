"""Somebody has the disk: reads it, changes it, or puts other files in its place."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from p2pnode.errors import (
    StoreCorrupt,
    StoreError,
    StoreTooNew,
    VaultLocked,
    WrongPassphrase,
)
from p2pnode.store import keys
from p2pnode.store.custody import Custody
from p2pnode.store.keys import Cost
from p2pnode.store.vault import Vault
from tests.store_rows import Rows

CHEAP = Cost(1, 8 * 1024 * 1024)
KEY = bytes(range(32))
CANARY = "canary-of-a-name"


def test_store_no_byte_on_disk_tells_a_name_text_or_key(tmp_path: Path) -> None:
    rows = Rows()
    vault = Vault.create(tmp_path / "vault.db", KEY)
    with vault.transaction():
        contact, device, _ = rows.fill(vault, CANARY)
        vault.messages.add(rows.message(contact.id, clock=2, text=CANARY))
    for state in ("open", "closed"):
        if state == "closed":
            vault.close()
        files = list(tmp_path.iterdir())
        assert (len(files) == 3) == (state == "open")  # the log and its index are looked at too
        for file in files:
            raw = file.read_bytes()
            for secret in (CANARY.encode(), contact.account, device.link.current, KEY, b"SQLite"):
                assert secret not in raw, file.name


def test_store_deleted_rows_leave_the_file(tmp_path: Path) -> None:
    """Custody is in the clear, so there one can see that deleted bytes are overwritten."""
    path, rows = tmp_path / "custody.db", Rows()
    custody = Custody.create(path)
    raw, id_ = rows.take(4096), rows.take(32)
    with custody.transaction():
        custody.put(id_, rows.take(16), raw, 0, 0, b"s" * 8, 1)
    custody.close()
    assert raw[:400] in path.read_bytes()
    custody = Custody.open(path)
    with custody.transaction():
        custody.remove([id_])
    custody.close()
    found = path.read_bytes()
    for start in range(0, 4000, 400):
        assert raw[start : start + 100] not in found


def test_store_changed_vault_page_is_noticed(tmp_path: Path) -> None:
    path, rows, random = tmp_path / "vault.db", Rows(), Random(7)
    vault = Vault.create(path, KEY)
    with vault.transaction():
        contact = rows.contact("Ada")
        vault.contacts.add(contact)
        for clock in range(300):
            vault.messages.add(rows.message(contact.id, clock=clock, text="word " * 60))
    honest = vault.export()
    vault.close()
    sound = path.read_bytes()
    noticed = 0
    for _ in range(60):
        raw = bytearray(sound)
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        path.write_bytes(raw)
        try:
            vault = Vault.open(path, KEY)
            try:
                assert vault.export() == honest  # the change lay in bytes that mean nothing
            finally:
                vault.close()
        except StoreCorrupt:
            noticed += 1
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert noticed > 15


def test_store_pages_cannot_change_places(tmp_path: Path) -> None:
    path, rows = tmp_path / "vault.db", Rows()
    vault = Vault.create(path, KEY)
    with vault.transaction():
        contact = rows.contact("Ada")
        vault.contacts.add(contact)
        for clock in range(300):
            vault.messages.add(rows.message(contact.id, clock=clock, text="word " * 60))
    vault.close()
    raw = bytearray(path.read_bytes())
    last, other = len(raw) - 4096, len(raw) - 2 * 4096
    raw[last:], raw[other:last] = raw[other:last], raw[last:]
    path.write_bytes(raw)
    vault = Vault.open(path, KEY)
    with pytest.raises(StoreCorrupt):
        vault.export()
    vault.close()


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 5000, 40_000])
def test_store_cut_or_foreign_file_is_told(tmp_path: Path, size: int) -> None:
    path = tmp_path / "vault.db"
    vault = Vault.create(path, KEY)
    vault.close()
    raw = path.read_bytes()
    assert len(raw) > 40_000
    for bad in (raw[:size], Random(size).randbytes(size)):
        path.write_bytes(bad)
        with pytest.raises(StoreError):
            opened = Vault.open(path, KEY)
            try:
                opened.export()
                assert opened.database.check() != []
                raise StoreCorrupt("found by checking")
            finally:
                opened.close()


# The key file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["passphrase", "key-file", "none"])
def test_store_every_changed_byte_of_the_key_file_is_noticed(tmp_path: Path, kind: str) -> None:
    path, secret = tmp_path / "vault.key", tmp_path / "secret"
    secret.write_bytes(bytes(range(32)))
    passphrase = b"open" if kind == "passphrase" else None
    key_file = secret if kind == "key-file" else None
    keys.create(path, passphrase=passphrase, key_file=key_file, cost=CHEAP)
    sound = path.read_bytes()
    for position in range(len(sound)):
        raw = bytearray(sound)
        raw[position] ^= 1 << (position % 8)
        path.write_bytes(raw)
        with pytest.raises((StoreCorrupt, StoreTooNew)):
            keys.unlock(path, passphrase=passphrase, key_file=key_file)
    for cut in range(len(sound)):
        path.write_bytes(sound[:cut])
        with pytest.raises(StoreCorrupt):
            keys.kind(path)
    path.write_bytes(sound + b"\x00")
    with pytest.raises(StoreCorrupt):
        keys.kind(path)


def forge(path: Path, **changes: object) -> None:
    """Change the head of a key file the way somebody does who knows the format."""
    raw = path.read_bytes()
    start = len(keys.MAGIC) + 1
    head, key, _ = msgspec.msgpack.decode(raw[start:])
    values = dict(
        zip(
            ("kind", "passes", "memory", "salt", "nonce"), msgspec.msgpack.decode(head), strict=True
        )
    )
    forged = msgspec.msgpack.encode(list({**values, **changes}.values()))
    checksum = keys._checksum(forged, key)
    path.write_bytes(raw[:start] + msgspec.msgpack.encode([forged, key, checksum]))


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": 2},
        {"memory": 9 * 1024 * 1024},
        {"salt": bytes(16)},
        {"nonce": bytes(24)},
    ],
)
def test_store_forged_head_never_gives_a_key(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "vault.key"
    keys.create(path, passphrase=b"open", cost=CHEAP)
    forge(path, **changes)
    with pytest.raises(WrongPassphrase):
        keys.unlock(path, passphrase=b"open")


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": 10**9},
        {"passes": 0},
        {"passes": -1},
        {"memory": 2**62},
        {"memory": 0},
        {"salt": b""},
        {"nonce": bytes(23)},
        {"kind": "none"},
        {"kind": "other"},
    ],
)
def test_store_forged_cost_cannot_stop_the_machine(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = tmp_path / "vault.key"
    keys.create(path, passphrase=b"open", cost=CHEAP)
    forge(path, **changes)
    with pytest.raises(StoreCorrupt):
        keys.unlock(path, passphrase=b"open")


def test_store_key_file_of_another_kind_or_version(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    keys.create(path, passphrase=b"open", cost=CHEAP)
    forge(path, kind="key-file")
    with pytest.raises(VaultLocked):
        keys.unlock(path, passphrase=b"open")
    raw = bytearray(path.read_bytes())
    raw[len(keys.MAGIC)] = keys.VERSION + 1
    path.write_bytes(raw)
    with pytest.raises(StoreTooNew):
        keys.unlock(path, passphrase=b"open")
    path.write_bytes(Random(1).randbytes(2000))
    with pytest.raises(StoreCorrupt):
        keys.unlock(path, passphrase=b"open")
