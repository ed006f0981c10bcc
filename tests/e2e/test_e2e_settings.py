"""Settings: looked at, changed with a daemon and without one, and read again while it runs."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pnode import schema
from p2pnode.__main__ import LOCAL
from p2pnode.cli.verbs import group, run
from p2pnode.config import Home
from p2pnode.errors import ConfigError
from tests.daemons import Daemon, by_hand, delivered, homes, pair
from tests.patience import PATIENCE

OWN = "# mine\n[transports]\nlan = false  # quiet\n\n[log]\nlevel = 'info'  # enough\n"


def reloaded(daemon: Daemon) -> schema.Reloaded:
    with daemon.client() as client:
        return client.call(schema.Reload())


def hung_up(daemon: Daemon, line: str) -> None:
    """Send SIGHUP and wait until the log has one more such line."""
    assert daemon.process is not None
    before = daemon.log.read_text().count(line)
    daemon.process.send_signal(signal.SIGHUP)
    until(daemon, lambda: daemon.log.read_text().count(line) > before, line)


def until(daemon: Daemon, reached: Callable[[], bool], what: str) -> None:
    """Wait for what a file shows, which tells nobody of it."""
    with daemon.client() as client:
        for _ in range(int(PATIENCE / 0.05)):
            if reached():
                return
            client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.05))
    pytest.fail(f"waited in vain for {what}")


class Here:
    """The command line without a process of its own: for a home where no daemon runs."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = Home(root)
        self._capsys = capsys

    def cli(self, *words: str, code: int = 0) -> str:
        """Run a verb; return what it printed, or said when it is to fail."""
        assert run(group(LOCAL), ["--home", str(self.home.root), *words]) == code, words
        shown = self._capsys.readouterr()
        return shown.out if code == 0 else shown.err

    def lines(self, *words: str, code: int = 0) -> list[Any]:
        """Run a verb with --json; return its objects."""
        return [json.loads(line) for line in self.cli(*words, "--json", code=code).splitlines()]


def test_settings_without_a_daemon(tmp_path, capsys):
    ana = Here(tmp_path, capsys)
    ana.cli("config", "set", "carry.max_mb", "50")
    ana.cli("config", "set", "transports.courier.watch", '["/media/stick"]')
    ana.cli("config", "set", "node.name", "42")  # a text, although it looks like a number
    assert ana.home.config.read_text() == (
        '[carry]\nmax_mb = 50\n\n[transports.courier]\nwatch = ["/media/stick"]\n\n'
        '[node]\nname = "42"\n'
    )
    assert ana.cli("config", "get", "carry.max_mb") == "50\n"
    assert ana.lines("config", "get", "transports.courier.watch")[0]["value"] == ["/media/stick"]
    shown = {one["key"]: one for one in ana.lines("config")[0]["settings"]}
    assert shown["carry.max_mb"] == {"key": "carry.max_mb", "value": 50, "set": True}
    assert shown["log.level"] == {"key": "log.level", "value": "info", "set": False}
    assert "* carry.max_mb = 50\n" in ana.cli("config", "list")
    before = ana.home.config.read_text()
    assert "Did you mean: carry.max_mb?" in ana.cli("config", "set", "carry.max_mib", "1", code=2)
    told = ana.cli("config", "set", "carry.max_mb", "much", code=8)
    assert "carry.max_mb has a wrong value; nothing was changed" in told
    assert "It takes a number from 1 to 1000000" in told
    told = ana.cli("config", "set", "notify.desktop", "maybe", code=8)
    assert 'It takes "auto", true or false' in told
    assert "wrong value" in ana.cli("config", "set", "transports.lan.port", "80", code=8)
    assert ana.home.config.read_text() == before
    assert "understood" in ana.cli("config", "check")
    ana.home.config.write_text(before + "[transport]\n")
    told = ana.lines("config", "check", code=8)[0]
    assert told["what"] == "config.toml:9 transport unknown"
    assert told["hint"] == 'Did you mean "transports"?'


def test_a_transport_keeps_its_settings_while_it_is_off(tmp_path, capsys):
    ana = Here(tmp_path, capsys)
    ana.cli("config", "set", "transports.tor.options", '["SafeLogging 1"]')
    assert ana.cli("config", "get", "transports.tor") == "false\n"  # a radio is turned on by name
    ana.cli("config", "set", "transports.tor", "true")
    assert ana.cli("config", "get", "transports.tor") == "true\n"
    ana.cli("config", "set", "transports.tor", "false")
    assert ana.cli("config", "get", "transports.tor.options") == '["SafeLogging 1"]\n'
    assert ana.cli("config", "get", "transports.tor") == "false\n"


def test_a_running_daemon_takes_settings_over_and_refuses_bad_ones(tmp_path):
    ana = Daemon(tmp_path, "ana")
    with homes(ana):
        ana.home.config.write_text(OWN)
        ana.start()
        assert "metrics are off" in ana.cli("metrics", code=2)
        assert ana.lines("config", "set", "metrics.enabled", "true")[0]["effect"] == "now"
        assert "p2pnode_uptime_seconds" in ana.cli("metrics")
        assert ana.lines("config", "set", "transports.lan.port", "4001")[0]["effect"] == "now"
        assert ana.cli("config", "get", "transports.lan") == "false\n"
        assert "# quiet" in ana.home.config.read_text()

        text = ana.home.config.read_text()
        ana.home.config.write_text(text + '[carry]\nmax_mb = 7\nfor = "nobody"\n')
        hung_up(ana, "settings reloaded")
        custody = ana.lines("status")[0]["custody"]
        assert (custody["limit"], custody["carries_for"]) == (7_000_000, "nobody")
        ana.home.config.write_text(text + '[carry]\nmax_mb = 8\nfro = "nobody"\n')
        hung_up(ana, "settings refused line=")
        with pytest.raises(ConfigError, match=r"carry\.fro") as caught:
            reloaded(ana)
        assert "for" in caught.value.hint
        assert ana.lines("status")[0]["custody"]["limit"] == 7_000_000
        ana.home.config.unlink()
        assert "carry.max_mb" in reloaded(ana).applied
        assert ana.lines("status")[0]["custody"]["limit"] == 200_000_000
        assert ana.end() == 0


def test_transports_are_turned_off_and_on_while_it_runs(tmp_path):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(ana, [ana.lines("send", "bo", "one")[0]["id"]])
        assert ana.lines("config", "set", "transports.lan", "false")[0]["effect"] == "now"
        assert set(ana.lines("status")[0]["transports"]) == {"courier"}
        until(ana, lambda: ana.lines("status")[0]["links"] == [], "the end of its links")
        sent = ana.lines("send", "bo", "two")[0]["id"]
        assert ana.lines("config", "set", "transports.lan", "true")[0]["effect"] == "now"
        delivered(ana, [sent])
        assert set(ana.lines("status")[0]["transports"]) == {"courier", "lan"}

        place = tmp_path / "shared"
        place.mkdir()
        ana.cli("config", "set", "transports.lan", "false")
        ana.cli("send", "bo", "by folder")
        ana.cli("config", "set", "transports.courier.watch", f'["{place}"]')
        until(ana, lambda: any(place.iterdir()), "the folder to be written")
        ana.cli("config", "set", "transports.courier", "false")
        assert ana.lines("status")[0]["transports"] == {}
        assert "no" in ana.cli("courier", "write", str(place), code=2)
        assert ana.end() == 0


def test_a_locked_daemon_takes_settings_over_too(tmp_path):
    box = Daemon(tmp_path, "box", passphrase="of the box")
    with homes(box):
        box.home.config.write_text(OWN)
        box.start(locked=True)
        box.home.config.write_text(OWN + "[metrics]\nenabled = true\n[carry]\nmax_mb = 7\n")
        assert reloaded(box).applied == ["carry.max_mb", "metrics.enabled"]
        assert "p2pnode_custody_limit_bytes 7000000" in box.cli("metrics")
        box.cli("unlock", *box.secret)
        assert box.lines("status")[0]["custody"]["limit"] == 7_000_000
        assert "p2pnode_contacts 0" in box.cli("metrics")
