"""How the vault's key is kept and given out again."""

import errno
import os
import stat
from pathlib import Path

import pytest

from p2pnode.errors import (
    InvalidInput,
    StoreError,
    StoreFull,
    VaultLocked,
    WrongPassphrase,
)
from p2pnode.store import keys
from p2pnode.store.keys import Cost, Secret

CHEAP = Cost(1, 8 * 1024 * 1024)


def test_store_key_under_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    key = keys.create(path, passphrase="träumen".encode(), cost=CHEAP)
    assert len(key) == 32
    assert keys.kind(path) == "passphrase"
    assert keys.unlock(path, passphrase="träumen".encode()) == key
    assert key not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]
    with pytest.raises(WrongPassphrase):
        keys.unlock(path, passphrase=b"wrong")
    with pytest.raises(VaultLocked) as locked:
        keys.unlock(path, passphrase=None)
    assert locked.value.code == "locked"


def test_store_key_under_a_key_file(tmp_path: Path) -> None:
    path, secret = tmp_path / "vault.key", tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    key = keys.create(path, passphrase=None, key_file=secret)
    assert keys.kind(path) == "key-file"
    assert keys.unlock(path, passphrase=None, key_file=secret) == key
    assert key not in path.read_bytes()
    with pytest.raises(VaultLocked):
        keys.unlock(path, passphrase=b"something")
    secret.write_bytes(bytes(range(1, 65)))
    with pytest.raises(WrongPassphrase, match="key file"):
        keys.unlock(path, passphrase=None, key_file=secret)
    secret.unlink()
    with pytest.raises(InvalidInput):
        keys.unlock(path, passphrase=None, key_file=secret)


def test_store_key_without_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    key = keys.create(path, passphrase=None)
    assert keys.kind(path) == "none"
    assert keys.unlock(path, passphrase=None) == key == keys.unlock(path, passphrase=b"any")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_store_keys_are_never_the_same_twice(tmp_path: Path) -> None:
    made = {keys.create(tmp_path / str(n), passphrase=b"a", cost=CHEAP) for n in range(3)}
    assert len(made) == 3
    assert len({(tmp_path / str(n)).read_bytes() for n in range(3)}) == 3


def test_store_key_cost_is_kept_with_the_key(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    key = keys.create(path, passphrase=b"a", cost=Cost(2, 16 * 1024 * 1024))
    assert keys.unlock(path, passphrase=b"a") == key
    assert keys.MODERATE == (3, 256 * 1024 * 1024)


def test_store_key_refuses_nonsense(tmp_path: Path) -> None:
    path, short = tmp_path / "vault.key", tmp_path / "short"
    short.write_bytes(b"x" * 31)
    long = tmp_path / "long"
    long.write_bytes(bytes(keys.MAX_KEY_FILE + 1))
    with pytest.raises(InvalidInput):
        keys.create(path, passphrase=b"")
    with pytest.raises(InvalidInput):
        keys.create(path, passphrase=b"a", key_file=short)
    for bad in (short, long, tmp_path / "absent", tmp_path):
        with pytest.raises(InvalidInput):
            keys.create(path, passphrase=None, key_file=bad)
    assert not path.exists()
    with pytest.raises(StoreError):
        keys.unlock(path, passphrase=None)


def test_store_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    keys.create(path, passphrase=None)
    before = path.read_bytes()
    with pytest.raises(StoreError):
        keys.create(path, passphrase=b"a", cost=CHEAP)
    assert path.read_bytes() == before


def test_store_key_left_over_draft_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    (tmp_path / "vault.key.new").write_bytes(b"half")
    key = keys.create(path, passphrase=None)
    assert keys.unlock(path, passphrase=None) == key
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]


@pytest.mark.parametrize(("code", "ours"), [(errno.ENOSPC, StoreFull), (errno.EIO, StoreError)])
def test_store_key_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, ours: type[StoreError]
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ours) as raised:
        keys.create(tmp_path / "vault.key", passphrase=None)
    assert type(raised.value) is ours
    assert not (tmp_path / "vault.key").exists()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    made = tmp_path / "secret"
    made.write_bytes(bytes(range(64)))
    return made


@pytest.mark.parametrize("before", ["passphrase", "key-file", "none"])
@pytest.mark.parametrize("after", ["passphrase", "key-file", "none"])
def test_store_key_under_another_secret(
    tmp_path: Path, key_file: Path, before: str, after: str
) -> None:
    path, other_file = tmp_path / "vault.key", tmp_path / "other"
    other_file.write_bytes(bytes(range(64, 128)))
    old = {"passphrase": (b"old", None), "key-file": (None, key_file), "none": (None, None)}
    new = {"passphrase": (b"new", None), "key-file": (None, other_file), "none": (None, None)}
    was = Secret(*old[before])
    key = keys.create(path, passphrase=was.passphrase, key_file=was.key_file, cost=CHEAP)
    handle = os.open(path, os.O_RDONLY)
    told = Secret(*new[after])
    keys.change(path, was, told, cost=CHEAP)
    assert (was.passphrase, was.key_file) == (told.passphrase, told.key_file) == (None, None)
    assert keys.kind(path) == after
    assert keys.unlock_with(path, Secret(*new[after])) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if after != "none":
        with pytest.raises((VaultLocked, WrongPassphrase)):
            keys.unlock_with(path, Secret(*old[before]))
    left = os.pread(handle, 4_096, 0)  # of the file that was there
    os.close(handle)
    assert left
    assert keys.MAGIC not in left
    assert key not in left


def test_store_key_stays_when_it_cannot_be_changed(tmp_path: Path, key_file: Path) -> None:
    path = tmp_path / "vault.key"
    keys.create(path, passphrase=b"old", cost=CHEAP)
    before = path.read_bytes()
    short = tmp_path / "short"
    short.write_bytes(b"x" * 31)
    for old, new, why in (
        (Secret(b"wrong"), Secret(b"new"), WrongPassphrase),
        (Secret(), Secret(b"new"), VaultLocked),
        (Secret(key_file=key_file), Secret(b"new"), VaultLocked),
        (Secret(b"old"), Secret(b""), InvalidInput),
        (Secret(b"old"), Secret(b"new", key_file), InvalidInput),
        (Secret(b"old"), Secret(key_file=short), InvalidInput),
        (Secret(b"old"), Secret(key_file=tmp_path / "nowhere"), InvalidInput),
    ):
        with pytest.raises(why):
            keys.change(path, old, new, cost=CHEAP)
        assert path.read_bytes() == before
        assert (old.passphrase, new.passphrase) == (None, None)
