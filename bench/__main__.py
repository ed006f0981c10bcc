"""Run benchmarks, print one JSON object: limits core reconcile daemons relay footprint tor, or all.
The growth with the population takes a quarter of an hour: python -m bench.scale."""

import json
import os
import platform
import sys
from typing import Any

from bench import core, daemons, footprint, limits, reconcile, relay, tor


def rounded(value: Any) -> Any:
    """Return the figures with four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(parts: list[str]) -> None:
    """Measure and print."""
    machine = limits.measure()
    crypto: Any = machine["crypto"]
    commits: Any = machine["commits"]
    loopback: Any = machine["loopback_round_trip"]
    seal_open = sum(1 / crypto[f"xchacha20poly1305_{way}_4KiB"] for way in ("seal", "open"))
    floor = 2 / commits["vault_commit_4KiB"] + 2 * seal_open + 1 / loopback
    found: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "system": platform.system(),
        },
        "limits": machine,
        "floor_ms": 1e3 * floor,
        "floor_is": "two durable commits, two seals and opens of 4 KiB, one loopback exchange",
    }
    if not parts or "core" in parts:
        found["core"] = core.measure()
    if not parts or "reconcile" in parts:
        found["reconcile"] = reconcile.measure()
    if not parts or "daemons" in parts:
        found["daemons"] = daemons.measure(floor)
    if not parts or "relay" in parts:
        found["relay"] = relay.measure()
    if not parts or "footprint" in parts:
        found["footprint"] = footprint.measure()
    if not parts or "tor" in parts:
        found["tor"] = tor.measure()
    print(json.dumps(rounded(found), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
