"""What was acknowledged survives a power cut at any write; a full disk fails a whole batch.

The vault runs on its real, encrypting file layer above a disk that fails at a chosen write.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pnode.errors import StoreError, StoreFull
from p2pnode.store.custody import SCHEMA as CUSTODY
from p2pnode.store.custody import Custody
from p2pnode.store.database import Database
from p2pnode.store.vault import SCHEMA as VAULT
from p2pnode.store.vault import Vault
from tests.fault_vfs import FaultVFS, fault_disk
from tests.store_rows import Rows

KEY = bytes(range(32))
TURNS = 6
SEED = 20_26


@pytest.fixture
def disk() -> FaultVFS:
    return fault_disk("p2pnode-fault")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with one contact and a custody store, closed."""
    folder = tmp_path_factory.mktemp("before")
    rows = Rows()
    vault = Vault.create(folder / "vault.db", KEY)
    contact = rows.contact("Ada")
    device = rows.device(contact.id)
    with vault.transaction():
        vault.contacts.add(contact)
        vault.devices.add(device)
        vault.devices.set_session(device.id, vault.sessions.add(device.id, rows.session()))
    vault.close()
    Custody.create(folder / "custody.db").close()
    return folder


def open_faulty(path: Path, disk: FaultVFS) -> Vault:
    vault = Vault(Database.open(path, VAULT, KEY, vfs=f"multipleciphers-{disk.name}"))
    # Checkpoints belong to the ordeal.
    vault.database.rows("PRAGMA wal_autocheckpoint=16")
    return vault


def send(vault: Vault, number: int) -> None:
    """One turn: message, ratchet and outbox together."""
    rows = Rows(number)
    (device,) = vault.devices.all()
    assert device.session is not None
    ref = vault.messages.add(
        rows.message(device.contact, clock=number, text=f"message {number}" * 20)
    )
    vault.sessions.save(device.session, rows.session(sent=number))
    vault.outbox.add(rows.outbox(message=ref, device=device.id))
    vault.traces.add(ref, 1, "saved", "")


def sound_count(vault: Vault) -> int:
    """Return how many turns the vault holds, after checking that each is there whole; close it."""
    try:
        assert vault.database.check() == []
        (device,) = vault.devices.all()
        assert device.session is not None
        messages = vault.messages.history(device.contact, 1000)
        assert [row.clock for row in messages] == list(range(1, len(messages) + 1))
        assert vault.outbox.counts()[0] == len(messages)
        assert vault.sessions.load(device.session).sent == len(messages)
        with vault.transaction():
            send(vault, len(messages) + 1)
        return len(messages)
    finally:
        vault.close()


def test_store_power_cut_at_every_write_loses_nothing_acknowledged(
    before: Path, disk: FaultVFS, tmp_path: Path
) -> None:
    path = tmp_path / "vault.db"
    points = 0
    while True:
        points += 1
        for old in tmp_path.iterdir():
            old.unlink()
        shutil.copy(before / "vault.db", path)
        disk.arm(points, cut=True, seed=SEED + points)
        acknowledged = 0
        vault = None
        try:
            vault = open_faulty(path, disk)
            for number in range(1, TURNS + 1):
                with vault.transaction():
                    send(vault, number)
                acknowledged = number
            vault.close()
        except StoreError:
            pass
        struck = disk.struck
        disk.arm(-1, cut=True)
        disk.dead = struck  # whatever is left of that process can no longer write
        if vault is not None:
            with contextlib.suppress(StoreError):
                vault.close()
        disk.dead = False
        count = sound_count(open_faulty(path, disk))
        assert acknowledged <= count <= acknowledged + 1, f"seed {SEED + points}"
        if not struck:
            break
    assert points > 100


def test_store_disk_full_at_every_write_fails_one_batch_whole(
    before: Path, disk: FaultVFS, tmp_path: Path
) -> None:
    path = tmp_path / "vault.db"
    points = refused = 0
    while True:
        points += 1
        for old in tmp_path.iterdir():
            old.unlink()
        shutil.copy(before / "vault.db", path)
        disk.arm(-1, cut=False)
        vault = open_faulty(path, disk)
        disk.arm(points, cut=False)
        done = 0
        for _ in range(TURNS):
            try:
                with vault.transaction():
                    for _ in range(2):
                        with vault.savepoint():
                            send(vault, done + 1)
                        done += 1
            except StoreFull:
                refused += 1
                done = len(vault.messages.history(vault.contacts.all()[0].id, 100))
                assert done % 2 == 0
        assert done >= 2 * (TURNS - 1)
        struck = disk.struck
        vault.close()
        disk.arm(-1, cut=False)
        assert sound_count(open_faulty(path, disk)) == done
        if not struck:
            break
    assert points > 100
    assert refused > 50


def test_store_custody_power_cut_keeps_what_was_accepted(
    before: Path, disk: FaultVFS, tmp_path: Path
) -> None:
    path = tmp_path / "custody.db"
    for point in range(1, 1000):
        for old in tmp_path.iterdir():
            old.unlink()
        shutil.copy(before / "custody.db", path)
        disk.arm(point, cut=True, seed=SEED + point)
        accepted: list[bytes] = []
        custody = None
        try:
            custody = Custody(Database.open(path, CUSTODY, vfs=disk.name))
            for number in range(4):
                rows = Rows(number)
                id_ = rows.take(32)
                with custody.transaction():
                    custody.put(id_, rows.take(16), rows.take(4096), 0, 1, b"s" * 8, 100)
                accepted.append(id_)
        except StoreError:
            pass
        struck = disk.struck
        disk.arm(-1, cut=True)
        disk.dead = struck
        if custody is not None:
            with contextlib.suppress(StoreError):
                custody.close()
        disk.dead = False
        custody = Custody(Database.open(path, CUSTODY, vfs=disk.name))
        assert all(custody.has(id_) for id_ in accepted)
        count, size = custody.count_bytes()
        assert len(accepted) <= count <= len(accepted) + 1
        assert size == 4096 * count
        assert custody.database.check() == []
        custody.close()
        if not struck:
            return
    pytest.fail("the run never ended")


CHILD = """
import os, sys
from pathlib import Path
from p2pnode.store.vault import Vault
from tests.crash.test_store_power import KEY, send
vault = Vault.open(Path(sys.argv[1]), KEY)
number = len(vault.messages.history(vault.contacts.all()[0].id, 100_000))
while True:
    number += 1
    with vault.transaction():
        send(vault, number)
    os.write(1, b"%d\\n" % number)
"""


def test_store_killed_process_loses_nothing_acknowledged(before: Path, tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    shutil.copy(before / "vault.db", path)
    root = Path(__file__).parents[2]
    for lines in (1, 3, 10, 30, 60):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert child.stdout is not None
        with child.stdout as told:
            seen = [told.readline() for _ in range(lines)]
            child.send_signal(signal.SIGKILL)
            seen += told.readlines()
        child.wait()
        last = max(int(line) for line in seen if line.endswith(b"\n"))
        count = sound_count(Vault.open(path, KEY))
        assert last <= count <= last + 1
