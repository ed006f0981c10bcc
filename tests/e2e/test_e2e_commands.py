"""The command line on a real daemon: exit codes, bad input, what scripts rely on."""

import json
import signal
import subprocess
import threading

import pytest

from p2pnode import schema
from p2pnode.protocol import limits
from p2pnode.store import keys
from p2pnode.store.database import Database
from p2pnode.store.vault import SCHEMA
from tests.daemons import Daemon, by_hand, delivered, homes, paired
from tests.patience import PATIENCE


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two paired daemons."""
    root = tmp_path_factory.mktemp("commands")
    ana, bo = Daemon(root, "ana", passphrase="correct horse"), Daemon(root, "bo")
    with paired(ana, bo):
        yield ana, bo


def test_a_second_daemon_refuses_and_the_first_goes_on(two):
    ana, _ = two
    told = ana.cli("run", *ana.secret, code=8)
    assert "another daemon runs in this home" in told
    assert ana.lines("status")[0]["schema"] == 1


def test_a_wrong_passphrase_is_told_apart_from_nothing(tmp_path):
    ana = Daemon(tmp_path, "ana", passphrase="right")
    ana.init()
    (tmp_path / "ana.passphrase").write_text("wrong\n")
    assert "does not open the vault" in ana.cli("run", *ana.secret, code=7)
    assert "no identity" in Daemon(tmp_path, "nobody").cli("run", code=8)
    assert "no daemon" in ana.cli("status", code=3)


def test_a_vault_of_a_newer_version_is_left_alone(tmp_path):
    ana = Daemon(tmp_path, "ana")
    ana.init()
    key = keys.unlock(ana.home.vault_key, passphrase=None, key_file=None)
    newer = SCHEMA._replace(steps=(*SCHEMA.steps, "CREATE TABLE later (a)"))
    Database.open(ana.home.vault, newer, key).close()
    before = ana.home.vault.read_bytes()
    assert "written by a newer p2pnode" in ana.cli("run", code=8)
    assert ana.home.vault.read_bytes() == before


def test_an_unknown_setting_is_refused_with_its_line(tmp_path):
    ana = Daemon(tmp_path, "ana")
    ana.init()
    ana.home.config.write_text("[node]\n\n[carry]\nmax_mbb = 3\n")
    told = ana.cli("run", code=8)
    assert "config.toml:4" in told
    assert "max_mb" in told


def test_what_scripts_rely_on(two):
    ana, bo = two
    waits = ("--wait", "delivered", "--timeout", str(PATIENCE))
    sent = ana.lines("send", "bo", "for scripts", *waits)[0]
    assert sent["state"] == "delivered"
    (got,) = [one for one in bo.lines("recv") if one["text"] == "for scripts"]
    assert {"id", "from", "text", "state", "schema"} <= set(got)
    assert bo.lines("recv") == [], "what was shown is acknowledged"
    assert any(one["text"] == "for scripts" for one in bo.lines("recv", "--consumer", "other"))
    status = ana.lines("status")[0]
    assert status["transports"]["lan"]["state"] == "up"
    assert {"count", "bytes"} <= set(status["custody"])
    assert ana.lines("why", sent["id"])[0]["state"] == "delivered"
    assert [one["text"] for one in ana.lines("history", "bo")][-1] == "for scripts"
    assert "no contact" in ana.cli("send", "boo", "x", code=4)
    assert "Did you mean: bo" in ana.cli("send", "boo", "x", code=4)


def test_sizes_of_a_text(two):
    ana, bo = two
    for size in (0, limits.MAX_TEXT):
        sent = json.loads(ana.cli("send", "bo", "-", "--json", stdin="x" * size))
        delivered(ana, [sent["id"]])
    ana.cli("send", "bo", "-", stdin="x" * (limits.MAX_TEXT + 1), code=2)
    assert [len(one["text"]) for one in bo.lines("recv")] == [0, limits.MAX_TEXT]


def test_nothing_from_outside_reaches_the_terminal_raw(two):
    ana, bo = two
    nasty = "\x1b[2Jred\u202egnp.exe\x07"
    sent = ana.lines("send", "bo", nasty)[0]
    delivered(ana, [sent["id"]])
    shown = bo.cli("recv")
    assert "red" in shown
    assert not any(bad in shown for bad in ("\x1b", "\u202e", "\x07"))
    assert bo.lines("history", "ana")[-1]["text"] == nasty, "scripts get what was written"


def test_names_are_made_safe_or_refused(two, tmp_path):
    ana, _ = two
    for bad in ("", "a\x1bb", "x\u202ey", "z" * 65):
        ana.cli("contacts", "rename", "bo", bad, code=2)
        Daemon(tmp_path, "x").cli("init", "--name", bad or "\u200b", "--no-passphrase", code=2)
    ana.cli("contacts", "rename", "bo", "b\u00f6")
    assert ana.lines("contacts", "list")[0]["contacts"][0]["name"] == "b\u00f6"
    ana.cli("contacts", "rename", "b\u00f6", "bo")


def test_a_refused_pairing_leaves_no_contact(tmp_path):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        with subprocess.Popen(
            ana.command("pair", "show", "--json"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as shows:
            assert shows.stdout is not None
            code = json.loads(shows.stdout.readline())["uri"]
            with subprocess.Popen(
                bo.command("pair", "join", code, "--json", "--accept"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as joins:
                assert json.loads(shows.stdout.readline())["event"] == "compare"
                shows.communicate("n\n")
                assert shows.returncode == 5
                assert joins.wait(PATIENCE) == 5
        for daemon in (ana, bo):
            assert daemon.lines("contacts", "list")[0]["contacts"] == []
        assert "code" in bo.cli("pair", "join", "P2PNODE:AAAA", code=5)


def test_sigterm_ends_a_daemon_with_an_open_event_stream(tmp_path):
    ana = Daemon(tmp_path, "ana")
    with homes(ana):
        by_hand(ana)
        ana.start()
        reader = subprocess.Popen(
            ana.command("recv", "--follow", "--json"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        waiting = threading.Thread(target=lambda: wait_long(ana))
        waiting.start()
        assert ana.end(signal.SIGTERM) == 0
        assert reader.wait(PATIENCE) == 3
        waiting.join(PATIENCE)


def wait_long(daemon: Daemon) -> None:
    """Ask for events that do not come, for longer than a test waits for an end."""
    from p2pnode.errors import LocalError

    try:
        with daemon.client() as client:
            client.call(schema.TakeEvents(consumer="long", timeout=3_600))
    except LocalError:
        return  # the daemon ended, as the test wants


def test_chat_in_a_pipe(two):
    ana, bo = two
    with subprocess.Popen(
        ana.command("chat", "bo"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as chat:
        assert chat.stdin is not None
        said = iter(chat.stdout or ())
        assert any("Talking with bo" in line for line in said)
        chat.stdin.write("typed in chat\n")
        chat.stdin.flush()
        assert any("delivered: typed in chat" in line for line in said)
        bo.cli("send", "ana", "answered in chat")
        assert any("answered in chat" in line for line in said)
        chat.stdin.write("/quit\n")
        chat.stdin.flush()
        assert chat.wait(PATIENCE) == 0
    assert "typed in chat" in bo.cli("history", "ana")
