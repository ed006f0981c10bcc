"""What two daemons with Bluetooth LE alone do on the virtual air, in figures.

    python -m transports.ble.tests.ble_measure

Prints one JSON object. The virtual air has no bit rate of its own: these figures tell what our
side, bleak and the virtual controllers cost, not what a radio carries.
"""

import json
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from p2pnode import schema
from tests.daemons import Daemon, delivered, homes, pair
from transports.ble.tests.ble_daemons import air_of, configure

KIB = 1_024
LONG = "canary " * 8_000


def write(daemon: Daemon, to: str, count: int, text: str = "text") -> list[str]:
    """Send messages and return their ids."""
    with daemon.client() as client:
        return [client.call(schema.Send(to=to, text=f"{text} {n}")).id for n in range(count)]


def processor(*daemons: Daemon) -> float:
    """Return the processor seconds daemons have used."""
    total = 0.0
    for daemon in daemons:
        assert daemon.process is not None
        fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def measured() -> dict[str, float]:
    """Return the figures: seconds, milliseconds, KiB/s and bytes, as their names say."""
    found: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as place,
        air_of(Path(place), "ana", "bo") as (hub, (ana, bo)),
        homes(ana, bo),
    ):
        configure(hub, ana, bo)
        ana.start()
        bo.start()
        began = perf_counter()
        pair(ana, bo)
        found["pair_s"] = perf_counter() - began
        trips = []
        with ana.client() as client:
            for number in range(50):
                began = perf_counter()
                sent = client.call(schema.Send(to="bo", text=f"one {number}"))
                client.call(schema.WaitState(id=sent.id, state="delivered", timeout=60))
                trips.append(1_000 * (perf_counter() - began))
        found["one_by_one_p50_ms"] = statistics.median(trips)
        found["one_by_one_p95_ms"] = sorted(trips)[47]
        before = hub.tell("carried")
        began = perf_counter()
        there, back = write(ana, "bo", 100), write(bo, "ana", 100)
        delivered(ana, there)
        delivered(bo, back)
        found["hundred_each_way_s"] = perf_counter() - began
        found["air_bytes_a_message"] = (hub.tell("carried") - before) / 200
        began = perf_counter()
        delivered(ana, write(ana, "bo", 10, LONG))
        found["large_kib_s"] = 640 / (perf_counter() - began)
        bo.end()
        backlog = write(ana, "bo", 200)
        used = processor(ana)
        began = perf_counter()
        bo.start()
        delivered(ana, backlog[:1])
        first = perf_counter()
        delivered(ana, backlog)
        found["backlog_first_s"] = first - began
        found["backlog_rest_s"] = perf_counter() - first
        found["backlog_kib_s"] = 199 * 4 / found["backlog_rest_s"]
        found["backlog_processor_s"] = processor(ana) - used + processor(bo)
    return {name: round(figure, 2) for name, figure in found.items()}


if __name__ == "__main__":
    print(json.dumps(measured()))
