"""Erasing a home is cut short before each thing it does to the disk; the next start finishes it."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from p2pnode import erasure
from p2pnode.config import Home
from p2pnode.errors import InvalidInput, StoreError, StoreFull
from p2pnode.home import create_home
from tests.cuts import Cut, cut_before

CALLS = ("unlink", "replace", "rename", "rmdir", "fsync", "open")


def full(root: Path) -> Home:
    """Return a home with everything that can be in one."""
    home = Home(root)
    create_home(home, "ana", passphrase=None)
    home.carry_pass.write_bytes(b"p" * 32)
    for name in ("vault.db-wal", "vault.db-shm", "custody.db-wal", "vault.db.damaged-1"):
        (root / name).write_bytes(b"canary")
    for name in ("transports/tor/keys", "run/x", ".init-00ff/vault.db"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"canary")
    home.lock.touch()
    home.config.write_text("[carry]\nmax_mb = 7\n")
    return home


def test_erasing_goes_on_after_a_crash_at_any_point(tmp_path):
    number, points = 0, 0
    while True:
        home = full(tmp_path / f"home-{number}")
        key = home.vault_key.read_bytes()
        erasure.plan(home, 0, after=0, settings=True)
        done = False
        with suppress(Cut), cut_before(number, CALLS):
            erasure.carry_out(home)
            done = True
        if not done:
            points += 1
            if home.root.exists() and not home.erasure.exists():
                assert os.listdir(home.root) == []  # the plan goes last
                number += 1
                continue
            assert erasure.is_due(home, 0)
            if not home.vault_key.exists():
                assert erasure.begun(home)  # whatever starts next finishes first
                with pytest.raises(InvalidInput, match="too late"):
                    erasure.cancel(home)
            elif home.vault_key.read_bytes() != key:
                assert erasure.begun(home)
            assert erasure.carry_out(home) == []
        assert not home.root.exists()
        if done:
            break
        number += 1
    assert points > 30


def test_a_full_disk_does_not_keep_anybody_from_erasing_at_once(tmp_path, monkeypatch):
    home = full(tmp_path / "home")
    real = os.fsync

    def no_room(handle):  # for any file more, until the key has gone
        if home.vault_key.exists() and ".json" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(StoreFull):
        erasure.plan(home, 0, after=10, settings=True)  # so it has to wait until there is room
    assert not [name for name in os.listdir(home.root) if name.startswith("erase")]
    planned = erasure.plan(home, 0, after=0, settings=True)
    assert erasure.intent(home) is None
    unlink = os.unlink

    def cut(path, *args, **kwargs):
        if str(path).endswith("custody.db"):
            raise Cut
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", cut)
    with pytest.raises(Cut):
        erasure.carry_out(home, planned)
    monkeypatch.setattr(os, "unlink", unlink)
    assert erasure.begun(home)  # it is known all the same, and what goes on knows the settings go
    assert erasure.carry_out(home) == []
    assert not home.root.exists()


def test_erasing_keeps_what_is_not_ours_and_says_so(tmp_path):
    home = full(tmp_path / "home")
    (home.root / "photo.jpg").write_bytes(b"mine")
    assert erasure.carry_out(home) == ["config.toml", "photo.jpg"]
    assert "config.toml, photo.jpg" in erasure.last_word(home, ["config.toml", "photo.jpg"])
    assert sorted(os.listdir(home.root)) == ["config.toml", "photo.jpg"]


def test_a_socket_elsewhere_takes_nothing_with_it_that_is_not_its_own(tmp_path, monkeypatch):
    home = full(tmp_path / "home")
    shared = Home(home.root, None, tmp_path / "run")
    shared.socket.parent.mkdir()
    for name in ("api.sock", "of-others"):
        (shared.socket.parent / name).touch()

    def refused(path, *args, **kwargs):
        raise PermissionError  # nobody but root may take these directories away

    monkeypatch.setattr(os, "rmdir", refused)
    for name in ("run", "transports", ".init-00ff"):
        shutil.move(home.root / name, tmp_path / f"gone{name}")
    home.config.unlink()
    assert erasure.carry_out(shared) == []
    assert os.listdir(home.root) == []
    assert os.listdir(shared.socket.parent) == ["of-others"]


def test_a_plan_that_is_damaged_stops_and_says_what_to_do(tmp_path):
    home = full(tmp_path / "home")
    home.erasure.write_text("{")
    with pytest.raises(StoreError, match=r"erase\.json"):
        erasure.is_due(home, 0)
    home.erasure.unlink()
    assert not erasure.is_due(home, 10**9)
    erasure.plan(home, 100, after=50, settings=False)
    assert not erasure.is_due(home, 149)
    assert erasure.is_due(home, 150)
    assert erasure.cancel(home)
    assert not erasure.cancel(home)
