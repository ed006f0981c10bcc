"""Two daemons whose only common medium is a Tor network: they pair by a code's onion, and write."""

import json
import re
import subprocess

from tests.daemons import Daemon, delivered, homes, texts
from transports.tor.tests import tor_network

private_network = tor_network.private_network


def test_two_daemons_pair_and_write_over_tor_alone(private_network, tmp_path):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        for daemon in (ana, bo):
            place = json.dumps(str(tmp_path / f"{daemon.name}-tor"))
            daemon.home.config.write_text(
                '[log]\nlevel = "debug"\n'
                "[transports]\nlan = false\ncourier = false\n[transports.tor]\n"
                f"data_directory = {place}\noptions = {json.dumps(list(private_network.options))}\n"
            )
            daemon.start()
            assert daemon.lines("status")[0]["transports"]["tor"]["state"] == "up"
        show = ana.command("pair", "show", "--remote", "--json", "--accept")
        with subprocess.Popen(show, stdout=subprocess.PIPE, text=True) as shows:
            assert shows.stdout is not None
            uri = json.loads(shows.stdout.readline())["uri"]
            assert bo.lines("pair", "join", uri, "--accept")[-1]["event"] == "paired"
            assert json.loads(shows.stdout.readlines()[-1])["event"] == "paired"
        there = [ana.lines("send", "bo", f"there {number}")[0]["id"] for number in range(10)]
        back = [bo.lines("send", "ana", f"back {number}")[0]["id"] for number in range(10)]
        delivered(ana, there)
        delivered(bo, back)
        assert [text for author, text in texts(bo, "ana") if author] == [
            f"there {number}" for number in range(10)
        ]
        assert ana.lines("peers")[0]["peers"][0]["over"] == "tor"
        for daemon in (ana, bo):
            said = daemon.log.read_text()
            assert "links up transport=tor kind=contact" in said
            assert not re.search(r"(?i)[a-z2-7]{24}|[0-9a-f]{16}|\d+\.\d+\.\d+\.\d+|onion", said)
