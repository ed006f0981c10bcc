"""What `doctor` tells of watched folders. It counts them, and says no path."""

import os
from collections.abc import Sequence

from p2pnode.spi.transport import Check
from p2pnode_courier.bundle import MAX_BUNDLE
from p2pnode_courier.folder import MAX_FILES, listed


def diagnose(watch: Sequence[str], max_size: int) -> list[Check]:
    """Return a check for each watched folder; blocks while it looks."""
    if not watch:
        return [Check("folders", "ok", "ready for any folder; none is watched")]
    return [_folder(f"folder {at}", place, max_size) for at, place in enumerate(watch, 1)]


def _folder(name: str, place: str, max_size: int) -> Check:
    try:
        listing = listed(place)
        room = os.statvfs(place)
    except OSError as failure:
        reason = os.strerror(failure.errno or 0)
        return Check(name, "warn", f"cannot be read now: {reason}", "plug it in, or unname it")
    files = len(listing.bundles)
    holds = f"{files} files of envelopes"
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(name, "warn", f"{holds}; it cannot be written", "reading works all the same")
    if room.f_bavail * room.f_frsize < MAX_BUNDLE:
        return Check(name, "warn", f"{holds}; its disk is full", "make room on it")
    if files >= MAX_FILES or 0 < max_size <= listing.size:
        return Check(
            name, "warn", f"{holds}; it takes no more", "remove old ones or raise max_size"
        )
    return Check(name, "ok", holds)
