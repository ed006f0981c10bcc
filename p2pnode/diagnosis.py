"""What `doctor` tells: the home, the clock, the stores and every transport, each with a fix."""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

import trio

from p2pnode import plugins, schema
from p2pnode.card import on_card
from p2pnode.config import Home
from p2pnode.engine.clock import wall_time
from p2pnode.errors import LocalError
from p2pnode.home import disk_room
from p2pnode.logs import traced
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.elapsed import EARLIEST
from p2pnode.spi.transport import Check, Diagnosable
from p2pnode.store import keys
from p2pnode.store.custody import Custody
from p2pnode.store.database import Database
from p2pnode.store.vault import Vault
from p2pnode.timekeeping import Keeper, keeper
from p2pnode.turns import backups
from p2pnode.turns.stores import Stores

PATIENCE = 20.0
"""Seconds one transport may take to look at its medium."""

LITTLE = 64_000_000
"""Bytes of free disk under which a warning is due."""

AHEAD = 3_600.0
"""Seconds by which a file may be newer than the clock."""

SOUND = "every page is sound"

Result = Literal["pass", "warn", "fail", "skip"]
_RESULTS: dict[str, Result] = {"ok": "pass", "warn": "warn", "fail": "fail", "skip": "skip"}


def finding(area: str, name: str, result: Result, detail: str, fix: str = "") -> schema.Finding:
    """Return one line of a diagnosis."""
    return schema.Finding(area=area, name=name, result=result, detail=detail, fix=fix)


def home(place: Home, *, batching: bool) -> list[schema.Finding]:
    """Look at a home's directory, files, key and disk; needs no daemon. batching: whether writes
    are spared."""
    card = _card(batching=batching) if on_card(place.root) else []
    return [_directory(place.root), *_files(place), _disk(place.root), *card, _key(place)]


def _card(*, batching: bool) -> list[schema.Finding]:
    if batching:
        told = "on a memory card: what is carried waits a moment, to be written together"
        return [finding("home", "card", "pass", told)]
    told = "on a memory card, and whatever is carried is written at once: cards wear out by that"
    fix = "p2pnode config set store.batch_writes auto"
    return [finding("home", "card", "warn", told, fix)]


def _key(place: Home) -> schema.Finding:
    if not place.vault_key.exists():
        lost = "vault.key is gone: nothing else opens vault.db"
        fix = "put it back from a copy of the disk; without one the identity is lost"
        return finding("home", "key", "fail", lost, fix)
    try:
        kind = keys.kind(place.vault_key)
    except LocalError as error:
        return finding("home", "key", "fail", error.what, error.hint or error.why)
    if kind == "none":
        return finding(
            "home",
            "key",
            "warn",
            "the vault's key lies beside it, open to whoever reads this disk",
            "p2pnode passphrase; or encrypt the disk",
        )
    return finding("home", "key", "pass", f"the vault's key is kept by a {kind}")


def _directory(root: Path) -> schema.Finding:
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        return finding(
            "home", "directory", "warn", "others may look into it", f"chmod 700 '{root}'"
        )
    return finding("home", "directory", "pass", "closed to others")


def _files(place: Home) -> list[schema.Finding]:
    """Look at whose the files are, who else may read them, when they are from, and what is left
    of work that was cut short."""
    found, newest, owner = [], 0.0, place.root.stat().st_uid
    own = (place.vault, place.vault_key, place.custody, place.carry_pass, place.lock, place.config)
    for path in own:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            why = error.strerror or "unreadable"
            found.append(finding("home", path.name, "fail", why, "check the disk"))
            continue
        newest = max(newest, status.st_mtime)
        if status.st_uid not in (owner, 0):
            fix = f"chown it to the owner of '{place.root}'"
            found.append(finding("home", path.name, "fail", "it belongs to another user", fix))
        # Settings may be read by others, but not written: they choose what runs here.
        elif status.st_mode & (0o022 if path == place.config else 0o077):
            fix = f"chmod 600 '{path}'"
            found.append(finding("home", path.name, "warn", "others may read or change it", fix))
    if newest > time.time() + AHEAD:
        found.append(
            finding(
                "clock",
                "files",
                "warn",
                "files here are from the future: the clock has gone back",
                "none needed offline; else set the time, or let NTP do it",
            )
        )
    left = sorted(one.name for one in place.root.glob(".init-*"))
    if left:
        fix = f"remove {', '.join(left)} there"
        found.append(finding("home", "leftovers", "warn", "an init was cut short", fix))
    aside = sorted(one.name for one in place.root.glob("*.damaged-*"))
    if aside:
        fix = "remove them when nothing more is to be saved from them"
        found.append(finding("store", "set aside", "warn", f"{len(aside)} damaged files", fix))
    if not any(one.area == "home" for one in found):
        found.append(finding("home", "files", "pass", "yours, and closed to others"))
    return found


def lock(place: Home) -> schema.Finding:
    """Look at the home's lock where no daemon answers: nobody may hold it then."""
    try:
        descriptor = os.open(place.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return finding("lock", "daemon", "pass", "none runs here")
    except OSError as error:
        return finding("lock", "daemon", "fail", error.strerror or "", f"check '{place.lock}'")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return finding(
            "lock",
            "daemon",
            "fail",
            "a daemon holds this home and does not answer",
            "look at its log; end it if it is stuck: it comes back as it was",
        )
    finally:
        os.close(descriptor)
    return finding("lock", "daemon", "pass", "none runs here")


def unread(why: str, remedy: str) -> schema.Finding:
    """Tell that nobody could look into the vault. remedy: what would let somebody."""
    return finding("store", "vault", "skip", why, f"to have it looked at: {remedy}")


def carried(place: Home, policy: CarryPolicy) -> list[schema.Finding]:
    """Read every page of the custody store of a home where no daemon has the vault open."""
    try:
        custody = Custody.open(place.custody, read_only=True)
    except LocalError as error:
        return [_damaged("custody", error.what)]
    try:
        return [_pages("custody", custody.database), *_room(custody, policy, place.root)]
    except LocalError as error:
        return [_damaged("custody", error.what)]
    finally:
        custody.close()


def _disk(root: Path) -> schema.Finding:
    free = shutil.disk_usage(root).free
    if free < LITTLE:
        return finding(
            "home", "disk", "warn", f"{free / 1e6:.0f} MB free", "make room, or carry less: [carry]"
        )
    return finding("home", "disk", "pass", f"{free / 1e9:.1f} GB free")


def clock(wall: int | None = None) -> list[schema.Finding]:
    """Look at the wall clock. Nothing depends on it but captions, time switched off, and Tor."""
    return [_wall(wall), kept_by(keeper())]


_KEPT: dict[Keeper, tuple[Result, str]] = {
    "network": ("pass", "kept right over the network"),
    "network before": ("pass", "set over the network since the machine started"),
    "hardware": ("pass", "not synchronised; the machine's own clock keeps it"),
    "nobody": (
        "warn",
        "not synchronised, and no hardware clock keeps it: after a start it goes on where it was",
    ),
    "unknown": ("skip", "nothing here says who keeps it"),
}


def kept_by(who: Keeper) -> schema.Finding:
    """Tell who keeps the clock; offline nobody need."""
    result, detail = _KEPT[who]
    fix = (
        "none needed for messages. Tor needs the time: sudo date -s 'YYYY-MM-DD HH:MM', a network"
        " with NTP, or a hardware clock with a battery"
    )
    return finding("clock", "kept by", result, detail, fix if result == "warn" else "")


def _wall(wall: int | None) -> schema.Finding:
    if (wall_time() if wall is None else wall) < EARLIEST:
        return finding(
            "clock",
            "wall clock",
            "warn",
            "it was never set; time switched off is not counted, captions are wrong",
            "none needed offline; else set the time, or let NTP do it",
        )
    return finding("clock", "wall clock", "pass", "set; order comes from message links anyway")


def stores(held: Stores, root: Path | None = None) -> list[schema.Finding]:
    """Read every page of both stores: seconds for large ones. root: of the disk they are on."""
    return [
        _pages("vault", held.vault.database),
        _pages("custody", held.custody.database),
        *_room(held.custody, held.carry, root),
        _backup(held.vault),
    ]


def _pages(name: str, database: Database) -> schema.Finding:
    try:
        broken = database.check()
    except LocalError as error:
        broken = [error.what]
    return _damaged(name, broken[0]) if broken else finding("store", name, "pass", SOUND)


def _damaged(name: str, what: str) -> schema.Finding:
    fix = "stop the node, keep a copy of its home, then: p2pnode repair"
    return finding("store", name, "fail", what, fix)


def _room(custody: Custody, policy: CarryPolicy, root: Path | None) -> list[schema.Finding]:
    """Look at how full custody is, and whether the disk can hold what the settings promise."""
    count, size = custody.count_bytes()
    limit = policy.limit
    full = size > 0.9 * limit
    detail = f"{count} envelopes, {size / 1e6:.0f} of {limit / 1e6:.0f} MB"
    fix = "nothing need be done; to carry more: [carry] max_mb" if full else ""
    found = [finding("custody", "carrying", "warn" if full else "pass", detail, fix)]
    room = disk_room(root) if root is not None else limit
    if room <= 0:
        fix = "make room, or carry less: p2pnode config set carry.max_mb N"
        found.append(finding("custody", "room", "fail", "the disk takes nothing more", fix))
    elif size + room < limit:
        detail = f"the disk has room for {(size + room) / 1e6:.0f} MB of them only"
        fix = f"p2pnode config set carry.max_mb {max(1, int((size + room) / 1e6))}, or make room"
        found.append(finding("custody", "room", "warn", detail, fix))
    return found


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
            name,
            "transport",
            "skip",
            "off",
            f"to turn it on: p2pnode config set transports.{name} true",
        )
        for name in plugins.names()
        if name not in running
    ]
