"""A home is made where one was before: what that left over does not get into the new one's way."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from p2pnode import backup, erasure
from p2pnode.config import Home
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import HomeInUse, InvalidInput
from p2pnode.home import create_home, make_home
from p2pnode.protocol.identity import Own, new_account, new_device
from p2pnode.store import keys, sealed_file
from p2pnode.store.custody import Custody
from p2pnode.store.keys import Cost
from p2pnode.store.vault import Vault, initialise

WEAK = Cost(1, 8192)


def key_of(home: Home) -> bytes:
    return keys.unlock(home.vault_key, passphrase=None)


def saved(home: Home, path: Path) -> str:
    """Make a backup of a home; return its phrase."""
    phrase = sealed_file.new_phrase()
    backup.create(home, key_of(home), path, phrase, history=False, cost=WEAK)
    return phrase


def restored_by_command(folder: Path, phrase: str, home: Home) -> subprocess.CompletedProcess[str]:
    """Restore folder/backup as a person does."""
    (folder / "phrase").write_text(phrase)
    words = ["restore", str(folder / "backup"), "--phrase-file", str(folder / "phrase")]
    command = [sys.executable, "-m", "p2pnode", "--home", str(home.root), *words]
    done = subprocess.run([*command, "--no-passphrase"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("way", ["init", "restore"])
def test_the_log_of_a_store_that_is_gone_is_not_played_into_a_new_one(tmp_path, way):
    home = Home(tmp_path / "home")
    create_home(home, "ana", passphrase=None)
    phrase = saved(home, tmp_path / "backup")
    logs = {}
    with (
        closing(Vault.open(home.vault, key_of(home))) as vault,
        closing(Custody.open(home.custody)) as custody,
    ):
        with vault.transaction(), custody.transaction():
            vault.meta.put("mark", bytes(5_000))
            custody.put(bytes(32), bytes(16), bytes(4_096), 0, 0, bytes(8), 1)
        for store in (home.vault, home.custody):
            log = store.with_name(f"{store.name}-wal")
            logs[log] = log.read_bytes()
    for log, raw in logs.items():  # as after kill -9
        assert raw
        log.write_bytes(raw)
    home.vault.unlink()
    home.vault_key.unlink()  # somebody means to begin from scratch
    if way == "init":
        create_home(home, "bo", passphrase=None)
    else:
        backup.restore(home, tmp_path / "backup", phrase, passphrase=None)
    with closing(Vault.open(home.vault, key_of(home))) as vault:
        assert vault.database.check() == []
        assert vault.meta.get("mark") is None
    with closing(Custody.open(home.custody)) as custody:
        assert custody.database.check() == []
        assert not custody.has(bytes(32))


def test_an_erasure_that_was_cut_short_does_not_take_what_is_restored(tmp_path):
    home = Home(tmp_path / "home")
    create_home(home, "ana", passphrase=None)
    phrase = saved(home, tmp_path / "backup")
    erasure.plan(home, 0, after=0, settings=False)
    home.vault_key.unlink()  # the point at which it was cut short
    with pytest.raises(InvalidInput, match="still to be erased"):
        backup.restore(home, tmp_path / "backup", phrase, passphrase=None)
    done = restored_by_command(tmp_path, phrase, home)
    assert "Erased" in done.stderr
    assert home.exists
    assert not erasure.begun(home)
    assert erasure.intent(home) is None


def test_a_restore_says_which_program_its_settings_run(tmp_path):
    home = Home(tmp_path / "old")
    create_home(home, "ana", passphrase=None)
    home.config.write_text('[hooks]\non_message = ["/bin/sh", "-c", "evil\\u001b[2J"]\n')
    phrase = saved(home, tmp_path / "backup")
    done = restored_by_command(tmp_path, phrase, Home(tmp_path / "new"))
    assert "run a program for every message that comes: /bin/sh -c evil\n" in done.stderr


def test_two_who_make_one_home_do_not_mix(tmp_path):
    home = Home(tmp_path / "home")

    def fill(vault: Vault, custody: Custody) -> Own:
        with pytest.raises(HomeInUse):
            create_home(home, "bo", passphrase=None)
        entropy = OsEntropy()
        account = new_account(entropy)
        own = Own(account, new_device(account, entropy), "ana")
        initialise(vault, own, entropy.take(32))
        return own

    own = make_home(home, fill, passphrase=None)
    with closing(Vault.open(home.vault, key_of(home))) as vault:
        assert vault.identity.load() == own
    assert not [name for name in os.listdir(home.root) if name.startswith(".init")]
