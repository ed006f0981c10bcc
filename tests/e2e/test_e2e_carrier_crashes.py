"""kill -9 of a carrier at any moment loses no envelope it has accepted."""

import json

from p2pnode import schema
from tests.daemons import Daemon, homes, pair, texts
from tests.patience import PATIENCE
from tests.ports import free_port

MESSAGES = 300
KILLS = 50


def address(daemon: Daemon) -> str:
    """Return where a daemon is reached."""
    return "127.0.0.1" if daemon.host is None else daemon.host.ipv4


def acquaint(ana: Daemon, bo: Daemon, cy: Daemon) -> None:
    """Make all three contacts; from then on ana and cy know only bo's address."""
    daemons = (ana, bo, cy)
    ports = {daemon.name: free_port() for daemon in daemons}

    def settle(daemon: Daemon, others: tuple[Daemon, ...]) -> None:
        peers = [f"{address(other)}:{ports[other.name]}" for other in others]
        interfaces = ["lo"] if daemon.host is None else []
        daemon.home.config.write_text(
            '[privacy]\norigin = "fast"\n[transports]\ncourier = false\n[transports.lan]\n'
            f"discover = false\ninterfaces = {json.dumps(interfaces)}\n"
            f"port = {ports[daemon.name]}\npeers = {json.dumps(peers)}\n"
        )

    for daemon in daemons:
        settle(daemon, tuple(other for other in daemons if other is not daemon))
        daemon.start()
    for one, other in ((ana, bo), (bo, cy), (ana, cy)):
        pair(one, other)
    for daemon in daemons:
        assert daemon.end() == 0
    # What was told on links is forgotten with the port, so that ana and cy never meet again.
    for daemon in daemons:
        ports[daemon.name] = free_port()
    settle(ana, (bo,))
    settle(bo, ())
    settle(cy, (bo,))


def test_fifty_kills_of_a_carrier_lose_nothing_it_accepted(tmp_path, chance):
    ana, bo, cy = (Daemon(tmp_path, name) for name in ("ana", "bo", "cy"))
    with homes(ana, bo, cy):
        acquaint(ana, bo, cy)
        ana.start()
        bo.start()
        with ana.client() as client:
            ids = [
                client.call(schema.Send(to="cy", text=f"number {number}")).id
                for number in range(MESSAGES)
            ]
        settings = bo.home.config.read_text()
        for kill in range(KILLS):
            # While it takes envelopes in, and from the middle on while it hands them out as well.
            if kill == KILLS // 2:
                cy.start()
            with bo.client() as client:
                event = schema.TakeEvents(consumer="idle", after=1 << 40)
                for _ in range(chance.randrange(12)):
                    client.call(event)  # a moment of any length, up to a few dozen milliseconds
            assert bo.process is not None
            bo.process.kill()
            bo.process.wait()
            # Every other life of it writes what it takes in batch by batch.
            batches = "on" if kill % 2 else "off"
            bo.home.config.write_text(f'{settings}[store]\nbatch_writes = "{batches}"\n')
            bo.launch()
            bo.ready()
        with ana.client() as client:
            for message in ids:
                client.call(schema.WaitState(id=message, state="handed", timeout=PATIENCE))
        ana.kill()  # from here on only the carrier can bring what is missing
        with cy.client() as client:
            while len(texts(cy, "ana")) < MESSAGES:
                client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.5))
        got = [text for _, text in texts(cy, "ana")]
        assert got == [f"number {number}" for number in range(MESSAGES)]
        assert texts(bo, "ana") == []
        status = bo.lines("status")[0]
        assert status["custody"]["count"] >= MESSAGES
        assert not status["rejected"].get("internal-error")
