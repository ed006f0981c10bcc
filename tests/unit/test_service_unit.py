"""The systemd unit: hardened, waiting for nothing, and put where it belongs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from p2pnode import backup
from p2pnode.config import SYSTEM, Home, find_home
from p2pnode.errors import Denied, InvalidInput
from p2pnode.home import create_home, shown_identity
from p2pnode.service import unit
from p2pnode.service.machine import Owner, create_machine_home, given_away
from p2pnode.store import keys, sealed_file

WORST = 2.0
"""Exposure that `systemd-analyze security` may find; 1.4 was measured with systemd 252."""

CHEAP = keys.Cost(1, 8 * 1024 * 1024)


def system_unit() -> str:
    return unit.text(
        "system", unit.arguments(["/usr/bin/p2pnode"], "system", SYSTEM, named=False), SYSTEM
    )


@pytest.mark.parametrize("scope", ["system", "user"])
def test_it_waits_for_no_network_and_no_clock(scope):
    home = SYSTEM if scope == "system" else Home(Path("/home/ana/.local/share/p2pnode"))
    text = unit.text(scope, unit.arguments(["/usr/bin/p2pnode"], scope, home, named=False), home)
    for word in ("network", "time-sync", "Requires", "Wants="):
        assert word not in text
    for line in (
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "WatchdogSec=60",
        "LimitCORE=0",
        f"MemoryMax={unit.MEMORY}",
        f"ConditionPathExists={home.vault_key}",
        "NoNewPrivileges=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "UMask=0077",
    ):
        assert line in text.splitlines(), line


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_exposure_stays_low(tmp_path):
    path = tmp_path / unit.NAME
    path.write_text(system_unit())
    done = analyze("security", "--offline=true", "--json=short", str(path))
    assert done.returncode == 0, done.stderr
    shown = analyze("security", "--offline=true", str(path)).stdout
    found = re.search(r"exposure level for p2pnode.service: ([0-9.]+)", shown)
    assert found is not None
    assert float(found[1]) <= WORST


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("scope", ["system", "user"])
def test_systemd_understands_every_line(tmp_path, monkeypatch, scope):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    odd = Home(tmp_path / 'a home with 100% $spaces and "quotes"')
    path = tmp_path / unit.NAME
    path.write_text(unit.text(scope, ["/bin/true", "--home", str(odd.root), "run"], odd))
    done = analyze("verify", "--man=no", *(["--user"] if scope == "user" else []), str(path))
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["a\nExecStartPre=-/bin/false", "a\rb", "\x1b[31m", "\udcff"])
def test_a_path_cannot_put_lines_of_its_own_into_the_unit(name):
    for scope in ("system", "user"):
        with pytest.raises(InvalidInput, match="control characters"):
            unit.text(scope, ["/bin/true"], Home(Path("/tmp") / name))
        with pytest.raises(InvalidInput, match="control characters"):
            unit.text(scope, [f"/opt/{name}/p2pnode", "run"], SYSTEM)


def p2pnode(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2pnode", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


def test_a_persons_unit_comes_and_goes_without_a_trace(tmp_path):
    settings = tmp_path / "config"
    env = {
        "XDG_CONFIG_HOME": str(settings),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "P2PNODE_HOME": str(tmp_path / "home"),
        "PATH": str(tmp_path),  # where no systemctl is: this machine's own systemd is left alone
    }
    printed = p2pnode("service", "install", "--user", "--print", env=env)
    assert printed.stdout.startswith("[Unit]")
    assert not settings.exists()
    done = p2pnode("service", "install", "--user", "--json", env=env)
    assert done.returncode == 0, done.stderr
    path = settings / "systemd/user" / unit.NAME
    assert json.loads(done.stdout)["unit"] == str(path)
    assert path.read_text() == printed.stdout
    assert f"--home {tmp_path}/home run" in path.read_text()
    for told in ("p2pnode init", "systemctl --user enable --now p2pnode", "enable-linger"):
        assert told in done.stderr
    again = p2pnode("service", "install", "--user", env=env)
    assert again.returncode == 0
    wants = path.parent / "default.target.wants"
    wants.mkdir()
    (wants / unit.NAME).symlink_to(path)
    gone = p2pnode("service", "remove", "--user", env=env)
    assert f"Removed: {path}" in gone.stderr
    assert list(settings.iterdir()) == []
    assert "no unit" in p2pnode("service", "remove", "--user", env=env).stderr


def test_the_machines_unit_is_not_made_of_a_program_it_could_not_reach(tmp_path):
    script = tmp_path / "p2pnode"
    script.write_text(f"#!{sys.executable}\nfrom p2pnode.__main__ import main\nmain()\n")
    script.chmod(0o755)
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        there = place / "p2pnode"
        shutil.copy(script, there)
        words = [str(there), "service", "install", "--system", "--print"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 2
        assert "hidden from services" in done.stderr
    finally:
        shutil.rmtree(place)


def test_the_machines_home_is_given_to_its_user_whole(tmp_path):
    home = Home(tmp_path / "lib/p2pnode", tmp_path / "etc", tmp_path / "run")
    if os.geteuid() != 0:
        with pytest.raises(Denied, match="only root"):
            create_machine_home(home, "shed", Owner(1, 1), passphrase=b"x", cost=CHEAP)
        return
    owner = Owner(54_321, 54_322)
    home.root.mkdir(parents=True)  # an empty one may be there
    (home.root / "something").touch()
    with pytest.raises(InvalidInput, match="not empty"):
        create_machine_home(home, "shed", owner, passphrase=b"x", cost=CHEAP)
    (home.root / "something").unlink()
    made = create_machine_home(home, "shed", owner, passphrase=b"x", cost=CHEAP)
    assert made.name == "shed"
    assert sorted(path.name for path in home.root.iterdir()) == [
        "custody.db",
        "lock",
        "vault.db",
        "vault.key",
    ]
    for path in (home.root, *home.root.iterdir()):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == owner
        assert found.st_mode & 0o077 == 0
    assert [path.name for path in home.root.parent.iterdir()] == ["p2pnode"]
    assert (home.config_home.stat().st_uid, home.config_home.stat().st_gid) == (0, owner.group)
    assert home.config_home.stat().st_mode & 0o777 == 0o750
    with pytest.raises(InvalidInput, match="identity already"):
        create_machine_home(home, "shed", owner, passphrase=b"x", cost=CHEAP)


def test_the_machines_home_comes_out_of_a_backup_with_its_settings(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    old, phrase = Home(tmp_path / "old"), sealed_file.new_phrase()
    made = create_home(old, "shed", passphrase=None)
    old.config.write_text("[carry]\nmax_mb = 20\n")
    key = keys.unlock(old.vault_key, passphrase=None)
    backup.create(old, key, tmp_path / "b", phrase, history=False, cost=CHEAP)
    home = Home(tmp_path / "lib/p2pnode", tmp_path / "etc", tmp_path / "run")
    owner = Owner(54_321, 54_322)

    def make(place: Home) -> backup.Restored:
        return backup.restore(place, tmp_path / "b", phrase, passphrase=b"x", cost=CHEAP)

    found = given_away(home, owner, make)
    assert (found.own.name, found.settings) == ("shed", True)
    assert shown_identity(found.own).account == made.account
    for path in (home.root, *home.root.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == owner
    assert home.config.read_text() == old.config.read_text()
    assert (home.config.stat().st_uid, home.config.stat().st_gid) == (0, owner.group)
    assert home.config.stat().st_mode & 0o777 == 0o640


def test_clients_find_the_machines_node_only_without_one_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pnode.config.SYSTEM", Home(tmp_path / "system", None, tmp_path / "run"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("P2PNODE_HOME", raising=False)
    mine = tmp_path / "data" / "p2pnode"
    assert find_home().root == mine
    (tmp_path / "system").mkdir()
    assert find_home().socket == tmp_path / "run" / "api.sock"
    assert find_home(own=True).root == mine
    assert find_home(str(tmp_path / "system")).shared
    mine.mkdir(parents=True)
    (mine / "vault.key").touch()
    assert find_home().root == mine
    assert not find_home().shared
