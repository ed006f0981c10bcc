"""Two daemons whose only medium is a private Tor network of five relays on loopback, and what onion
services and waiting cost. It says nothing of distances: on the real network add its latency."""

import importlib
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from p2pnode import schema

ONE_BY_ONE = 100
BACKLOG = 1_000
ROUND_TRIPS = 50
BULK = 4_000_000
"""Bytes sent one way over a bare stream."""

IDLE = 60.0
"""Seconds in which nobody writes anything."""

SETTLING = 15.0
"""Seconds after the last descriptor was uploaded, in which tor builds what it keeps."""

ENVELOPE = 4_096
COUNTS = (0, 1, 32, 64)


def counted(span: Callable[[], object]) -> float:
    """Return the seconds something takes."""
    began = time.perf_counter()
    span()
    return time.perf_counter() - began


def one_by_one(daemon: Any, to: str) -> list[float]:
    """Send, wait until it is delivered, and again; return the seconds for each."""
    with daemon.client() as client:

        def once() -> None:
            sent = client.call(schema.Send(to=to, text="x" * 200))
            client.call(schema.WaitState(id=sent.id, state="delivered", timeout=60))

        return [counted(once) for _ in range(ONE_BY_ONE)]


def bare(here: Any, there: Any) -> tuple[float, float]:
    """Return the middle round trip and the bytes a second of a stream without p2pnode, from one
    daemon's tor to an onion service of the other's."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        control = stack.enter_context(there.tor())
        control.ask("SETEVENTS HS_DESC")
        port = server.getsockname()[1]
        told = control.ask(f"ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=1,127.0.0.1:{port}")
        control.until("HS_DESC UPLOADED")
        [door] = here.home.transports.glob("tor/run-*/socks")
        near = stack.enter_context(_through(door, told[0].partition("=")[2] + ".onion"))
        far = stack.enter_context(server.accept()[0])

        def exchange() -> None:
            near.sendall(bytes(ENVELOPE))
            _take(far, ENVELOPE)
            far.sendall(bytes(64))
            _take(near, 64)

        trips = [counted(exchange) for _ in range(ROUND_TRIPS)]

        def bulk() -> None:
            sent = taken = 0
            near.setblocking(False)
            while taken < BULK:
                with suppress(BlockingIOError):
                    sent += near.send(bytes(min(1 << 16, BULK - sent))) if sent < BULK else 0
                taken += len(far.recv(1 << 16))

        return statistics.median(trips), BULK / counted(bulk)


def _through(door: Path, name: str) -> socket.socket:
    """Return a stream to an onion service (SOCKS5, RFC 1928)."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(60)
    stream.connect(str(door))
    stream.sendall(b"\x05\x01\x00")
    _take(stream, 2)
    stream.sendall(b"\x05\x01\x00\x03" + bytes((len(name),)) + name.encode() + b"\x00\x01")
    if _take(stream, 10)[1] != 0:
        raise OSError("the onion service is not reached")
    return stream


def _take(stream: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        fresh = stream.recv(size - len(found))
        if not fresh:
            raise OSError("the stream has ended")
        found += fresh
    return found


def traffic(control: Any) -> int:
    """Return the bytes a tor has read and written."""
    told = control.ask("GETINFO traffic/read traffic/written")
    return sum(int(line.partition("=")[2]) for line in told if line.startswith("traffic/"))


def circuits(control: Any, purpose: str = "") -> int:
    """Return how many circuits a tor holds for a purpose."""
    told = control.ask("GETINFO circuit-status")
    return sum(" BUILT " in line and purpose in line for line in told)


def idle(daemon: Any) -> dict[str, float]:
    """Return what a daemon's tor moves while nothing happens, and the circuits it keeps."""
    with daemon.tor() as control:
        before = traffic(control)
        time.sleep(IDLE)
        return {
            "kB_per_hour": (traffic(control) - before) * 3.6 / IDLE,
            "circuits": circuits(control),
        }


def onions(network: Any, controlling: Any) -> dict[str, dict[str, float]]:
    """Return what one tor takes that serves so many onion services."""
    tor = network.guest("SocksPort 0")
    found: dict[str, dict[str, float]] = {}
    with controlling(tor.control) as control:
        control.ask("SETEVENTS HS_DESC STATUS_CLIENT")
        while "PROGRESS=100" not in control.ask("GETINFO status/bootstrap-phase")[0]:
            control.until("STATUS_CLIENT")
        served = 0
        for count in COUNTS:
            before, uploads, published = traffic(control), 0, set()
            for _ in range(count - served):
                control.ask("ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=1,127.0.0.1:1")
            end = time.monotonic() + (60.0 if count > served else SETTLING)
            for told in control.events(end):
                words = told[0].split()
                uploads += words[1:3] == ["HS_DESC", "UPLOAD"]
                if words[1:3] == ["HS_DESC", "UPLOADED"]:
                    published.add(words[3])
                if len(published) == count - served and published:
                    break
            for told in control.events(time.monotonic() + SETTLING):
                uploads += told[0].split()[1:3] == ["HS_DESC", "UPLOAD"]
            added = max(count - served, 1)
            served = count
            found[str(count)] = {
                "rss_mib": _rss(tor.process.pid),
                "introduction_circuits": circuits(control, "HS_SERVICE_INTRO"),
                "circuits": circuits(control),
                "uploads_for_each": uploads / added,
                "kB_for_each_to_publish": (traffic(control) - before) / 1e3 / added,
            }
    return found


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure() -> dict[str, Any]:
    """Return the figures, or why there are none here."""
    try:
        world: Any = importlib.import_module("transports.tor.tests.tor_network")
        people: Any = importlib.import_module("transports.tor.tests.tor_daemons")
        delivered: Any = importlib.import_module("tests.daemons").delivered
    except ImportError:
        return {"skipped": "the Tor transport is not here"}
    if world.missing():
        return {"skipped": world.missing()}
    with ExitStack() as stack:
        network = stack.enter_context(world.network_on_loopback())
        ana, bo = stack.enter_context(people.daemons(network, "ana", "bo"))
        cold = [counted(daemon.start) for daemon in (ana, bo)]
        alone = idle(ana)
        contact = counted(lambda: people.pair_from_afar(ana, bo))
        first = counted(lambda: delivered(ana, ana.write("bo", ["first"])))
        one_by_one(ana, "bo")
        took = one_by_one(ana, "bo")
        with_contact = idle(ana)
        trip, rate = bare(ana, bo)
        bo.end()
        waiting = ana.write("bo", [f"{number} " + "x" * 190 for number in range(BACKLOG)])
        back = counted(bo.start)
        backlog = counted(lambda: delivered(ana, waiting))
        p50 = statistics.median(took)
        return {
            "what": __doc__,
            "start_to_up_s": min(cold),
            "code_shown_to_paired_s": contact,
            "first_message_after_that_s": first,
            "cold_start_to_first_message_s": max(cold) + contact + first,
            "one_by_one_p50_ms": 1e3 * p50,
            "one_by_one_p95_ms": 1e3 * statistics.quantiles(took, n=20)[18],
            "bare_round_trip_p50_ms": 1e3 * trip,
            "one_by_one_in_bare_round_trips": p50 / trip,
            "backlog_start_s": back,
            "backlog_after_start_s": backlog,
            "backlog_per_s_start_included": BACKLOG / (back + backlog),
            "bare_kB_per_s": rate / 1e3,
            "backlog_share_of_bare": BACKLOG * ENVELOPE / backlog / rate,
            "idle": alone,
            "idle_with_a_contact": with_contact,
            "idle_is": "with a consensus every 20 s; the real network has one an hour",
            "onion_services": onions(network, world.controlling),
        }
