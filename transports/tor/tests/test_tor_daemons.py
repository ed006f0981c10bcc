"""Daemons whose only common medium is a Tor network."""

import json
import re
import shutil
import socket
from pathlib import Path

import pytest

from tests.daemons import delivered, homes
from tests.patience import until
from transports.tor.tests import tor_network
from transports.tor.tests.tor_daemons import TorDaemon, daemons, pair_from_afar
from transports.tor.tests.tor_faults import Talk, recoveries, talking

private_network = tor_network.private_network


def test_two_daemons_pair_and_write_over_tor_alone(private_network):
    with daemons(private_network, "ana", "bo") as (ana, bo):
        for daemon in (ana, bo):
            daemon.start_until("up")
        pair_from_afar(ana, bo)
        talk = Talk(ana, bo)
        talk.write(ana, 100)
        talk.write(bo, 100)
        talk.comes_through()
        until(lambda: ana.lines("peers")[0]["peers"][0]["over"] == "tor")
        bo.end()
        talk.write(ana, 1_000)
        bo.start()
        talk.comes_through()
        assert {one["result"] for one in ana.checks().values()} == {"pass"}
        for daemon in (ana, bo):
            said = daemon.log.read_text()
            assert "links up transport=tor kind=contact" in said
            assert not re.search(r"(?i)[a-z2-7]{24}|[0-9a-f]{16}|\d+\.\d+\.\d+\.\d+|onion", said)


def test_everything_recovers_by_itself(private_network):
    """Longer absences: make faults-tor."""
    with talking(private_network) as talk:
        assert len(recoveries(talk, daemon_gone=3.0, tor_gone=12.0)) == 5


def test_a_removed_contact_reaches_nobody(private_network):
    """The key that was his opens nothing any more, whatever his tor remembers, and neither does the
    place of the code he has paired by."""
    with daemons(private_network, "ana", "bo") as (ana, bo):
        for daemon in (ana, bo):
            daemon.start()
        pair_from_afar(ana, bo)
        delivered(ana, ana.write("bo", ["while we are friends"]))
        knocks_in_vain(ana, bo, "remove", "bo", "--yes")


def test_a_blocked_contact_reaches_nobody_until_he_is_let_in_again(private_network):
    """By the very address he had, also when the node that blocked him has restarted meanwhile."""
    with daemons(private_network, "ana", "bo") as (ana, bo):
        for daemon in (ana, bo):
            daemon.start()
        pair_from_afar(ana, bo)
        delivered(ana, ana.write("bo", ["while we are friends"]))
        knocks_in_vain(ana, bo, "block", "bo")
        waiting = bo.write("ana", ["hello?"])
        ana.end()
        ana.start()
        assert ana.checks()["onions"]["detail"] == "none wanted"
        ana.cli("contacts", "unblock", "bo")
        delivered(bo, waiting)
        delivered(ana, ana.write("bo", ["friends again"]))


def knocks_in_vain(ana: TorDaemon, bo: TorDaemon, *ends: str) -> None:
    """End a friendship with a verb of `contacts`; see that what bo's node tries leads nowhere."""
    with bo.tor() as his:
        his.ask("SETEVENTS STREAM")
        ana.cli("contacts", *ends)
        until(lambda: ana.checks()["onions"]["detail"] == "none wanted")
        before = ana.lines("status")[0]["rejected"]
        his.forget()  # one dial may have come in before her tor was told
        tried: set[str] = set()
        in_vain = 0
        for told in his.events():  # he has the addresses still, and dials
            _, _, stream, state, _, target, *_ = told[0].split()
            if state == "NEW" and ".onion:" in target:
                tried.add(stream)
            if stream in tried:
                assert state != "SUCCEEDED"
                if state == "CLOSED":
                    in_vain += 1
            if in_vain == 2:
                break
    status = ana.lines("status")[0]
    assert status["rejected"] == before
    assert status["links"] == []


# How it is, and what would mend it ----------------------------------------------------------------


@pytest.fixture
def ana(tmp_path):
    """A daemon with no network to go to; not yet configured."""
    if shutil.which("tor") is None:
        pytest.skip("not installed: tor (apt install tor)")
    daemon = TorDaemon(tmp_path, "ana")
    with homes(daemon):
        yield daemon


TABLE = "[transports]\nlan = false\ncourier = false\n[transports.tor]\n"


@pytest.mark.parametrize(
    ("line", "detail", "result", "fix"),
    [
        ('mode = "off"', "switched off", "skip", 'set mode = "auto" to use Tor'),
        (
            'mode = "own"\nprogram = "no-such-tor"',
            "tor is not installed",
            "fail",
            "apt install tor",
        ),
    ],
)
def test_without_tor_the_node_runs_and_says_so_once(ana, line, detail, result, fix):
    ana.home.config.write_text(TABLE + line)
    ana.start()
    assert ana.state() == ("off", detail)
    assert ana.lines("contacts") == [{"contacts": [], "schema": 1}]
    told = ana.checks()["program"]
    assert (told["result"], told["detail"]) == (result, detail)
    assert told["fix"].endswith(fix)
    assert ana.end() == 0
    log = ana.log.read_text()
    assert log.count(detail) == 1
    assert log.count("p2pnode doctor") == 1


def test_doctor_tells_how_to_turn_tor_on(ana):
    ana.home.config.write_text("[transports]\nlan = false\n")
    for running in (False, True):
        if running:
            ana.start()
        [told] = ana.checks().values()
        assert (told["result"], told["detail"]) == ("skip", "off")
        assert told["fix"] == "to turn it on: p2pnode config set transports.tor true"


def test_status_tells_how_far_tor_is(ana):
    """The only authority takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        options = [
            "TestingTorNetwork 1",
            f"DirAuthority silent orport={port} v3ident={'1' * 40} 127.0.0.1:{port} {'2' * 40}",
        ]
        ana.home.config.write_text(f"{TABLE}options = {json.dumps(options)}\n")
        ana.launch()
        # On a slow machine it is "degraded" and "still starting" by the next look.
        until(lambda: re.search(r"[1-9]\d? %$", ana.state()[1]))
        assert re.search(r"tor \w+ \(.*\d+ %\)", ana.cli("status"))
        told = ana.checks()["bootstrap"]
        assert told["result"] == "fail"
        assert re.fullmatch(r"\d+ % connected", told["detail"])
        assert "bridges" in told["fix"]
        ana.end()


def test_no_tor_runs_while_the_vault_is_locked(tmp_path):
    """It would serve no onion and know no address, and tell a guard that somebody is there."""
    if shutil.which("tor") is None:
        pytest.skip("not installed: tor (apt install tor)")
    locked = TorDaemon(tmp_path, "locked", passphrase="of the one with tor")
    with homes(locked):
        locked.home.config.write_text(f'{TABLE}options = ["DisableNetwork 1"]\n')
        locked.start(locked=True)
        assert locked.state() == ("off", "needs the open vault")
        [told] = locked.checks().values()
        assert (told["result"], told["fix"]) == ("skip", "p2pnode unlock")
        assert not (locked.home.transports / "tor").exists()
        locked.home.config.write_text(f'{TABLE}options = ["DisableNetwork 1", "SafeLogging 1"]\n')
        locked.cli("config", "reload")
        assert locked.state() == ("off", "needs the open vault")
        locked.cli("unlock", *locked.secret)
        until(lambda: locked.state() == ("degraded", "no network: switched off in tor"))
        assert programs_of(locked) == ["tor"]
        locked.cli("lock")
        assert locked.state() == ("off", "needs the open vault")
        assert programs_of(locked) == []
        locked.end()


def programs_of(daemon: TorDaemon) -> list[str]:
    """Return the names of the programs a daemon has started and that still run."""
    assert daemon.process is not None
    tasks = Path(f"/proc/{daemon.process.pid}/task").glob("*/children")
    children = [child for task in tasks for child in task.read_text().split()]
    return [Path(f"/proc/{child}/comm").read_text().strip() for child in children]


def test_settings_tor_refuses_are_named(ana):
    ana.home.config.write_text(f'{TABLE}options = ["NoSuchOption 1"]\n')
    ana.start_until("degraded", "misconfigured: tor refuses its settings")
    assert ana.checks()["process"]["result"] == "fail"


def test_what_tor_keeps_lies_in_the_home(ana):
    ana.home.config.write_text(f'{TABLE}options = ["DisableNetwork 1"]\n')
    ana.start_until("degraded", "no network: switched off in tor")
    kept = ana.home.transports / "tor"
    assert (kept / "state").exists()
    for place in (ana.home.transports, kept):
        assert place.stat().st_mode & 0o777 == 0o700
    ana.kill()
    ana.start()
    ana.end()
    assert not list(kept.glob("run-*")), "nor does a killed run leave its sockets behind"
