"""What a node takes that has been used for years: start, memory and processor time when idle."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.daemons import P2PNODE, Daemon
from bench.seed import fill_home

CONTACTS = 1_000
MESSAGES = 100_000
SETTLE = 10.0
"""Seconds after the start before an idle node is looked at."""
IDLE = 20.0

IMPORTS = "import p2pnode.daemon, zeroconf, p2pnode_lan.transport, resource"


def imports_mib() -> float:
    """Return the memory of a process that has only imported what a daemon with LAN imports."""
    code = f"{IMPORTS}; print(next(x for x in open('/proc/self/status') if x[:5] == 'VmRSS'))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(found.stdout.split()[1]) / 1024


def spans_ms(words: list[str]) -> float:
    """Return the middle of five runs of a verb, in milliseconds."""
    spans = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([*P2PNODE, *words], check=True, capture_output=True)
        spans.append(1e3 * (time.perf_counter() - began))
    return statistics.median(spans)


def measure() -> dict[str, Any]:
    """Return the figures of one daemon with LAN discovery on."""
    with tempfile.TemporaryDirectory(prefix="p2pnode-bench-") as place:
        key_file = Path(place) / "key"
        key_file.write_bytes(os.urandom(64))
        daemon = Daemon(Path(place), "ana", ["--key-file", str(key_file)])
        try:
            daemon.verb("init", "--name", "ana", "--key-file", str(key_file))
            began = time.perf_counter()
            home = daemon.home
            fill_home(home.vault, home.vault_key, key_file, CONTACTS, MESSAGES)
            filled = time.perf_counter() - began
            start = []
            for _ in range(3):
                start.append(daemon.start())
                daemon.end()
            daemon.start()
            time.sleep(SETTLE)
            cpu, began = daemon.cpu(), time.perf_counter()
            time.sleep(IDLE)
            share = (daemon.cpu() - cpu) / (time.perf_counter() - began)
            idle = daemon.rss()
            at = ["--home", str(home.root)]
            return {
                "what": f"one daemon, LAN on, key file, {CONTACTS} contacts, {MESSAGES} messages",
                "start_s": statistics.median(start),
                "rss_mib_idle": idle,
                "rss_mib_imports_alone": imports_mib(),
                "idle_cpu_share": share,
                "history_ms": spans_ms([*at, "history", "friend 7", "--json"]),
                "contacts_ms": spans_ms([*at, "contacts", "--json"]),
                "status_ms": spans_ms([*at, "status", "--json"]),
                "rss_mib_after_those": daemon.rss(),
                "filled_s": filled,
            }
        finally:
            daemon.end()
