"""Where our own tor keeps its files, and where it listens: for us alone, within the node's home."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2pnode.errors import TransportUnavailable
from p2pnode.spi.transport import Host
from p2pnode_tor.settings import Door

MAX_SOCKET_PATH = 107
"""Bytes in the path of a Unix socket (Linux `sun_path` without its closing zero)."""

LONGEST_NAME = 16
"""Bytes in the name of a socket of ours."""

_RUN = "run-"


@dataclass(frozen=True, slots=True)
class Places:
    """Where our own tor keeps and shows things: both directories are for us alone.

    data: lasts. sockets: for one run; short, because a Unix socket's path has at most 107 bytes.
    """

    data: Path
    sockets: Path

    @property
    def control(self) -> Door:
        """Where it takes commands."""
        return Door(path=str(self.sockets / "control"))

    @property
    def socks(self) -> Door:
        """Where it takes streams."""
        return Door(path=str(self.sockets / "socks"))


NOWHERE = Places(Path(), Path())
"""What the system's tor needs of us."""


@contextmanager
def own_places(wanted: str, host: Host) -> Iterator[Places]:
    """Yield the places of our own tor. wanted: a data directory, "" for the one in the node's home.

    Where the home is in memory they pass with the run. Raises TransportUnavailable.
    """
    with ExitStack() as stack:
        data = Path(wanted) if wanted else host.directory()
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p2pnode-tor-")))
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = stack.enter_context((data / "p2pnode.lock").open("wb"))
            _take(lock.fileno())
            for left in data.glob(f"{_RUN}*"):  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            sockets = Path(stack.enter_context(_sockets(data)))
        except OSError as failure:
            raise TransportUnavailable(
                "tor has no place for its files",
                why=failure.strerror or "",
                hint="Set data_directory under [transports.tor]",
            ) from None
        yield Places(data, sockets)


def _take(descriptor: int) -> None:
    """Keep a data directory from other nodes. Raises TransportUnavailable, OSError.

    Tor locks it too, but only after it has listened, and waits in silence.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TransportUnavailable(
            "another node uses tor's data directory",
            hint="Set another data_directory under [transports.tor]",
        ) from None


def _sockets(data: Path) -> "tempfile.TemporaryDirectory[str]":
    """Make a fresh directory whose name leaves room for a socket's. Raises OSError."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"  # noqa: S108 - the directory's mode is 0700
    for place in (data, Path(runtime), Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108
        name = _RUN if place == data else "p2pnode-tor-"
        longest = place / f"{name}12345678" / ("s" * LONGEST_NAME)
        if len(os.fsencode(longest)) <= MAX_SOCKET_PATH and os.access(place, os.W_OK):
            return tempfile.TemporaryDirectory(prefix=name, dir=place)
    raise OSError("no directory's name is short enough for a socket in it")
