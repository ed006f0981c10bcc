"""The test network itself: reachability, cuts, capture, and cleaning up after a crash."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture import Capture
from tests.namespaces import LOCKS, NetworkHost, networks, sweep
from tests.patience import PATIENCE

network = pytest.fixture(networks)

ROOT = Path(__file__).resolve().parents[2]

LISTEN = """
import socket, sys
with socket.create_server(("::", 4000), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as one:
            one.sendall(b"can" + b"x" * 3000 + b"canary-5d1f")
"""

FETCH = """
import socket, sys
with socket.create_connection((sys.argv[1], 4000), timeout=float(sys.argv[2])) as one:
    while one.recv(65536):
        pass
print("fetched")
"""


def listening(host: NetworkHost) -> None:
    server = host.popen([sys.executable, "-c", LISTEN], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"


def fetches(host: NetworkHost, address: str, patience: float = PATIENCE) -> bool:
    words = [sys.executable, "-c", FETCH, address, str(patience)]
    done = subprocess.run(host.command(words), capture_output=True, text=True)
    return done.stdout == "fetched\n"


def test_hosts_reach_each_other_until_cut(network):
    net = network("a", "b")
    listening(net["b"])
    for address in (net["b"].ipv4, net["b"].ipv6):
        assert fetches(net["a"], address)
    net["b"].cut()
    assert not fetches(net["a"], net["b"].ipv4, patience=2.0)
    net["b"].heal()
    assert fetches(net["a"], net["b"].ipv4)
    net["a"].down()
    assert not fetches(net["a"], net["b"].ipv4, patience=2.0)
    net["a"].up()
    net["b"].add_address("10.77.0.99/24")
    assert fetches(net["a"], "10.77.0.99")


def test_networks_do_not_see_each_other(network):
    one, two = network("a"), network("a", "b")
    listening(two["b"])
    assert fetches(two["a"], two["b"].ipv4)
    assert not fetches(one["a"], two["b"].ipv4, patience=2.0)


def test_capture_joins_what_spans_segments(network, tmp_path):
    net = network("a", "b")
    listening(net["b"])
    with Capture(net["a"], tmp_path / "wire.pcap") as wire:
        assert fetches(net["a"], net["b"].ipv4)
        assert fetches(net["a"], net["b"].ipv6)
    answers = {
        flow[1]: payload
        for flow, payload in wire.payloads().items()
        if flow[:1] + flow[2:3] == ("tcp", 4000)
    }
    assert set(answers) == {net["b"].ipv4, net["b"].ipv6}
    for payload in answers.values():
        assert payload == b"can" + b"x" * 3000 + b"canary-5d1f"


def test_a_killed_run_is_swept_up(network):
    network("probe")  # skips where namespaces cannot be made
    script = (
        "import os, sys\n"
        "from tests.namespaces import LOCKS, Network\n"
        "net = Network('a').__enter__()\n"
        "import subprocess\nquiet = subprocess.DEVNULL\n"
        "net['a'].popen(['sleep', '1000'], stdout=quiet, stderr=quiet)\n"
        "assert (LOCKS / net.name).exists()\n"
        "print(net.name, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    name = killed.stdout.strip()
    assert name, killed.stderr
    sweep()  # if the run beside this one has not done it already
    assert not (LOCKS / name).exists()
    assert (
        name not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    )
