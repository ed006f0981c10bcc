"""Real multicast DNS and TCP between network namespaces: finding, losing and finding again."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import p2pnode_lan
import pytest

import p2pnode
from tests.capture import Capture
from tests.namespaces import NetworkHost, networks
from tests.patience import PATIENCE

network = pytest.fixture(networks)

SCRIPT = Path(__file__).with_name("lan_node.py")
PATHS = [Path(module.__file__ or "").parents[1] for module in (p2pnode, p2pnode_lan)]


class Node:
    """A `lan_node.py` in a host; its standard error must stay empty."""

    def __init__(self, host: NetworkHost, **settings: Any) -> None:
        self._process = host.popen(
            [sys.executable, "-X", "dev", "-W", "error", str(SCRIPT), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, PATHS))},
        )
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def command(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def until(self, event: str, test: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
        """Return the next event of a kind that passes the test."""
        end = time.monotonic() + PATIENCE
        while True:
            told = self._next(end)
            if told["event"] == event and test(told):
                return told

    def _next(self, end: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._process.stdout], [], [], left)
            fresh = os.read(self._process.stdout.fileno(), 65_536) if ready else b""
            if not fresh:
                raise AssertionError(f"nothing more after {self.events}; {self._complaints(ready)}")
            self._rest += fresh
        line, _, self._rest = self._rest.partition(b"\n")
        self.events.append(json.loads(line))
        return self.events[-1]

    def _complaints(self, ended: object) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read().decode() if ended else "it runs on"

    def answers(self, address: str) -> bool:
        """Say whether a fresh channel to an address carries a frame there and back."""
        self.command(f"dial {address}")
        if self.until_one_of("dialled", "closed")["event"] == "closed":
            return False
        self.command("say hello")
        return self.until_one_of("echo", "closed").get("text") == "hello"

    def until_one_of(self, *events: str) -> dict[str, Any]:
        """Return the next event of any of these kinds."""
        end = time.monotonic() + PATIENCE
        while True:
            told = self._next(end)
            if told["event"] in events:
                return told

    def kill(self) -> None:
        """End it without a goodbye."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def quit(self) -> None:
        """End it; nothing may be left over and nothing complained of."""
        self.command("quit")
        ended = self.until("ended")
        assert (ended["threads"], ended["files"]) == (0, 0), "threads or files are left over"
        assert self._process.wait(PATIENCE) == 0
        assert self._complaints(True) == ""


def meet(one: Node, other: Node) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what each is told of the other."""
    return one.until("met"), other.until("met")


def test_nodes_find_each_other_and_say_goodbye(network, tmp_path):
    net = network("a", "b")
    with Capture(net["a"], tmp_path / "wire.pcap") as wire:
        a, b = Node(net["a"]), Node(net["b"])
        of_b, of_a = meet(a, b)
        assert sorted((of_a["after"], of_b["after"])) == [0.0, 2.0], "one of them dials at once"
        assert {f"{net['b'].ipv4}%0", f"{net['b'].ipv6}%0"} <= set(of_b["where"])
        assert a.answers(of_b["address"])
        assert b.answers(of_a["address"])
        b.quit()
        assert a.until("lost")["address"] == of_b["address"]
        assert not a.answers(of_b["address"])
        a.quit()
    said = b"".join(wire.payloads().values())
    assert b"_p2pnode" in said
    assert socket.gethostname().encode() not in said, "the machine's own name stays at home"


def test_a_killed_peer_is_gone_without_a_word_and_comes_back_under_a_new_name(network):
    net = network("a", "b")
    a, b = Node(net["a"]), Node(net["b"])
    of_b, _ = meet(a, b)
    assert a.answers(of_b["address"])
    b.kill()
    a.command("say anyone?")
    a.until("closed")
    assert not a.answers(of_b["address"])
    again = Node(net["b"])
    fresh = a.until("met")
    assert fresh["address"] != of_b["address"]
    assert a.answers(fresh["address"])
    again.quit()
    a.quit()


def test_a_channel_lives_through_a_cut_at_the_switch(network):
    net = network("a", "b")
    a, b = Node(net["a"]), Node(net["b"])
    of_b, _ = meet(a, b)
    assert a.answers(of_b["address"])
    net["b"].cut()
    a.command("say late")
    time.sleep(2)  # the cut's length, which is what is tried here
    net["b"].heal()
    assert a.until_one_of("echo", "closed").get("text") == "late"
    assert a.answers(of_b["address"])
    b.quit()
    a.quit()


def test_no_network_at_the_start_and_one_later(network):
    net = network("a", "b")
    net["a"].down()
    a, b = Node(net["a"]), Node(net["b"])
    assert a.until("report", lambda told: told["state"] == "degraded")["detail"]
    a.until("started")
    net["a"].up()
    a.until("report", lambda told: told["state"] == "up")
    of_b, _ = meet(a, b)
    assert a.answers(of_b["address"])
    b.quit()
    a.quit()


def test_without_any_network_nothing_leaks(network):
    net = network("a")
    net["a"].down()
    a = Node(net["a"])
    a.until("started")
    a.quit()


def test_a_new_address_is_announced_under_a_new_name(network):
    net = network("a", "b")
    a, b = Node(net["a"]), Node(net["b"])
    _, of_a = meet(a, b)
    net["a"].add_address("10.77.0.99/24")
    assert b.until("lost")["address"] == of_a["address"], "the old name is taken back"
    fresh = b.until("met", lambda told: "10.77.0.99%0" in told["where"])
    assert b.answers(fresh["address"])
    net["a"].remove_address(f"{net['a'].ipv4}/24")
    assert b.answers(
        b.until("met", lambda told: f"{net['a'].ipv4}%0" not in told["where"])["address"]
    )
    b.quit()
    a.quit()


def test_a_link_that_goes_down_and_up_is_found_again(network):
    net = network("a", "b")
    a, b = Node(net["a"]), Node(net["b"])
    meet(a, b)
    net["a"].down()
    net["a"].up()
    of_b, of_a = meet(a, b)
    assert a.answers(of_b["address"])
    assert b.answers(of_a["address"])
    b.quit()
    a.quit()


def test_link_local_addresses_alone_are_enough(network):
    net = network("a", "b")
    for host in net.hosts.values():
        host.remove_address(f"{host.ipv4}/24")
        host.remove_address(f"{host.ipv6}/64")
    a, b = Node(net["a"]), Node(net["b"])
    of_b, of_a = meet(a, b)
    for told in (of_a, of_b):
        assert all(where.startswith("fe80:") for where in told["where"])
        assert not any(where.endswith("%0") for where in told["where"]), "each has a scope"
    assert a.answers(of_b["address"])
    assert b.answers(of_a["address"])
    b.quit()
    a.quit()


def test_only_named_interfaces_are_used(network):
    net = network("a", "b")
    a, b = Node(net["a"], interfaces=["eth7"]), Node(net["b"])
    assert a.until("report", lambda told: told["state"] == "degraded")["detail"]
    b.until("report", lambda told: told["state"] == "up")
    net["a"].run(["ip", "link", "set", "eth0", "down"])
    net["a"].run(["ip", "link", "set", "eth0", "name", "eth7"])
    net["a"].run(["ip", "link", "set", "eth7", "up"])
    of_b, _ = meet(a, b)
    assert a.answers(of_b["address"])
    b.quit()
    a.quit()
