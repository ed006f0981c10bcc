"""What may happen to tor while two daemons talk, and how long it takes until they talk again.

    python -m transports.tor.tests.tor_faults       # two minutes of absence; JSON with the seconds

The tests run the same with a shorter absence. Every fault comes while messages are under way both
ways; none may be lost, doubled or disordered, and nobody helps.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count

from p2pnode.protocol import limits
from tests.daemons import delivered
from tests.patience import PATIENCE, until
from transports.tor.tests.tor_daemons import TorDaemon, daemons, pair_from_afar
from transports.tor.tests.tor_network import TorNetwork, missing, network_on_loopback

LONG = 120.0
"""Seconds the peer is gone when this runs as a script."""


class Talk:
    """Two daemons that write to each other, numbered, and what must have come of it."""

    def __init__(self, ana: TorDaemon, bo: TorDaemon) -> None:
        self.ana, self.bo = ana, bo
        self._numbers = count()
        self._sent: dict[str, list[str]] = {"ana": [], "bo": []}
        self._waiting: list[tuple[TorDaemon, list[str]]] = []

    def write(self, author: TorDaemon, size: int = 5) -> None:
        """Queue some messages for the other one."""
        to = "bo" if author is self.ana else "ana"
        texts = [f"{author.name} {next(self._numbers)}" for _ in range(size)]
        self._sent[author.name] += texts
        self._waiting.append((author, author.write(to, texts)))

    def comes_through(self) -> None:
        """Wait until all is delivered: once, and in order."""
        for author, ids in self._waiting:
            delivered(author, ids)
        self._waiting.clear()
        assert self.bo.heard("ana") == self._sent["ana"]
        assert self.ana.heard("bo") == self._sent["bo"]


@contextmanager
def talking(network: TorNetwork) -> Iterator[Talk]:
    """Run two daemons that have paired over Tor."""
    with daemons(network, "ana", "bo") as (ana, bo):
        for daemon in (ana, bo):
            daemon.start()
        pair_from_afar(ana, bo)
        yield Talk(ana, bo)


def kill_tor(victim: TorDaemon) -> None:
    """Kill the tor of a daemon."""
    with victim.tor() as control:
        [told, *_] = control.ask("GETINFO process/pid")
        os.kill(int(told.partition("=")[2]), signal.SIGKILL)


def set_network(victim: TorDaemon, *, on: bool) -> None:
    """Switch the network of a daemon's tor; return when the daemon knows."""
    with victim.tor() as control:
        control.ask(f"SETCONF DisableNetwork={int(not on)}")
    until(lambda: (victim.state()[1] == "no network: switched off in tor") != on)


@contextmanager
def keeps_dialling(author: TorDaemon, seconds: float) -> Iterator[None]:
    """Let so much time pass after the body, and more until a daemon's tor is asked for an onion.

    Tor may hide for a while that the other end is gone: a link that seems to stand is as good,
    until its keep-alive tells.
    """
    with author.tor() as control:
        control.ask("SETEVENTS STREAM")
        yield
        told = control.ask("GETINFO stream-status")  # a dial may be under way from before
        told += [event[0] for event in control.events(time.monotonic() + seconds)]
        end = time.monotonic() + PATIENCE
        while not any(".onion:" in line and "SUCCEEDED" not in line for line in told):
            status = author.lines("status")[0]
            if seconds <= limits.DEAD_AFTER and status["links"]:
                break
            assert time.monotonic() < end, (told, status)
            told += [event[0] for event in control.events(time.monotonic() + 1.0)]


def faults(talk: Talk, daemon_gone: float, tor_gone: float) -> dict[str, Callable[[], float]]:
    """Return what happens, by name; each returns when it was over, or with a kill when it came."""
    ana, bo = talk.ana, talk.bo

    def killed(victim: TorDaemon) -> float:
        began = time.monotonic()
        kill_tor(victim)
        return began

    def without_network(victim: TorDaemon, seconds: float) -> float:
        other = bo if victim is ana else ana
        with keeps_dialling(other, seconds) if seconds else nullcontext():
            set_network(victim, on=False)
            talk.write(ana)
            talk.write(bo)
        began = time.monotonic()
        set_network(victim, on=True)
        return began

    def absent() -> float:
        with keeps_dialling(ana, daemon_gone):
            bo.end()
            talk.write(ana)
        began = time.monotonic()
        bo.start()
        return began

    return {
        "tor killed": lambda: killed(ana),
        "tor of the other killed": lambda: killed(bo),
        "network of tor off, and on": lambda: without_network(ana, 0.0),
        f"network of the other's tor off for {tor_gone:.0f} s": lambda: without_network(
            bo, tor_gone
        ),
        f"the other's daemon gone for {daemon_gone:.0f} s, its start included": absent,
    }


def recoveries(talk: Talk, *, daemon_gone: float, tor_gone: float) -> dict[str, float]:
    """Let everything happen; return the seconds until what was written then and before is there."""
    talk.write(talk.ana)
    talk.write(talk.bo)
    talk.comes_through()
    found = {}
    for name, happen in faults(talk, daemon_gone, tor_gone).items():
        began = happen()
        talk.write(talk.ana)
        talk.write(talk.bo)
        talk.comes_through()
        found[name] = round(time.monotonic() - began, 1)
    return found


def main() -> None:
    """Run with the long absences and print what was seen."""
    if missing():
        sys.exit(missing())
    with ExitStack() as stack:
        talk = stack.enter_context(talking(stack.enter_context(network_on_loopback())))
        found = recoveries(talk, daemon_gone=LONG, tor_gone=LONG)
        what = "seconds until two daemons over a private Tor network talk again, both ways"
        print(json.dumps({"what": what, "recovery_s": found}, indent=1))


if __name__ == "__main__":
    main()
