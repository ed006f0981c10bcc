"""`doctor` finds what is really wrong: each fault is made, seen with its fix, and mended."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pnode import diagnosis, schema
from p2pnode.config import Home
from p2pnode.home import create_home
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.store import keys
from p2pnode.store.custody import Custody
from p2pnode.store.keys import Cost
from p2pnode.store.vault import Vault
from tests.daemons import Daemon, homes
from tests.namespaces import networks

network = pytest.fixture(networks)

POLICY = CarryPolicy(20_000_000)
QUIET = '[transports.lan]\ndiscover = false\ninterfaces = ["lo"]\n'
"""Settings that spare `doctor` a look at multicast, which takes seconds."""

CHEAP = Cost(1, 8_192 * 1_024)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    create_home(made, "ana", passphrase=b"of ana", cost=CHEAP)
    yield made
    shutil.rmtree(made.root)


def looked(home: Home) -> dict[tuple[str, str], schema.Finding]:
    found = [
        *diagnosis.home(home, batching=False),
        diagnosis.lock(home),
        *diagnosis.carried(home, POLICY),
    ]
    return {(one.area, one.name): one for one in found}


def wrong(home: Home) -> dict[tuple[str, str], str]:
    """Return what is not well, as area and name → result; each has a fix."""
    found = {key: one for key, one in looked(home).items() if one.result != "pass"}
    assert all(one.fix for one in found.values())
    return {key: one.result for key, one in found.items()}


def failing(daemon: Daemon) -> str:
    """Run `doctor`, which finds something that fails; return what it says."""
    done = subprocess.run(daemon.command("doctor"), capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    return done.stdout


def test_a_sound_home_has_nothing_wrong(home):
    assert wrong(home) == {}
    assert {area for area, _ in looked(home)} == {"home", "lock", "store", "custody"}


def test_what_others_may_read_or_own(home):
    home.root.chmod(0o755)
    home.vault_key.chmod(0o640)
    home.config.write_text("")
    home.config.chmod(0o666)
    assert wrong(home) == {
        ("home", "directory"): "warn",
        ("home", "vault.key"): "warn",
        ("home", "config.toml"): "warn",
    }
    assert looked(home)["home", "vault.key"].fix == f"chmod 600 '{home.vault_key}'"
    home.root.chmod(0o700)
    home.vault_key.chmod(0o600)
    home.config.chmod(0o644)  # settings are no secret
    assert wrong(home) == {}
    if os.getuid() == 0:
        os.chown(home.custody, 12_345, 12_345)
        assert wrong(home) == {("home", "custody.db"): "fail"}


def test_a_key_that_is_gone_or_damaged(home):
    raw = home.vault_key.read_bytes()
    home.vault_key.unlink()
    assert wrong(home) == {("home", "key"): "fail"}
    home.vault_key.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    home.vault_key.chmod(0o600)
    assert wrong(home) == {("home", "key"): "fail"}


def test_a_custody_store_that_is_damaged(home):
    with home.custody.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    assert wrong(home) == {("store", "custody"): "fail"}
    home.custody.write_bytes(b"no database" * 1_000)
    assert wrong(home) == {("store", "custody"): "fail"}
    home.custody.unlink()
    assert wrong(home) == {("store", "custody"): "fail"}


def test_files_from_the_future_and_what_is_left_over(home):
    ahead = time.time() + 86_400
    os.utime(home.vault, (ahead, ahead))
    (home.root / ".init-0f0f").mkdir()
    (home.root / "vault.db.damaged-1").write_bytes(b"x")
    assert wrong(home) == {
        ("clock", "files"): "warn",
        ("home", "leftovers"): "warn",
        ("store", "set aside"): "warn",
    }


def test_a_daemon_that_holds_the_lock_and_does_not_answer(home):
    with home.lock.open("w") as held:
        home.lock.chmod(0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        assert wrong(home) == {("lock", "daemon"): "fail"}
    assert wrong(home) == {}


def test_custody_that_is_full_and_a_disk_that_is(home, network, tmp_path):
    custody = Custody.open(home.custody)
    with custody.transaction():
        for number in range(20):
            name = number.to_bytes(32)
            custody.put(name, name[16:], bytes(4_096), 3, 0, b"12345678", 1)  # type: ignore[arg-type]
    custody.close()
    [full] = [one for one in diagnosis.carried(home, CarryPolicy(80_000)) if one.name == "carrying"]
    assert full.result == "warn"
    network("probe")  # needs root, as mounting does
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(small)], check=True)
    try:
        shutil.copytree(home.root, small / "home")
        tight = Home(small / "home")
        tight.root.chmod(0o700)
        assert wrong(tight) == {("home", "disk"): "warn", ("custody", "room"): "warn"}
        assert "carry.max_mb 1" in looked(tight)["custody", "room"].fix
        (small / "filler").write_bytes(bytes(20_000_000))
        assert wrong(tight) == {("home", "disk"): "warn", ("custody", "room"): "fail"}
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_with_a_daemon_settings_are_looked_at_too(tmp_path):
    box = Daemon(tmp_path, "box", passphrase="of the box")
    with homes(box):
        box.home.config.write_text(QUIET)
        offline = box.lines("doctor")[0]["findings"]
        areas = {one["area"] for one in offline}
        assert {"clock", "settings", "home", "lock", "store", "custody", "lan"} <= areas
        box.start(locked=True)
        box.home.config.write_text(QUIET + "enabled = false\n")
        box.home.vault_key.chmod(0o644)
        told = box.cli("doctor")
        assert "WARN settings  config.toml: not in force yet: transports.lan.enabled" in told
        assert "WARN home      vault.key: others may read or change it  fix: chmod 600" in told
        assert "skip store     vault: locked: this node only carries" in told
        assert "p2pnode unlock" in told
        assert "OK   store     custody: every page is sound" in told
        assert "OK   custody   carrying: 0 envelopes" in told
        assert "to turn it on: p2pnode config set transports.tor true" in told
        box.home.config.write_text("[transport]\n")
        box.cli("unlock", *box.secret)
        assert "FAIL settings  config.toml: config.toml:1 transport unknown" in failing(box)


def test_a_vault_page_that_is_damaged_is_told_by_the_daemon(tmp_path):
    ana = Daemon(tmp_path, "ana")
    with homes(ana):
        ana.home.config.write_text(QUIET)
        vault = Vault.open(ana.home.vault, keys.unlock_with(ana.home.vault_key, keys.Secret()))
        # What happened to each message: no page of it is needed to start.
        page = vault.database.value("SELECT rootpage FROM sqlite_schema WHERE name='traces'")
        size = vault.database.value("PRAGMA page_size")
        vault.close()
        with ana.home.vault.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(os.urandom(size))
        ana.start()
        told = failing(ana)
        assert "FAIL store     vault: " in told
        assert "p2pnode repair" in told
