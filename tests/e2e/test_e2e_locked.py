"""A box that runs locked: it relays, tells a thief nothing, and opens what came once unlocked."""

import os
import signal

import pytest

from p2pnode import schema
from p2pnode.protocol.link.keys import of_pass
from tests.daemons import Daemon, delivered, files_below, homes, pair, texts
from tests.e2e.test_e2e_carrying import arrived, marks, memory
from tests.namespaces import networks
from tests.patience import PATIENCE

network = pytest.fixture(networks)

SECRET = "canary-of-what-the-locked-one-carried"
PASSPHRASE = "of the locked one"


def status(daemon: Daemon) -> schema.Status:
    with daemon.client() as client:
        return client.call(schema.GetStatus())


def told_pass(box, people) -> None:
    """Wait until others know the box's pass: it comes with the greeting of a link, and so before
    any message there."""
    for person in people:
        delivered(box, [box.lines("send", person.name, "hello")[0]["id"]])


def test_a_locked_node_relays_and_opens_what_came_when_it_is_unlocked(network, tmp_path):
    net = network("a", "b", "c")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    box = Daemon(tmp_path, "box", host=net["b"], passphrase=PASSPHRASE)
    cy = Daemon(tmp_path, "cy", host=net["c"])
    with homes(ana, box, cy):
        for daemon in (ana, box, cy):
            daemon.home.config.write_text('[privacy]\norigin = "fast"\n')
            daemon.start()
        for one, other in ((ana, box), (box, cy), (ana, cy)):
            pair(one, other)
        told_pass(box, (ana, cy))
        people = [canary for daemon in (ana, box, cy) for canary in marks(daemon)]
        old_pass = box.home.carry_pass.read_bytes()
        assert box.end(signal.SIGKILL) == -signal.SIGKILL  # the power goes
        box.start(locked=True)  # and comes back, with nobody there
        net["c"].cut()
        written = [f"{SECRET} {number}" for number in range(30)]
        ids = [ana.lines("send", "cy", text)[0]["id"] for text in written]
        own = [ana.lines("send", "box", f"for the box {number}")[0]["id"] for number in range(10)]
        with ana.client() as client:
            for message in (*ids, *own):
                client.call(schema.WaitState(id=message, state="handed", timeout=PATIENCE))
            while not (kinds := {one.kind for one in status(ana).links if one.contact == "box"}):
                client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.2))
        assert kinds == {"carrier"}
        assert "box" in ana.lines("why", ids[0])[0]["summary"]
        seen = status(box)
        assert seen.locked
        assert {link.kind for link in seen.links} <= {"friend", "stranger"}
        assert seen.contacts == 0
        assert seen.backup is None
        assert "backup" not in box.cli("status")
        assert seen.custody.count >= len(ids) + len(own)

        # What a thief gets who takes it now: memory and disk name nobody, not even its owner.
        held = memory(box)
        known = of_pass(old_pass, holder=True).current
        assert known in held  # so the scan would see what is there
        for canary in (SECRET.encode(), b"for the box", *people):
            assert canary not in held
            for path, raw in files_below(box.home.root):
                assert canary not in raw, path
        for verb in (["history", "ana"], ["contacts"], ["send", "ana", "x"]):
            assert "locked" in box.cli(*verb, code=7)

        net["a"].cut()
        net["c"].heal()
        assert sorted(arrived(cy, 1 + len(ids))) == sorted(["hello", *written])
        assert [text for _, text in texts(cy, "ana")] == written

        wrong = tmp_path / "wrong"
        wrong.write_text("not the passphrase\n")
        assert "does not open" in box.cli("unlock", "--passphrase-file", str(wrong), code=7)
        assert status(box).locked
        box.cli("unlock", *box.secret)
        assert not status(box).locked
        with box.client() as client:
            while len(texts(box, "ana")) < 1 + len(own):
                client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.2))
        assert [text for author, text in texts(box, "ana") if author] == [
            f"for the box {number}" for number in range(10)
        ]
        assert box.home.carry_pass.read_bytes() != old_pass
        net["a"].heal()
        delivered(ana, own)
        assert box.cli("unlock", *box.secret) == ""  # again is harmless
        assert box.end() == 0


def test_a_key_file_unlocks_and_a_locked_box_survives_its_own_crash(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(os.urandom(64))
    box = Daemon(tmp_path, "box")
    box.lines("init", "--name", "box", "--key-file", str(key))
    try:
        box.start(locked=True)
        assert status(box).locked
        box.kill()
        box.start(locked=True)
        assert "does not open" in box.cli("unlock", "--key-file", str(box.home.custody), code=7)
        assert "both" in box.cli(
            "unlock", "--key-file", str(key), "--passphrase-file", str(key), code=2
        )
        box.cli("unlock", "--key-file", str(key))
        assert box.lines("status")[0]["locked"] is False
        assert "no contact" in box.cli("send", "nobody", "x", code=4)
    finally:
        box.kill()
