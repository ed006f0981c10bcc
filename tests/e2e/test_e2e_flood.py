"""A carrier with a full disk, flooded by a stranger: its contacts notice nothing."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pnode import schema
from p2pnode.home import RESERVED
from p2pnode.protocol.custody import SEEN_COST, STRANGERS_SHARE
from p2pnode.protocol.envelope import envelope_id
from p2pnode.store import keys
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from p2pnode.turns import carry
from tests.daemons import Daemon, delivered, homes, texts
from tests.e2e.test_e2e_carrier_crashes import acquaint
from tests.namespaces import Network, networks
from tests.patience import PATIENCE

network = pytest.fixture(networks)

MESSAGES = 60


@contextmanager
def disk(place: Path, megabytes: int):
    """Mount a disk of this size."""
    place.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(daemon: Daemon) -> tuple[bytes, bytes]:
    """Fill the disk up to what is reserved with what strangers and a contact left; return their
    slots."""
    key = keys.unlock(daemon.home.vault_key, passphrase=None)
    vault = Vault.open(daemon.home.vault, key)
    slots = carry.slot(vault, carry.STRANGERS), carry.slot(vault, b"a contact who has gone")
    now = int.from_bytes((vault.meta.get("clock") or bytes(8))[:8])
    vault.close()
    custody = Custody.open(daemon.home.custody)
    while shutil.disk_usage(daemon.home.root).free > RESERVED:
        with custody.transaction():
            for number in range(100):
                raw = b"\x01" + os.urandom(16) + b"\x03" + os.urandom(4_078)
                slot = slots[number % 2]
                custody.put(envelope_id(raw), raw[1:17], raw, 3, 1, slot, now)
    custody.close()
    return slots


def cpu(daemon: Daemon) -> float:
    """Return the CPU seconds a daemon has used."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status(daemon: Daemon) -> schema.Status:
    with daemon.client() as client:
        return client.call(schema.GetStatus())


def test_contacts_do_not_notice_a_flood_on_a_full_disk(network, tmp_path):
    net = network("a", "b", "c", "z")
    with disk(tmp_path / "small", 48) as small:
        flood(net, small, tmp_path)


def flood(net: Network, small: Path, tmp_path: Path) -> None:
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(small, "bo", host=net["b"])
    cy = Daemon(tmp_path, "cy", host=net["c"])
    with homes(ana, bo, cy):
        acquaint(ana, bo, cy)
        settings = bo.home.config.read_text()
        bo.home.config.write_text(settings + '[carry]\nfor = "everyone"\nmax_mb = 200\n')
        [line] = [line for line in settings.splitlines() if line.startswith("port")]
        port = line.split()[-1]
        fill(bo)
        bo.start()
        before = status(bo)
        assert before.custody.strangers > 0
        used = before.custody.own + before.custody.contacts + before.custody.strangers
        words = [sys.executable, "-m", "tests.flooder", net["b"].ipv4, port]
        hostile = net["z"].popen(words, stdout=subprocess.PIPE)
        try:
            # The flood is on once a paid-for envelope has come and a forged proof was refused.
            assert hostile.stdout is not None
            assert hostile.stdout.readline() == b"paid\n"
            with bo.client() as client:
                while not status(bo).rejected.get("bad-work"):
                    client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.1))
            began = cpu(bo)
            ana.start()
            cy.start()
            sent = [
                ana.lines("send", "cy", f"through the flood {number}")[0]["id"]
                for number in range(MESSAGES)
            ]
            own = [ana.lines("send", "bo", f"own {number}")[0]["id"] for number in range(10)]
            back = [bo.lines("send", "cy", f"back {number}")[0]["id"] for number in range(10)]
            delivered(ana, own)
            delivered(bo, back)
            with cy.client() as client:
                while len(texts(cy, "ana")) < MESSAGES:
                    client.call(schema.TakeEvents(consumer="idle", after=1 << 40, timeout=0.5))
            delivered(ana, sent)
            spent = cpu(bo) - began
            after = status(bo)
        finally:
            hostile.terminate()
            out, _ = hostile.communicate(timeout=PATIENCE)
        counts = json.loads(out)
        print("flood:", counts, "carrier's CPU s:", spent, "refused:", after.rejected)
        assert counts["paid"] > 0
        assert counts["unpaid"] > 100
        got = [text for _, text in texts(cy, "ana")]
        assert got == [f"through the flood {number}" for number in range(MESSAGES)]
        # As configured: the disk's end is the quota's, strangers have their share and make room.
        now = after.custody.own + after.custody.contacts + after.custody.strangers
        assert now <= used + 4_096 + SEEN_COST
        assert after.custody.strangers <= max(before.custody.strangers, 200e6 / STRANGERS_SHARE)
        assert after.custody.strangers < before.custody.strangers
        assert after.rejected["no-credit"] > 0
        assert not after.rejected.get("internal-error")
        assert after.warnings == []
        assert shutil.disk_usage(small).free > RESERVED / 4
        assert all("flood" in text or "own" in text for _, text in texts(bo, "ana"))
