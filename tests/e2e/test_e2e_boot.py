"""A box that boots with no network at all and no idea of the time, as a Pi does in a power cut."""

import os
import subprocess
import sys

import pytest

from p2pnode import schema
from tests.daemons import Daemon, by_hand, delivered, homes, pair, texts

LOST_IN_TIME = """
import sys, time
time.time = lambda: 42.0 + time.monotonic() % 1000  # the first minutes of 1970
from p2pnode.__main__ import main
sys.argv[0] = "p2pnode"
main()
"""


def launch_in_the_dark(daemon: Daemon) -> None:
    """Run a daemon where loopback is the only interface, and down, and the clock was never set."""
    words = ["unshare", "--net", sys.executable, "-c", LOST_IN_TIME]
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            [*words, "--home", str(daemon.home.root), "run"], stdin=subprocess.DEVNULL, stderr=log
        )
    daemon.ready()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_it_boots_takes_mail_and_delivers_once_there_is_a_network(tmp_path):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(ana, [ana.lines("send", "bo", "before")[0]["id"]])
        assert ana.end() == 0
        launch_in_the_dark(ana)
        sent = ana.lines("send", "bo", "in the dark")[0]
        assert sent["state"] == "queued"
        with ana.client() as client:
            status = client.call(schema.GetStatus())
            assert status.outbox.count == 1
            found = {
                (one.area, one.name): one.result for one in client.call(schema.Diagnose()).findings
            }
        assert found["clock", "wall clock"] == "warn"
        ana.kill()  # and the power goes once more
        launch_in_the_dark(ana)
        assert ana.lines("status")[0]["outbox"]["count"] == 1
        assert ana.end() == 0
        ana.start()
        delivered(ana, [sent["id"]])
        assert [text for _, text in texts(bo, "ana")] == ["before", "in the dark"]
