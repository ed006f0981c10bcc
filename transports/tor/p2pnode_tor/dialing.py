"""Opening streams to onion services, through SOCKS and nothing else."""

import re
from collections import OrderedDict

import trio
from python_socks import ProxyConnectionError, ProxyError, ProxyType
from python_socks.async_.trio import Proxy

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode_tor.address import OnionAddress
from p2pnode_tor.control import CommandFailed, Control, ControlLost
from p2pnode_tor.keys import client_secret_text
from p2pnode_tor.settings import Door

DIAL_TIMEOUT = 30.0
"""Seconds until a dial gives up. Most take under ten; a peer that has gone can take them all."""

NEWNYM_EVERY = 20.0
"""Seconds between two orders to forget; each makes tor fetch all descriptors anew, and before ten
seconds tor itself would delay it."""

MAX_KEYS = 1_024
"""Client keys tor holds for us at once."""

MAX_DIALLED = 1_024
"""Services remembered that were dialled since tor last forgot."""

NO_KEY, WRONG_KEY = 0xF4, 0xF5
"""SOCKS errors (tor's extended ones): the descriptor asks for a client key; ours is another."""


def refusal(failure: ProxyError) -> int:
    """Return the code a SOCKS proxy has refused with, 0 when it has not.

    The library leaves out codes that are not in RFC 1928, but for its words.
    """
    if failure.error_code is not None:
        return failure.error_code
    told = re.search(r"0X([0-9A-F]{2})$", str(failure), re.IGNORECASE)
    return int(told[1], 16) if told else 0


class _UnixProxy(Proxy):
    """Stands before a proxy that listens on a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__(ProxyType.SOCKS5, "127.0.0.1", 1)
        self._path = path

    async def connect(
        self,
        dest_host: str,
        dest_port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as in the class above
        **kwargs: object,
    ) -> trio.socket.SocketType:
        """Return a socket to the path, whatever destination is named. Raises ProxyError."""
        connecting = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            await connecting.connect(self._path)
        except OSError as failure:
            connecting.close()
            raise ProxyConnectionError(failure.errno, "tor does not listen") from None
        except BaseException:
            connecting.close()
            raise
        return connecting


class Dialling:
    """Streams through one running tor."""

    def __init__(self, control: Control, door: Door) -> None:
        self._control = control
        self._door = door
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._dialled: OrderedDict[str, None] = OrderedDict()
        self._forgot = float("-inf")
        self._tor = trio.Lock()

    async def dial(self, address: OnionAddress, lane: Lane | None) -> trio.socket.SocketType:
        """Return a stream to a service; lanes share no circuits. Raises ChannelClosed."""
        try:
            async with self._tor:
                await self._forget_stale(address.service)
                await self._allow(address)
            try:
                return await self._connect(address, lane)
            except ProxyError as failure:
                if refusal(failure) != NO_KEY:
                    raise
            async with self._tor:
                # Whoever told tor to forget, we or another controller, made it forget keys too.
                self._keys.pop(address.service, None)
                await self._allow(address)
            return await self._connect(address, lane)
        except (CommandFailed, ControlLost, ProxyError, OSError):
            raise ChannelClosed from None

    async def _connect(self, address: OnionAddress, lane: Lane | None) -> trio.socket.SocketType:
        self._dialled[address.service] = None
        if len(self._dialled) > MAX_DIALLED:
            self._dialled.popitem(last=False)
        # Tor keeps streams of different names and passwords on different circuits.
        proxy = Proxy(
            ProxyType.SOCKS5,
            self._door.host or "127.0.0.1",
            self._door.port or 1,
            username=lane.hex() if lane is not None else "none",
            password="p2pnode",  # noqa: S106 - no secret: it only keeps our streams apart
            rdns=True,
            forward=_UnixProxy(self._door.path) if self._door.path else None,
        )
        return await proxy.connect(address.name, address.port, timeout=DIAL_TIMEOUT)

    async def _allow(self, address: OnionAddress) -> None:
        """Give tor the key to a descriptor, unless it has it, or none is asked for."""
        if not address.client:
            return
        if self._keys.get(address.service) == address.client:
            self._keys.move_to_end(address.service)
            return
        key = client_secret_text(address.client)
        await self._control.ask(f"ONION_CLIENT_AUTH_ADD {address.service} {key}")
        self._keys[address.service] = address.client
        if len(self._keys) > MAX_KEYS:
            oldest, _ = self._keys.popitem(last=False)
            await self._control.ask(f"ONION_CLIENT_AUTH_REMOVE {oldest}")

    async def _forget_stale(self, service: str) -> None:
        """Make tor forget what it knows of services, before one is dialled again.

        A service is dialled again because the last try failed or its channel ended: often the peer
        has restarted, and tor would insist on its old introduction points for minutes.
        """
        now = trio.current_time()
        if service in self._dialled and now - self._forgot >= NEWNYM_EVERY:
            self._forgot = now
            self._dialled.clear()
            self._keys.clear()
            await self._control.ask("SIGNAL NEWNYM")

    async def disown(self) -> None:
        """Take our client keys from a tor that lives on without us."""
        for service in self._keys:
            await self._control.ask(f"ONION_CLIENT_AUTH_REMOVE {service}")
