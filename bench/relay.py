"""A carrier between two that never meet: how fast envelopes go in, out, and through."""

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.daemons import Daemon, pair, ports_free
from p2pnode import schema
from p2pnode.client import BlockingClient

MESSAGES = 6_000
SETTINGS = (
    '[privacy]\norigin = "fast"\n[transports]\ncourier = false\n[transports.lan]\n'
    'discover = false\ninterfaces = ["lo"]\nport = {port}\npeers = [{peers}]\n'
)


def settle(daemon: Daemon, port: int, peers: list[int]) -> None:
    """Write a daemon's settings."""
    named = ", ".join(f'"127.0.0.1:{one}"' for one in peers)
    daemon.home.config.write_text(SETTINGS.format(port=port, peers=named))


def until(daemon: Daemon, count: int, what: str) -> float:
    """Return the seconds until a daemon's custody, or its inbox, holds that many."""
    began = time.perf_counter()
    with BlockingClient(daemon.home.socket) as client:
        cursor = 0
        seen = 0
        while True:
            if what == "custody":
                if client.call(schema.GetStatus()).custody.count >= count:
                    return time.perf_counter() - began
                time.sleep(0.01)
                continue
            asked = schema.TakeEvents(consumer="bench", after=cursor, limit=1_000, timeout=60)
            for event in client.call(asked).events:
                cursor = event.cursor
                seen += event.kind == "message.received"
            if seen >= count:
                return time.perf_counter() - began


def measure() -> dict[str, Any]:
    """Return envelopes a second into a carrier, out of it, and through it."""
    with tempfile.TemporaryDirectory(prefix="p2pnode-bench-") as place:
        names = ("ana", "bo", "cy")
        ana, bo, cy = daemons = [Daemon(Path(place), name) for name in names]
        try:
            for daemon in daemons:
                daemon.verb("init", "--name", daemon.name, "--no-passphrase")
            first = ports_free(3)
            for own, daemon in enumerate(daemons):
                settle(daemon, first[own], [port for port in first if port != first[own]])
                daemon.start()
            for one, other in ((ana, bo), (bo, cy), (ana, cy)):
                pair(one, other)
            for daemon in daemons:
                daemon.end()
            ports = ports_free(3)  # what they told each other holds no more: ana and cy are apart
            settle(ana, ports[0], [ports[1]])
            settle(bo, ports[1], [])
            settle(cy, ports[2], [ports[1]])
            ana.start()
            with BlockingClient(ana.home.socket) as client:
                for number in range(MESSAGES):
                    client.call(schema.Send(to="cy", text=f"carried {number} " + "x" * 180))
            until(ana, MESSAGES, "custody")
            bo.start()
            half = until(bo, MESSAGES // 2, "custody")
            before = bo.rss()
            taken = half + until(bo, MESSAGES, "custody")
            rss = bo.rss()
            cpu = bo.cpu()
            ana.end()
            cy.start()
            handed = until(cy, MESSAGES, "inbox")
            return {
                "what": f"{MESSAGES} envelopes of 4 KiB by a carrier, durable at each step",
                "into_the_carrier_per_s": MESSAGES / taken,
                "out_of_the_carrier_and_opened_per_s": MESSAGES / handed,
                "carrier_cpu_s_per_1000_in": 1_000 * cpu / MESSAGES,
                "carrier_cpu_s_per_1000_out": 1_000 * (bo.cpu() - cpu) / MESSAGES,
                "carrier_rss_mib": rss,
                "carrier_rss_growth_kib_per_envelope": 1_024 * (rss - before) / (MESSAGES / 2),
            }
        finally:
            for daemon in daemons:
                daemon.end()
