"""Daemons whose only medium is a Tor network, with their own tors under a test's control."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from p2pnode import schema
from tests.daemons import Daemon, homes, texts
from tests.namespaces import NetworkHost
from tests.patience import PATIENCE
from transports.tor.tests.tor_network import Control, TorNetwork, controlling

NO_DAEMON = 3
"""Exit code of a verb that finds no daemon."""


class TorDaemon(Daemon):
    """A daemon that has Tor alone."""

    def configure(self, network: TorNetwork, *lines: str) -> None:
        """Let it know this network and no other medium; lines: more of the transport's table."""
        self.home.config.write_text(
            '[log]\nlevel = "debug"\n[transports]\nlan = false\ncourier = false\n[transports.tor]\n'
            + "".join(f"{line}\n" for line in lines)
            + f"options = {json.dumps(list(network.options))}\n"
        )

    def start_until(self, state: str, detail: str = "") -> None:
        """Run the daemon and wait for a state of its Tor, which may come after the start."""
        self.start()
        end = time.monotonic() + PATIENCE
        while (how := self.state()) != (state, detail):
            assert time.monotonic() < end, how  # each look is a process of its own

    def tor(self) -> AbstractContextManager[Control]:
        """Control its own tor."""
        [path] = self.home.transports.glob("tor/run-*/control")
        return controlling(path)

    def state(self) -> tuple[str, str]:
        """Return how its Tor transport is; "" while it does not answer yet."""
        done = subprocess.run(
            self.command("status", "--json"), capture_output=True, text=True, check=False
        )
        if done.returncode != NO_DAEMON:
            found = json.loads(done.stdout)["transports"]["tor"]
            return found["state"], found["detail"]
        return "", ""

    def checks(self) -> dict[str, dict[str, str]]:
        """Return what doctor tells of Tor, by the name of the check."""
        done = subprocess.run(
            self.command("doctor", "--json"), capture_output=True, text=True, check=False
        )
        found = json.loads(done.stdout)["findings"]
        return {one["name"]: one for one in found if one["area"] == "tor"}

    def write(self, to: str, texts: list[str]) -> list[str]:
        """Queue messages; return their ids."""
        with self.client() as client:
            return [client.call(schema.Send(to=to, text=text)).id for text in texts]

    def heard(self, author: str) -> list[str]:
        """Return what somebody has written, in its order."""
        return [text for told, text in texts(self, author) if told]


@contextmanager
def daemons(
    network: TorNetwork, *names: str, hosts: tuple[NetworkHost, ...] = ()
) -> Iterator[list[TorDaemon]]:
    """Make daemons, not yet running, in a place whose name is short enough for sockets."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p2pn-")))
        made = [
            TorDaemon(root, name, host=hosts[number] if hosts else None)
            for number, name in enumerate(names)
        ]
        stack.enter_context(homes(*made))
        for daemon in made:
            daemon.configure(network)
        yield made


def pair_from_afar(shower: Daemon, joiner: Daemon) -> None:
    """Pair by a code that names an onion."""
    show = shower.command("pair", "show", "--remote", "--json", "--accept")
    with subprocess.Popen(show, stdout=subprocess.PIPE, text=True) as shows:
        assert shows.stdout is not None
        uri = json.loads(shows.stdout.readline())["uri"]
        assert joiner.lines("pair", "join", uri, "--accept")[-1]["event"] == "paired"
        assert json.loads(shows.stdout.readlines()[-1])["event"] == "paired"
