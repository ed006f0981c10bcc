"""Take everything along, have it erased: nothing is left on disk, and the other keeps theirs."""

import json
import os
import signal
import stat
import zipfile

from p2pnode import schema
from p2pnode.store import keys
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from tests.correspondents import decrypted
from tests.daemons import Daemon, by_hand, canaries, delivered, files_below, homes, pair, texts
from tests.patience import PATIENCE

PASSPHRASE = "of somebody with rights"
OWN, THEIRS = "canary-written-by-ana", "canary-written-by-bo"


def inside(daemon: Daemon) -> bytes:
    """Return all bytes of a stopped home, its stores without encryption."""
    key = keys.unlock(daemon.home.vault_key, passphrase=None)
    vault, custody = Vault.open(daemon.home.vault, key), Custody.open(daemon.home.custody)
    found = decrypted(vault) + decrypted(custody)
    vault.close()
    custody.close()
    return found + b"".join(raw for _, raw in files_below(daemon.home.root))


def test_export_then_erase_leaves_nothing_and_the_other_has_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        for daemon in (ana, bo):
            daemon.start()
        pair(ana, bo)
        for number in range(2):
            delivered(ana, [ana.lines("send", "bo", f"{OWN} {number}")[0]["id"]])
            delivered(bo, [bo.lines("send", "ana", f"{THEIRS} {number}")[0]["id"]])
        said = texts(ana, "bo")

        archive = tmp_path / "ana.zip"
        [done] = ana.lines("export", str(archive))
        assert (done["messages"], done["contacts"]) == (4, 1)
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert "--replace" in ana.cli("export", str(archive), code=2)
        with zipfile.ZipFile(archive) as found:
            members = {name: found.read(name) for name in found.namelist()}
        rows = json.loads(members["json/messages.json"])["tables"]["messages"]
        assert [("" if row["mine"] else "bo", row["text"]) for row in rows] == said
        for text in (OWN, THEIRS):
            assert text.encode() in members["index.html"]

        with ana.client() as client:
            [friend] = client.call(schema.ListContacts()).contacts
        marks = [mark.encode() for mark in (OWN, THEIRS)]
        who = {"account": friend.account, "device": friend.devices[0]}
        about_bo = [*canaries({**who, "fingerprint": friend.fingerprint}), *marks]
        ana.end()
        assert any(mark in inside(ana) for mark in about_bo)  # so the scan would see what is there
        ana.start()
        assert "type bo" in ana.cli("erase", "--contact", "bo", stdin="ana\n", code=130)
        assert ana.lines("erase", "--contact", "bo", "--now", "--yes")[0]["erasing"] == []
        assert ana.lines("contacts")[0]["contacts"] == []
        with ana.client() as client:
            assert client.call(schema.TakeEvents(consumer="new")).events == []
        ana.end(signal.SIGKILL)
        held = inside(ana)
        assert [mark for mark in about_bo if mark in held] == []

        ana.start()
        [planned] = ana.lines("erase", "--all", "--yes")[0]["erasing"]
        assert planned["what"] == "all"
        assert 86_000 < planned["left"] <= 86_400
        ana.end()
        ana.start()
        assert "everything of this node" in ana.cli("status")
        assert ana.lines("erase", "--cancel")[0]["cancelled"] == 1
        ana.cli("erase", "--all", "--now", "--settings", "--yes")
        assert ana.process is not None
        assert ana.process.wait(PATIENCE) == 0
        ana.process = None
        assert "Erased: this node is gone" in ana.log.read_text()
        assert not ana.home.root.exists()
        for path, raw in files_below(tmp_path):
            if path != archive and bo.home.root not in path.parents:
                assert not any(mark in raw for mark in about_bo), path

        assert [text for _, text in texts(bo, "ana")] == [text for _, text in said]
        assert "no daemon" in ana.cli("status", code=3)


def test_a_locked_node_and_one_that_does_not_run_are_erased_without_the_secret(tmp_path):
    ana = Daemon(tmp_path, "ana", passphrase=PASSPHRASE)
    bo = Daemon(tmp_path, "bo")
    with homes(ana, bo):
        ana.start(locked=True)
        assert ana.lines("erase", "--all", "--yes")[0]["erasing"][0]["what"] == "all"
        # What is planned inside of the vault stands, and nobody is told that there was nothing.
        assert ana.cli("erase", "--cancel").strip() == "cancelled: 1"
        assert ana.lines("erase", "--cancel")[0]["locked"] is True
        ana.cli("erase", "--all", "--now", "--yes")
        assert ana.process is not None
        assert ana.process.wait(PATIENCE) == 0
        ana.process = None
        assert not ana.home.root.exists()

        bo.home.config.write_text("[carry]\nmax_mb = 20\n")
        bo.cli("erase", "--all", "--yes")
        assert bo.lines("erase")[0]["erasing"][0]["what"] == "all"
        assert bo.lines("erase", "--cancel")[0]["cancelled"] == 1
        bo.cli("erase", "--all", "--now", "--yes")
        assert [path.name for path in bo.home.root.iterdir()] == ["config.toml"]
        assert "no identity" in bo.cli("erase", "--all", "--yes", code=8)


def test_an_erasure_that_was_cut_short_is_finished_by_whatever_comes_next(tmp_path):
    homes_ = [Daemon(tmp_path, name) for name in ("one", "two", "three")]
    with homes(*homes_):
        ways = (["run"], ["init", "--name", "x", "--no-passphrase"], ["erase"])
        for daemon, words in zip(homes_, ways, strict=True):
            daemon.home.erasure.write_text('{"due": 0, "settings": false, "begun": true}')
            os.unlink(daemon.home.vault_key)  # so far it had come
            daemon.cli(*words)
            left = set(os.listdir(daemon.home.root)) if daemon.home.root.exists() else set()
            made = {"vault.key", "vault.db", "custody.db", "lock"} if words[0] == "init" else set()
            assert left == made, words
