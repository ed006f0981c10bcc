"""What this machine can do at all: the floor every other figure is held against."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from p2pnode.engine.entropy import OsEntropy
from p2pnode.protocol import primitives
from p2pnode.store.vault import Vault

SPAN = 0.5
"""Seconds each figure is measured for."""


def rate(once: Callable[[], object], span: float = SPAN) -> float:
    """Return how often a second `once` can run."""
    once()
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < span:
        once()
        count += 1
    return count / took


def crypto() -> dict[str, float]:
    """Return operations a second of the primitives."""
    entropy = OsEntropy()
    key, nonce, body = os.urandom(32), os.urandom(24), os.urandom(4096)
    sealed = primitives.seal(key, nonce, body, b"")
    private, public = os.urandom(32), primitives.x25519_public(os.urandom(32))
    seed = os.urandom(64)
    kem = entropy.kem_public(seed)
    _, ciphertext = entropy.encapsulate(kem)
    return {
        "x25519": rate(lambda: primitives.x25519(private, public)),
        "mlkem768_encapsulate": rate(lambda: entropy.encapsulate(kem)),
        "mlkem768_decapsulate": rate(lambda: entropy.decapsulate(seed, ciphertext)),
        "xchacha20poly1305_seal_4KiB": rate(lambda: primitives.seal(key, nonce, body, b"")),
        "xchacha20poly1305_open_4KiB": rate(
            lambda: primitives.open_sealed(key, nonce, sealed, b"")
        ),
        "blake2b_4KiB": rate(lambda: primitives.digest(b"bench", body)),
    }


def commits(place: Path) -> dict[str, float]:
    """Return durable writes a second: bare, and of one 4 KiB row in an encrypted vault."""
    descriptor = os.open(place / "bare", os.O_RDWR | os.O_CREAT)
    block = os.urandom(4096)
    os.write(descriptor, block)

    def bare() -> None:
        os.pwrite(descriptor, block, 0)
        os.fdatasync(descriptor)

    vault = Vault.create(place / "vault.db", os.urandom(32))

    def commit() -> None:
        with vault.transaction():
            vault.meta.put("bench", os.urandom(4096))

    found = {"fdatasync_4KiB": rate(bare), "vault_commit_4KiB": rate(commit)}
    vault.close()
    os.close(descriptor)
    return found


def loopback() -> float:
    """Return round trips a second of 4 KiB there and 64 bytes back over TCP, in two threads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for one in (near, far):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer() -> None:
        while True:
            need = 4096
            while need:
                found = far.recv(need)
                if not found:
                    return
                need -= len(found)
            far.sendall(bytes(64))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()

    def exchange() -> None:
        near.sendall(bytes(4096))
        need = 64
        while need:
            need -= len(near.recv(need))

    found = rate(exchange)
    near.close()
    thread.join()
    far.close()
    return found


def measure() -> dict[str, object]:
    """Return all limits, in operations a second."""
    with tempfile.TemporaryDirectory(prefix="p2pnode-bench-") as place:
        return {
            "what": "operations a second of this machine alone, one thread",
            "crypto": crypto(),
            "commits": commits(Path(place)),
            "loopback_round_trip": loopback(),
            "sqlite": apsw.sqlite_lib_version(),
        }
