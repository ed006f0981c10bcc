"""What a daemon tells systemd: that it is ready, that it stops, that it lives, how it is.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to the Unix socket that NOTIFY_SOCKET
names ("@…" is a name in the abstract namespace). Without that variable nothing is told.
"""

import logging
import os
import socket
from collections.abc import MutableMapping

import trio

_log = logging.getLogger(__name__)

TELL_AGAIN = 0.1
"""Seconds until what had no room is told again."""

MAX_STATUS = 200
"""Characters of a status line."""


class Notifier:
    """Tells the service manager how this process is. The node never waits and never fails for it.

    address: the socket's path, "@name", or "" for nobody. alive_every: seconds between two signs
    of life, 0 for none.
    """

    def __init__(self, address: str = "", *, alive_every: float = 0.0) -> None:
        self.alive_every = alive_every if address else 0.0
        self._address = b"\0" + address[1:].encode() if address[:1] == "@" else os.fsencode(address)
        self._status = ""
        self._failed = False
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> "Notifier":
        """Return the notifier the environment asks for, and take the variables out of it.

        What this process starts must neither speak in its name nor be waited for.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        if address[:1] not in {"/", "@"} or len(address) < 2:
            return cls()
        meant = process in {"", str(os.getpid())}
        half = int(microseconds) / 2e6 if microseconds.isdecimal() and meant else 0.0
        return cls(address, alive_every=half)

    def close(self) -> None:
        """Tell nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def ready(self) -> None:
        """The node answers, whatever its transports do; told until it is taken.

        A machine that starts may be slow to read, and would end a service it never heard this of.
        """
        while not self._tell("READY=1"):  # noqa: ASYNC110 - room there is no event here
            await trio.sleep(TELL_AGAIN)
        await trio.lowlevel.checkpoint()

    def stopping(self) -> None:
        """The node is about to end."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Show a line to whoever may look at the service: constants alone, nothing of anybody."""
        text = " ".join(text.split())[:MAX_STATUS]
        if text != self._status and self._tell(f"STATUS={text}"):
            self._status = text

    async def keep_alive(self) -> None:
        """Give signs of life from the event loop, which so must go round."""
        while self.alive_every:
            self._tell("WATCHDOG=1")
            await trio.sleep(self.alive_every)

    def _tell(self, line: str) -> bool:
        """Tell a line; False when there is no room for it now."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(line.encode(), self._address)
        except BlockingIOError:
            return False
        except OSError:
            # Who started us does not listen: the node itself is none the worse for that.
            if not self._failed:
                _log.warning("the service manager could not be told")
            self._failed = True
        return True
