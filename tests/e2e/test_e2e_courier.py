"""A stick between daemons on hosts without any network: by hand, and by a watched folder."""

import json

import pytest

from p2pnode import schema
from tests.daemons import Daemon, by_hand, delivered, homes, pair, texts
from tests.e2e.test_e2e_stick import all_delivered, receipts_written
from tests.namespaces import networks

network = pytest.fixture(networks)


def test_a_stick_carries_messages_and_receipts_and_a_third_helps(network, tmp_path):
    net = network("a", "b", "c")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(tmp_path, "bo", host=net["b"])
    cy = Daemon(tmp_path, "cy", host=net["c"])
    stick, other = tmp_path / "stick", tmp_path / "other"
    with homes(ana, bo, cy):
        for daemon in (ana, bo, cy):
            daemon.home.config.write_text('[privacy]\norigin = "fast"\n')
            daemon.start()
        for one, two in ((ana, bo), (ana, cy)):
            pair(one, two)
        for host in ("a", "b", "c"):
            net[host].cut()
        for place in (stick, other):
            place.mkdir()
        ids = [ana.lines("send", "bo", f"on a stick {number}")[0]["id"] for number in range(40)]
        done = ana.lines("courier", "write", str(stick))[0]
        assert done["envelopes"] == 40
        assert ana.lines("courier", "write", str(stick))[0]["envelopes"] == 0
        told = ana.lines("why", ids[0])[0]["events"]
        assert [event["kind"] for event in told] == ["saved", "couriered"]
        # A friend who is not the recipient takes it into custody, and hands it on by another stick.
        assert cy.lines("courier", "read", str(stick))[0] == {
            "found": 40,
            "new": 40,
            "opened": 0,
            "refused": 0,
            "schema": 1,
        }
        cy.lines("courier", "write", str(other))
        taken = bo.lines("courier", "read", str(other))[0]
        assert (taken["opened"], taken["refused"]) == (40, 0)
        assert bo.lines("courier", "read", str(stick))[0]["new"] == 0
        assert [text for _, text in texts(bo, "ana")] == [f"on a stick {n}" for n in range(40)]
        waiting = opened = 0
        while not all_delivered(ana, "bo"):  # all are owed together, unless reading took seconds
            waiting = receipts_written(bo, waiting)
            bo.lines("courier", "write", str(stick), "--for", "ana")
            opened += ana.lines("courier", "read", str(stick))[0]["opened"]
        assert opened >= 1
        delivered(ana, ids)
        for path in (*stick.iterdir(), *other.iterdir()):
            assert b"on a stick" not in path.read_bytes()
            assert path.stat().st_mtime == 946_684_800


def test_a_watched_folder_is_a_transport(tmp_path):
    """Two nodes with nothing but a folder that some other program keeps the same."""
    folder = tmp_path / "shared"
    folder.mkdir()
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        for daemon in (ana, bo):
            daemon.start()
        pair(ana, bo)
        for daemon in (ana, bo):
            assert daemon.end() == 0
            daemon.home.config.write_text(
                '[privacy]\norigin = "fast"\n[transports]\nlan = false\n'
                f"[transports.courier]\nwatch = [{json.dumps(str(folder))}]\n"
            )
        ana.start()
        sent = ana.lines("send", "bo", "left in a folder")[0]["id"]
        ana.end()
        ana.start()  # a start looks into the folder at once
        bo.start()
        with bo.client() as client:
            while not texts(bo, "ana"):
                client.call(schema.TakeEvents(consumer="idle", timeout=1))
        assert texts(bo, "ana") == [("ana", "left in a folder")]
        assert ana.lines("status")[0]["transports"]["courier"]["state"] == "up"
        delivered(ana, [sent])


def test_what_a_courier_cannot_do_is_told(tmp_path):
    ana = Daemon(tmp_path, "ana")
    with homes(ana):
        by_hand(ana)
        ana.start()
        assert "does not exist" in ana.cli("courier", "read", str(tmp_path / "no"), code=2)
        file = tmp_path / "file"
        file.write_text("x")
        assert ana.cli("courier", "write", str(file), code=2)
        assert "no contact" in ana.cli("courier", "write", str(tmp_path), "--for", "bo", code=4)
        assert ana.lines("courier", "read", str(tmp_path))[0]["found"] == 0
