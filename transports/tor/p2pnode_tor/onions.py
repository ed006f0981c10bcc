"""Our onion services: each has a listener of its own, so that the lane a stream came by is known.

Listeners live as long as the transport runs; tor is told of them again after each of its restarts.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from p2pnode.ids import Lane
from p2pnode_tor.address import PORT
from p2pnode_tor.control import CommandFailed, Control
from p2pnode_tor.health import pairs
from p2pnode_tor.keys import OnionKey, client_public_text
from p2pnode_tor.places import LONGEST_NAME

BACKLOG = 16
"""Streams the kernel holds until they are accepted."""

MAX_STREAMS = 64
"""Streams tor lets one visitor open at once."""

BREATH = 0.1
"""Seconds to wait when the process has no file descriptors left."""

UNKNOWN = "552"
"""Tor's answer about what it does not know (any more)."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Take = Callable[[trio.socket.SocketType, Lane | None], None]


def add_onion(key: OnionKey, target: str, clients: Sequence[bytes]) -> str:
    """Return the command that opens a service for these clients (private keys) alone; for everybody
    who knows its name when a client has none (b"")."""
    flags = "DiscardPK,V3Auth" if all(clients) else "DiscardPK"
    allowed = "".join(f" ClientAuthV3={client_public_text(one)}" for one in clients if one)
    return (
        f"ADD_ONION {key.control_text} Flags={flags} MaxStreams={MAX_STREAMS}"
        f" Port={PORT},{target}{allowed}"
    )


class Onion:
    """A service: its key, its clients by lane, where it listens, and whether others can find it."""

    def __init__(self, key: OnionKey, *, shared: bool) -> None:
        self.key = key
        self.shared = shared
        self.clients: dict[Lane, bytes] = {}
        self.published = trio.Event()
        self._listener: trio.socket.SocketType | None = None
        self._target = ""
        self._added = False
        self._scope = trio.CancelScope()

    async def accept(self, take: Take) -> None:
        """Accept streams until `close`; follows `listen`."""
        assert self._listener is not None
        with self._listener, self._scope, suppress(trio.ClosedResourceError):
            while True:
                try:
                    accepted, _ = await self._listener.accept()
                except OSError as failure:
                    if failure.errno in _EXHAUSTED:
                        await trio.sleep(BREATH)
                    continue
                take(accepted, self.lane)

    @property
    def lane(self) -> Lane | None:
        """The lane of all that comes in, where it is one."""
        return None if self.shared else next(iter(self.clients), None)

    async def listen(self, place: Path | None) -> None:
        """Listen on a Unix socket in place, or else on a port of loopback. Raises OSError.

        A tor that is not ours runs as another user, who cannot reach a socket in our directory.
        """
        family = trio.socket.AF_INET if place is None else trio.socket.AF_UNIX
        listener = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            if place is None:
                await listener.bind(("127.0.0.1", 0))
                self._target = f"127.0.0.1:{listener.getsockname()[1]}"
            else:
                path = place / self.key.service[:LONGEST_NAME]
                path.unlink(missing_ok=True)
                await listener.bind(str(path))
                self._target = f"unix:{path}"
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def close(self) -> None:
        """Stop listening."""
        self._scope.cancel()
        if self._listener is not None:
            self._listener.close()

    def forgotten(self) -> None:
        """Tor has restarted and knows nothing of it."""
        self._added = False
        self.published = trio.Event()

    async def publish(self, control: Control) -> None:
        """Tell tor to serve it, for the clients as they are now.

        Raises CommandFailed and ControlLost.
        """
        await self.withdraw(control)
        await control.ask(add_onion(self.key, self._target, list(self.clients.values())))
        self._added = True

    async def withdraw(self, control: Control) -> None:
        """Tell tor to serve it no more; streams that stand live on."""
        if self._added:
            self.forgotten()
            try:
                await control.ask(f"DEL_ONION {self.key.service}")
            except CommandFailed as failure:
                if failure.code != UNKNOWN:  # just as well
                    raise

    async def cut(self, control: Control) -> None:
        """End what stands with visitors; those who still may come again do so by themselves.

        Tor lets a circuit that stands ask for further streams, even from a service made anew.
        """
        answer = await control.ask("GETINFO circuit-status")
        for line in "\n".join(answer).split("\n"):
            told = pairs(line)
            theirs = told.get("PURPOSE") == "HS_SERVICE_REND"
            if theirs and told.get("REND_QUERY") == self.key.service:
                number = line.removeprefix("circuit-status=").split()[0]
                try:
                    await control.ask(f"CLOSECIRCUIT {number}")
                except CommandFailed as failure:
                    if failure.code != UNKNOWN:
                        raise
