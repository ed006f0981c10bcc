"""What `doctor` tells: the home, the clock, the stores and every transport, each with a fix."""

import shutil
import stat
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

import trio

from p2pnode import plugins, schema
from p2pnode.config import Home
from p2pnode.engine.clock import wall_time
from p2pnode.errors import LocalError
from p2pnode.logs import traced
from p2pnode.protocol.elapsed import EARLIEST
from p2pnode.spi.transport import Check, Diagnosable
from p2pnode.store import keys
from p2pnode.store.vault import Vault
from p2pnode.turns import backups
from p2pnode.turns.stores import Stores

PATIENCE = 20.0
"""Seconds one transport may take to look at its medium."""

LITTLE = 64_000_000
"""Bytes of free disk under which a warning is due."""

Result = Literal["pass", "warn", "fail", "skip"]
_RESULTS: dict[str, Result] = {"ok": "pass", "warn": "warn", "fail": "fail", "skip": "skip"}


def finding(area: str, name: str, result: Result, detail: str, fix: str = "") -> schema.Finding:
    """Return one line of a diagnosis."""
    return schema.Finding(area=area, name=name, result=result, detail=detail, fix=fix)


def home(place: Home) -> list[schema.Finding]:
    """Look at a home's directory, key and disk; needs no daemon."""
    found = [_directory(place.root), _disk(place.root)]
    try:
        kind = keys.kind(place.vault_key)
    except LocalError as error:
        return [*found, finding("home", "key", "fail", error.what, error.hint)]
    if kind == "none":
        return [
            *found,
            finding(
                "home",
                "key",
                "warn",
                "the vault's key lies beside it, open to whoever reads this disk",
                "make a new home with a passphrase, or encrypt the disk",
            ),
        ]
    return [*found, finding("home", "key", "pass", f"the vault's key is kept by a {kind}")]


def _directory(root: Path) -> schema.Finding:
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        return finding(
            "home", "directory", "warn", "others may look into it", "chmod 700 on the home"
        )
    return finding("home", "directory", "pass", "closed to others")


def _disk(root: Path) -> schema.Finding:
    free = shutil.disk_usage(root).free
    if free < LITTLE:
        return finding(
            "home", "disk", "warn", f"{free / 1e6:.0f} MB free", "make room, or carry less: [carry]"
        )
    return finding("home", "disk", "pass", f"{free / 1e9:.1f} GB free")


def clock(wall: int | None = None) -> schema.Finding:
    """Look at the wall clock. Nothing depends on it but captions and time switched off."""
    if (wall_time() if wall is None else wall) < EARLIEST:
        return finding(
            "clock",
            "wall clock",
            "warn",
            "it was never set; time switched off is not counted, captions are wrong",
            "none needed offline; else set the time, or let NTP do it",
        )
    return finding("clock", "wall clock", "pass", "set; order comes from message links anyway")


def stores(held: Stores) -> list[schema.Finding]:
    """Read every page of both stores: seconds for large ones."""
    found = []
    for name, database in (("vault", held.vault.database), ("custody", held.custody.database)):
        try:
            broken = database.check()
        except LocalError as error:
            broken = [error.what]
        if broken:
            found.append(
                finding(
                    "store",
                    name,
                    "fail",
                    broken[0],
                    f"stop the node, keep a copy of {name}.db, and see docs/stores.md",
                )
            )
        else:
            found.append(finding("store", name, "pass", "every page is sound"))
    count, size = held.custody.count_bytes()
    full = size > 0.9 * held.carry.limit
    detail = f"{count} envelopes, {size / 1e6:.0f} of {held.carry.limit / 1e6:.0f} MB"
    fix = "nothing need be done; to carry more: [carry] max_mb" if full else ""
    found.append(finding("store", "carrying", "warn" if full else "pass", detail, fix))
    return [*found, _backup(held.vault)]


def _backup(vault: Vault) -> schema.Finding:
    last = backups.saved(vault)
    if last.at is None:
        detail = "there is none; without one a lost disk is a lost identity"
    elif last.missing:
        detail = f"made {day(last.at)}; contacts that are not in it: {last.missing}"
    else:
        return finding("store", "backup", "pass", f"made {day(last.at)}; every contact is in it")
    return finding("store", "backup", "warn", detail, "p2pnode backup create FILE")


def day(at: int) -> str:
    """Return the day of Unix seconds."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


async def transports(found: Iterable[tuple[str, Diagnosable]]) -> list[schema.Finding]:
    """Let every transport look at its medium; one that fails or hangs is told, and no more."""
    told: list[schema.Finding] = []
    for name, transport in found:
        checks: Sequence[Check] | None = None
        why = f"no answer within {PATIENCE:.0f} s"
        with trio.move_on_after(PATIENCE):
            try:
                checks = await transport.diagnose()
            except Exception as error:
                why = f"its own look at itself failed: {traced(error).splitlines()[-1]}"
        if checks is None:
            told.append(finding(name, "diagnosis", "fail", why, "report it to its author"))
            continue
        told += (
            finding(name, one.name, _RESULTS[one.result], one.detail, one.fix) for one in checks
        )
    return told


def switched_off(running: Collection[str]) -> list[schema.Finding]:
    """Tell what is installed and off, and how to turn it on. running: names of what is on."""
    return [
        finding(
            name, "transport", "skip", "off", f"to turn it on: {name} = true under [transports]"
        )
        for name in plugins.names()
        if name not in running
    ]
