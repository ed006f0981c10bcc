"""A running node is locked and opened again; its service manager is told how it is."""

import os
import queue
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from p2pnode import schema
from p2pnode.errors import VaultLocked
from p2pnode.store import keys
from tests.daemons import Daemon, by_hand, delivered, homes, pair, texts
from tests.e2e.test_e2e_carrying import memory
from tests.patience import PATIENCE

PASSPHRASE = "canary passphrase of ana"
SECRET = "canary-text-of-ana"


def test_a_node_is_locked_while_it_runs(tmp_path):
    ana, bo = Daemon(tmp_path, "ana", passphrase=PASSPHRASE), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(ana, [ana.lines("send", "bo", SECRET)[0]["id"]])
        key = keys.unlock(ana.home.vault_key, passphrase=PASSPHRASE.encode())
        assert key in memory(ana)  # so that the scan below can see it
        assert ana.process is not None
        process = ana.process.pid
        with (
            ana.client() as client,
            subprocess.Popen(
                ana.command("recv", "--follow"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as follows,
        ):
            while not client.call(schema.GetStatus()).links:
                pass
            assert "Locked" in ana.cli("lock")
            _, talk = follows.communicate(timeout=PATIENCE)
            assert follows.returncode == 7
            assert b"locked" in talk
            # The same process, the same socket, the same stream of this client.
            assert ana.process.poll() is None
            assert client.call(schema.GetStatus()).locked
            with pytest.raises(VaultLocked):
                client.call(schema.GetHistory(contact="bo"))
        # Not a proof for every allocator: docs/weaknesses.md says what it is worth.
        held = memory(ana)
        for canary in (key, key.hex().encode(), PASSPHRASE.encode()):
            assert canary not in held
        assert "already" in run_talk(ana, "lock")
        waiting = bo.lines("send", "ana", "while you were locked")[0]["id"]
        ana.cli("unlock", *ana.secret)
        assert ana.process.pid == process
        delivered(bo, [waiting])
        assert [text for _, text in texts(ana, "bo")] == [SECRET, "while you were locked"]
        assert "no lock" in bo.cli("lock", code=2)
        assert ana.end() == 0


def test_what_opens_the_vault_is_changed(tmp_path):
    """With the daemon and without it, open and locked; the sealed messages are there under each."""
    new, key = tmp_path / "new", tmp_path / "key"
    new.write_text("another passphrase\n")
    key.write_bytes(os.urandom(64))
    ana, bo = Daemon(tmp_path, "ana", passphrase=PASSPHRASE), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(bo, [bo.lines("send", "ana", SECRET)[0]["id"]])
        to_new = ("--new-passphrase-file", str(new))
        assert "does not open" in ana.cli(
            "passphrase", "--passphrase-file", str(new), "--new-key-file", str(key), code=7
        )
        assert "Changed" in ana.cli("passphrase", *ana.secret, *to_new)
        ana.cli("lock")
        ana.cli("unlock", *ana.secret, code=7)
        to_key = ("--passphrase-file", str(new), "--new-key-file", str(key))
        assert "Changed" in ana.cli("passphrase", *to_key)  # while it is locked
        ana.cli("unlock", "--passphrase-file", str(new), code=7)
        ana.cli("unlock", "--key-file", str(key))
        assert [text for _, text in texts(ana, "bo")] == [SECRET]
        assert ana.end() == 0
        back = ("--key-file", str(key), "--new-passphrase-file", ana.secret[1])
        assert "Changed" in ana.cli("passphrase", *back)  # without a daemon
        ana.start()
        assert [text for _, text in texts(ana, "bo")] == [SECRET]
        bo.cli("passphrase", *to_new)  # one that had no lock
        bo.cli("lock")
        bo.cli("unlock", "--passphrase-file", str(new))
        assert "whoever reads this disk" in run_talk(
            bo, "passphrase", "--passphrase-file", str(new), "--no-passphrase"
        )
        bo.kill()
        bo.start()
        delivered(bo, [bo.lines("send", "ana", "open again")[0]["id"]])


def run_talk(daemon: Daemon, *words: str) -> str:
    return subprocess.run(daemon.command(*words), capture_output=True, text=True, check=True).stderr


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A service manager, which reads all that it is told, at once: yields its queue."""
    told: queue.Queue[str] = queue.Queue()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))

        def read() -> None:
            while line := listener.recv(4_096):
                told.put(line.decode())

        reader = threading.Thread(target=read)
        reader.start()
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield told
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ends:
            ends.sendto(b"", str(tmp_path / "notify"))
        reader.join()


def until(told: "queue.Queue[str]", line: str) -> list[str]:
    """Return what is told up to a line."""
    found: list[str] = []
    end = time.monotonic() + PATIENCE
    while line not in found:
        assert time.monotonic() < end, found  # signs of life go on coming
        found.append(told.get(timeout=PATIENCE))
    return found


def test_systemd_is_told_of_a_node_without_transports_and_of_a_locked_one(tmp_path, manager):
    key = tmp_path / "key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    box = Daemon(tmp_path, "box-canary-name")
    box.lines("init", "--name", box.name, "--key-file", str(key))
    box.home.config.write_text("[transports]\nlan = false\ncourier = false\n")
    box.secret = ["--key-file", str(key)]
    try:
        for locked, state in ((False, "open"), (True, "locked, carrying only")):
            box.launch(locked=locked)
            told = until(manager, "READY=1")
            told += until(manager, f"STATUS={state}")
            told += until(manager, "WATCHDOG=1")
            # Whoever hears READY can use it.
            assert box.lines("status")[0]["locked"] is locked
            assert box.end() == 0
            told += until(manager, "STOPPING=1")
            assert "STOPPING=1" in told
            assert not any("canary" in line for line in told)
    finally:
        if box.process is not None:
            box.kill()


def test_a_credential_opens_the_vault_and_one_that_does_not_fit_leaves_it_locked(
    tmp_path, monkeypatch
):
    folder: Path = tmp_path / "credentials"
    folder.mkdir()
    box = Daemon(tmp_path, "box", passphrase=PASSPHRASE)
    box.init()
    box.secret = []
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    try:
        for held, locked in ((None, True), (PASSPHRASE, False), ("something else", True)):
            if held is not None:
                (folder / "p2pnode-passphrase").write_text(held + "\n")
            box.start()
            assert box.lines("status")[0]["locked"] is locked
            assert box.end() == 0
        assert "does not open the vault" in box.log.read_text()
    finally:
        if box.process is not None:
            box.kill()


def test_a_home_of_somebody_else_or_open_to_others_is_not_run(tmp_path):
    box = Daemon(tmp_path, "box")
    box.init()
    box.home.socket.mkdir(parents=True)
    assert "no socket can be made" in box.cli("run", code=8)
    box.home.root.chmod(0o770)
    assert "chmod 700" in box.cli("run", code=9)
    box.home.root.chmod(0o700)
    os.chown(box.home.root, 65_534, -1)
    told = box.cli("run", code=9)
    assert "belongs to another user" in told
    assert f"--home {box.home.root}" in told
    # Nor is anything made there that its owner could not read.
    assert "belongs to another" in box.cli("backup", "create", str(tmp_path / "b"), code=9)
    assert "belongs to another" in box.cli("erase", "--all", "--yes", code=9)
    assert not box.home.erasure.exists()
