"""What a node says about itself, in its log at every level and in its metrics, names nobody."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pnode import schema
from p2pnode.errors import LocalError
from tests.daemons import HOST_NAME, Daemon, delivered, homes, pair
from tests.e2e.test_e2e_carrying import arrived, marks
from tests.namespaces import NetworkHost, networks
from tests.patience import PATIENCE
from tests.ports import free_port

network = pytest.fixture(networks)

TEXT = "canary-of-the-text"
PERSON = "canary-of-the-user"
STICK = "canary-of-the-stick"
UNKNOWN = "canary-of-nobody"
SECRET = "canary-of-the-passphrase"

SHAPES = {
    "IPv4": rb"\d+\.\d+\.\d+\.\d+",
    "IPv6": rb"[0-9a-f]*::[0-9a-f]",
    "MAC": rb"(?:[0-9a-f]{2}:){3}",
    "key or id": rb"[A-Za-z2-7]{24}|[0-9a-f]{16}",
    "path": rb"/[a-z]+/[a-z]+",
}
"""What no line may look like, whoever it would name."""

HOSTILE = """
import socket, sys
for first in (b"\\0\\0\\0\\x20" + bytes(32), b"\\xff" * 64, b"GET / HTTP/1.1\\r\\n\\r\\n",
              b"\\0\\0\\0\\x60" + b"\\x01canary-of-the-text" * 8):
    for _ in range(3):
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 180) as sock:
            sock.settimeout(10)
            try:
                sock.sendall(first)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            except OSError:
                pass
"""


def configure(daemon: Daemon, level: str, port: int) -> None:
    daemon.home.config.write_text(
        f'[log]\nlevel = "{level}"\n[metrics]\nenabled = true\n[privacy]\norigin = "fast"\n'
        f"[transports.lan]\nport = {port}\n"
        f'[transports.courier]\nwatch = ["/{PERSON}/{STICK}"]\n'
        f'[hooks]\non_message = ["/{PERSON}/{UNKNOWN}", "{TEXT}"]\n'
    )


def settings_are_read_again(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call(schema.Reload())


def hostile(host: NetworkHost, victim: Daemon, port: int) -> None:
    """Send what is no link to a node, and what is no call to its API."""
    assert victim.host is not None
    host.run([sys.executable, "-c", HOSTILE, victim.host.ipv4, str(port)])
    with victim.client() as client:
        for request in (
            schema.Send(to=UNKNOWN, text=TEXT),
            schema.JoinCode(uri=f"P2PNODE:{UNKNOWN}"),
            schema.ReadCourier(place=f"/{PERSON}/{STICK}"),
            schema.GetHistory(contact=UNKNOWN),
        ):
            with pytest.raises(LocalError):
                client.call(request)


def bad_settings(daemon: Daemon) -> None:
    """Let a node read settings that cannot be used; it keeps those it has."""
    good = daemon.home.config.read_text()
    daemon.home.config.write_text(good + f'[hoax]\n{UNKNOWN} = "{TEXT}"\n')
    with pytest.raises(LocalError, match="hoax"):
        settings_are_read_again(daemon)
    daemon.home.config.write_text(good)


def fill(daemon: Daemon, small: Path) -> None:
    """Let a node's disk run full, and have room again."""
    filler = small / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    with daemon.client() as client, pytest.raises(LocalError, match="full"):
        for number in range(1_000):
            client.call(schema.Send(to="bo-canary", text=f"{TEXT} {number}"))
    filler.unlink()


def test_neither_log_nor_metrics_name_anybody_at_any_level(network, tmp_path):
    net = network("a", "b", "c", "x")
    root = tmp_path / PERSON
    root.mkdir()
    small = root / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], check=True)
    try:
        _live(net, root, small)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def _live(net, root: Path, small: Path) -> None:
    ana = Daemon(root, "ana-canary", host=net["a"])
    bo = Daemon(root, "bo-canary", host=net["b"], passphrase=SECRET)
    cy = Daemon(small, "cy-canary", host=net["c"])
    cy.log = root / "cy-canary.log"
    people = (ana, bo, cy)
    ports = {daemon.name: free_port() for daemon in people}
    wrong = root / "wrong"
    wrong.write_text("canary-of-the-wrong-one\n")
    with homes(*people):
        for daemon in people:
            configure(daemon, "debug", ports[daemon.name])
            daemon.start()
        codes = [pair(*two)[0][0]["uri"] for two in ((ana, bo), (bo, cy), (ana, cy))]
        [bo_tag] = [one["tag"] for one in ana.lines("peers")[0]["peers"] if one["name"] == bo.name]
        identities = [mark for daemon in people for mark in marks(daemon)]
        net["c"].cut()
        ids = [ana.lines("send", cy.name, f"{TEXT} {number}")[0]["id"] for number in range(5)]
        with ana.client() as client:
            for message in ids:
                client.call(schema.WaitState(id=message, state="handed", timeout=PATIENCE))
        assert f"peer={bo_tag} " in ana.log.read_text()  # there is a link, for it carries
        net["a"].cut()
        net["c"].heal()
        arrived(cy, len(ids))
        net["a"].heal()
        delivered(ana, ids)
        stick = root / STICK
        stick.mkdir()
        ana.cli("courier", "write", str(stick))
        bo.cli("courier", "read", str(stick))
        fill(cy, small)
        bo.end(signal.SIGKILL)
        bo.start(locked=True)
        assert "does not open" in bo.cli("unlock", "--passphrase-file", str(wrong), code=7)
        bo.cli("unlock", *bo.secret)
        metrics = []
        for level in ("debug", "info", "warning", "error"):
            for daemon in people:
                configure(daemon, level, ports[daemon.name])
                settings_are_read_again(daemon)
                bad_settings(daemon)
                with daemon.client() as client:
                    metrics.append(client.call(schema.GetMetrics()).text)
            hostile(net["x"], bo, ports[bo.name])
            with ana.client() as client:
                last = client.call(schema.Send(to=bo.name, text=TEXT)).id
            delivered(ana, [last])
        assert all(daemon.end() == 0 for daemon in people)
    said = {daemon.name: daemon.log.read_bytes() for daemon in people}
    _told_what_matters(said, "".join(metrics))
    forbidden = [
        *(mark.encode() for mark in (TEXT, PERSON, STICK, UNKNOWN, SECRET, HOST_NAME, "canary")),
        *(code.encode() for code in codes),
        *(message.encode() for message in ids),
        *identities,
        b"10.77.0.",
        b"fd77:",
        b"fe80:",
    ]
    for name, text in {**said, "metrics": "".join(metrics).encode()}.items():
        for mark in forbidden:
            assert mark not in text, (name, mark)
        for shape, pattern in SHAPES.items():
            assert not re.search(pattern, text), (name, shape, re.search(pattern, text))


def _told_what_matters(said: dict[str, bytes], metrics: str) -> None:
    """The scan is worth something only if there was much to see."""
    log = b"".join(said.values()).decode()
    for line in (
        r"info +daemon ready seconds=\S+ locked=true",
        r"info +daemon unlocked",
        r"warning daemon unlock.refused reason=wrong-passphrase",
        r"info +transports state transport=lan state=up",
        r"debug +links up transport=lan kind=contact peer=c:[0-9a-f]{4} dialled=\w+ link=\d+",
        r"debug +links up transport=lan kind=pairing",
        r"debug +links down transport=lan why=closed",
        r"warning links refused reason=bad-\S+ transport=lan",
        r"error +store refused reason=store-full turns=\d+",
        r"error +settings refused line=\d+",
        r"info +settings reloaded",
        r'warning automation hook.refused why="it is not there"',
    ):
        assert re.search(line, log), (line, log[-8_000:])
    for sample in ('refused_total{reason="', 'links_total{transport="lan",kind="contact"}'):
        assert f"p2pnode_{sample}" in metrics
