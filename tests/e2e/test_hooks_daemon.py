"""A hook and notifications of a real daemon, through kills and restarts."""

import json
import os
import signal
from pathlib import Path

from tests.daemons import Daemon, by_hand, delivered, homes, pair
from tests.patience import PATIENCE, until

CANARY = "canary-5d1e"
HOOK = """#!/bin/sh
message=$(cat)
printf '%s\\n' "$message" >> "$1/given"
case "$message" in
*wait*) mkdir "$1/waited" 2>/dev/null && { echo $$ > "$1/pid"; exec sleep 1000; };;
*bad*) exit 9;;
esac
exit 0
"""


def given(place: Path) -> list[str]:
    """Return the texts the hook was given so far."""
    file = place / "given"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line)["text"] for line in lines]


def waiting(place: Path) -> int:
    """Wait until the hook hangs; return its process id."""
    until(lambda: (place / "pid").exists() and (place / "pid").read_text().strip())
    pid = int((place / "pid").read_text())
    (place / "pid").unlink()
    return pid


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def hook_of(place: Path) -> str:
    """Write the hook; return the settings that run it."""
    hook = place / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o700)
    return f'[hooks]\non_message = ["{hook}", "{place}"]\n'


def test_a_hook_loses_nothing_and_does_not_outlive_its_daemon(tmp_path, monkeypatch):
    screen = tmp_path / "screen"
    (tmp_path / "bin").mkdir()
    notify = tmp_path / "bin" / "notify-send"
    notify.write_text(f'#!/bin/sh\necho "$*" >> {screen}\n')
    notify.chmod(0o700)
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    (tmp_path / "key").write_bytes(os.urandom(32))
    bo.secret = ["--key-file", str(tmp_path / "key")]
    with homes(ana, bo):
        by_hand(ana, bo)
        with ana.home.config.open("a") as settings:
            settings.write('[privacy]\norigin = "fast"\n')
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(ana, [ana.lines("send", "bo", f"{CANARY} before the hook")[0]["id"]])
        assert bo.lines("status")[0]["programs"] == {}
        bo.end()
        with bo.home.config.open("a") as settings:
            settings.write(hook_of(tmp_path))
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
        bo.start()

        sent = [f"{CANARY} one", f"{CANARY} wait", f"{CANARY} two"]
        delivered(ana, [ana.lines("send", "bo", text)[0]["id"] for text in sent])
        pid = waiting(tmp_path)
        assert given(tmp_path) == sent[:2]
        assert bo.lines("status")[0]["programs"]["on_message"]["state"] == "running"
        assert bo.end() == 0
        assert not alive(pid), "it ended with its daemon"
        bo.start(locked=True)
        locked = f"{CANARY} while it was locked"
        ana.cli("send", "bo", locked, "--wait", "handed", "--timeout", str(PATIENCE))
        assert bo.lines("status")[0]["programs"] == {}
        bo.cli("unlock", *bo.secret)
        until(lambda: len(given(tmp_path)) == 5)
        assert given(tmp_path)[2:] == [*sent[1:], locked], "what was cut off comes again"

        (tmp_path / "waited").rmdir()
        ana.cli("send", "bo", f"{CANARY} wait again")
        pid = waiting(tmp_path)
        bo.kill()
        os.kill(pid, signal.SIGKILL)  # nobody was left to do it
        ana.cli("send", "bo", f"{CANARY} bad")
        bo.start()
        until(lambda: len(given(tmp_path)) >= 8)
        assert given(tmp_path)[5:8] == [f"{CANARY} wait again"] * 2 + [f"{CANARY} bad"]
        until(lambda: bo.lines("status")[0]["programs"]["on_message"]["failed"] > 0)
        [told] = [line for line in bo.cli("status").splitlines() if line.startswith("hook")]
        assert "1 done" in told
        assert "(it ended with 9)" in told
        assert "WARN hooks" in bo.cli("doctor")

        until(lambda: screen.exists() and "A message has come" in screen.read_text())
        assert "desktop" in bo.lines("status")[0]["programs"]
        for silent in (screen, bo.log):
            assert CANARY not in silent.read_text()
        assert "it ended with 9" in bo.log.read_text()
        bo.end()
        assert "its program may be run" in bo.cli("doctor")
