"""Bytes to begin from: the frozen vectors."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def vectors(name: str, *keys_of: str) -> list[bytes]:
    """Return all bytes in a file of frozen vectors: its strings of hex digits, below these keys."""
    told = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
    for key in keys_of:
        told = told[key]
    return list(dict.fromkeys(_bytes_in(told)))


def _bytes_in(told: Any) -> Iterator[bytes]:
    if isinstance(told, dict | list):
        for one in told.values() if isinstance(told, dict) else told:
            yield from _bytes_in(one)
    elif isinstance(told, str) and _HEX.fullmatch(told):
        yield bytes.fromhex(told)


OTHERS = [raw for name in ("link", "pairing", "reconcile", "session") for raw in vectors(name)]
"""What is spliced into the inputs of all targets."""
