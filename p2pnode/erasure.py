"""Erasing a whole home: planned in a file beside the stores, and finished whatever comes between.

The file says that it is to be done before anything is touched. The key goes first: from then on the
vault is noise, whoever has copies of it. What a crash leaves over, the next start takes away. None
of it needs the passphrase: who can delete files can delete these.
"""

import contextlib
import os
import shutil

import msgspec

from p2pnode import disk
from p2pnode.config import Home
from p2pnode.errors import InvalidInput, StoreError, StoreFull
from p2pnode.protocol.elapsed import missed
from p2pnode.store import files
from p2pnode.store.custody import Custody

GRACE = 86_400
"""Seconds of node time in which an erasure can be cancelled."""


MAX_PLAN = 1_024
"""Bytes of the file that plans an erasure."""


class Intent(msgspec.Struct, frozen=True):
    """That a home is to be erased. due: node time. settings: also config.toml. begun: the point of
    no return is behind."""

    due: int
    settings: bool = False
    begun: bool = False


def intent(home: Home) -> Intent | None:
    """Return what is planned for a home; None when nothing is, or only its daemon may know."""
    try:
        return msgspec.json.decode(disk.read(home.erasure, MAX_PLAN), type=Intent)
    except (FileNotFoundError, PermissionError):
        return None
    except OSError as error:
        raise StoreError(f"{home.erasure} cannot be read", why=error.strerror or "") from None
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"{home.erasure.name} cannot be read",
            why=str(error),
            hint="Delete it to cancel what it plans",
        ) from None


def plan(home: Home, now: int, *, after: int, settings: bool) -> Intent:
    """Plan to erase a home. now: node time. Raises StoreError, and StoreFull where there is a while
    to make room: what is to be done at once needs no plan, for which a full disk has no room."""
    planned = Intent(now + after if after else 0, settings)  # at once: whatever clocks say
    try:
        _keep(home, planned)
    except StoreFull:
        if after:
            raise
    return planned


def cancel(home: Home) -> bool:
    """Plan it no more; tell whether it was planned. Raises InvalidInput when it has begun."""
    if begun(home):
        raise InvalidInput("it is too late: the keys are destroyed", hint="p2pnode erase --all")
    try:
        home.erasure.unlink()
    except FileNotFoundError:
        return False
    files.sync_folder(home.root)
    return True


def is_due(home: Home, now: int) -> bool:
    """Tell whether a home is to be erased now, or was being erased. now: node time."""
    planned = intent(home)
    return planned is not None and (begun(home) or planned.due <= now)


def begun(home: Home) -> bool:
    """Tell whether a home was being erased when something came between."""
    planned = intent(home)
    return planned is not None and (planned.begun or not home.exists)


def kept_time(home: Home, wall: int) -> int:
    """Return the node time of a home whose node does not run, as far as it can be told."""
    try:
        custody = Custody.open(home.custody, read_only=True)
    except StoreError:
        return 0
    try:
        kept = custody.kept_clock()
    finally:
        custody.close()
    return 0 if kept is None else kept[0] + missed(kept[1], wall)


def carry_out(home: Home, planned: Intent | None = None) -> list[str]:
    """Erase a home whose lock is held; return the names of files there that are not ours.

    planned: counts more than what is kept, for the disk may have had no room for it. Raises
    StoreError when something cannot be deleted; again goes on.
    """
    planned = planned or intent(home) or Intent(0)
    with contextlib.suppress(StoreFull):  # then that there is no key tells it
        _keep(home, msgspec.structs.replace(planned, begun=True))
    try:
        for path in (home.vault_key, files.draft_of(home.vault_key)):
            files.destroy(path)
        files.sync_folder(home.root)
        if intent(home) is None:
            with contextlib.suppress(StoreFull):  # it did not fit; it may fit in the key's place
                _keep(home, msgspec.structs.replace(planned, begun=True))
        for path in (home.carry_pass, files.draft_of(home.carry_pass)):
            files.destroy(path)
        for store in (home.vault, home.custody):
            for path in home.root.glob(f"{store.name}*"):
                path.unlink()
        for path in (home.root / "transports", home.root / "run", *home.root.glob(".init-*")):
            if path.is_dir():
                shutil.rmtree(path)
        home.reserve.unlink(missing_ok=True)
        home.socket.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the machine's, or there is something else in it
            home.socket.parent.rmdir()
        if planned.settings:
            home.config.unlink(missing_ok=True)
        files.sync_folder(home.root)
        home.lock.unlink(missing_ok=True)
        home.erasure.unlink(missing_ok=True)
        files.sync_folder(home.root)
        left = sorted(path.name for path in home.root.iterdir())
        if not left:
            with contextlib.suppress(PermissionError):  # the machine's: root made it
                home.root.rmdir()
    except FileNotFoundError:
        return []
    except OSError as error:
        kept = os.path.lexists(home.vault_key)
        raise StoreError(
            "nothing was erased: the vault's key is still there"
            if kept
            else "not everything could be erased; the keys are destroyed",
            why=str(error),
            hint="Mend that and run: p2pnode erase --all --now",
        ) from None
    return left


def last_word(home: Home, left: list[str]) -> str:
    """Return what there is to say when a home was erased."""
    word = (
        f"Erased: this node is gone from {home.root}; its keys were destroyed first. What others"
        " have of it stays with them. On flash and in backups of the disk old bytes may outlive"
        " this: without the keys they are noise, unless the key lay there in the clear."
    )
    if left:
        word += f" Left as they were: {', '.join(left)}."
    return word


def _keep(home: Home, planned: Intent) -> None:
    files.write_whole(home.erasure, msgspec.json.encode(planned))
