"""Who else is on this network: multicast DNS through python-zeroconf (RFC 6762, RFC 6763).

The service is announced under a random instance name and a random host name, with no properties:
the machine's own name never leaves it. What is found is a hint only. Everything here runs in the
asyncio thread.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from p2pnode.errors import RemoteError, TransportUnavailable
from p2pnode.spi.transport import Address
from p2pnode_lan.address import MIN_PORT, Endpoint, encode, speakable
from p2pnode_lan.interfaces import Interface

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf

SERVICE = "_p2pnode._tcp.local."

MAX_PEERS = 256
"""Names followed at once; a flood of names costs no more than this."""

RESOLVED_AT_ONCE = 8
"""Names asked about at the same time."""

RESOLVE_TIME = 3_000
"""Milliseconds a name has to tell where it is."""

ASK_AGAIN = 40.0
"""Seconds between fresh browsers: finds nodes whose announcements a silent cut swallowed."""

TRIES = 5
"""Times a name that tells nothing is asked: the one who answers may still be probing."""

NAME_TTL = 1_200
"""Seconds others remember a name that went without goodbye."""

GOODBYE_TIME = 2.0
"""Seconds saying goodbye may take."""

_NAME = re.compile(r"[0-9a-f]{16}\." + re.escape(SERVICE))


@dataclass(frozen=True, slots=True)
class Sighting:
    """What multicast DNS told of a node; address is empty when it said goodbye.

    Our own instance, with no address, says that our announcement is out.
    """

    instance: str
    address: Address


def check_installed() -> None:
    """Return when zeroconf can be used. Raises TransportUnavailable."""
    try:
        import zeroconf  # noqa: F401
    except ImportError as failure:
        raise TransportUnavailable(
            "the LAN transport cannot look for other nodes",
            why="the package zeroconf is not installed",
            hint='install "p2pnode[lan]", or set discover = false and name peers by hand',
        ) from failure
    # Its messages name addresses of this machine and of others.
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL + 1)


def new_instance() -> str:
    """Return a random instance name."""
    return f"{secrets.token_hex(8)}.{SERVICE}"


def address_untrusted(texts: Sequence[str], port: int, interfaces: Sequence[Interface]) -> Address:
    """Return the address in a foreign answer, as far as it lies on our own networks.

    texts: IP addresses, link-local ones perhaps with a scope, in any order and number.
    Raises RemoteError when nothing usable is among them.
    """
    found: set[Endpoint] = set()
    only = interfaces[0].index if len(interfaces) == 1 else 0
    for text in texts:
        bare, _, zone = text.partition("%")
        try:
            ip = ip_address(bare)
            scope = int(zone or only)
        except ValueError:
            continue
        local = isinstance(ip, IPv6Address) and ip.is_link_local
        scope = scope if local else 0
        if speakable(ip) and any(interface.near(ip, scope) for interface in interfaces):
            found.add(Endpoint(ip, port, scope))
    if not found or not MIN_PORT <= port <= 65_535:
        raise RemoteError("lan-nothing-near")
    return encode(sorted(found, key=_rank))


def _rank(endpoint: Endpoint) -> tuple[int, bool, bytes, int]:
    return endpoint.ip.version, endpoint.ip.is_link_local, endpoint.ip.packed, endpoint.scope


class Discovery:
    """Announces one instance and follows all others, on a fixed set of interfaces."""

    def __init__(
        self,
        instance: str,
        interfaces: Sequence[Interface],
        port: int,
        put: Callable[[Sighting], None],
    ) -> None:
        self._instance = instance
        self._interfaces = interfaces
        self._port = port
        self._put = put
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._followed: set[str] = set()
        self._slots = asyncio.Semaphore(RESOLVED_AT_ONCE)

    async def run(self) -> None:
        """Announce and browse until cancelled, then say goodbye."""
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

        zeroconf = AsyncZeroconf(interfaces=_senders(self._interfaces))
        own = AsyncServiceInfo(
            SERVICE,
            self._instance,
            port=self._port,
            properties={},
            server=f"{secrets.token_hex(8)}.local.",
            other_ttl=NAME_TTL,
            parsed_addresses=[
                str(one.ip) for each in self._interfaces for one in each.endpoints(self._port)
            ],
        )
        registering: asyncio.Task[None] | None = None

        async def register() -> None:
            await (await zeroconf.async_register_service(own))
            self._put(Sighting(self._instance, Address(b"")))

        try:
            await zeroconf.zeroconf.async_wait_for_start()
            registering = asyncio.create_task(register())
            while True:
                browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._changed])
                try:
                    await asyncio.wait({registering}, timeout=ASK_AGAIN)
                    registering.result()
                    await asyncio.sleep(ASK_AGAIN)
                finally:
                    await browser.async_cancel()
        finally:
            await _end([*self._resolving.values(), *([registering] if registering else [])])
            with suppress(Exception):  # the network may be gone: then nobody hears the goodbye
                goodbye = zeroconf.async_unregister_all_services()
                await asyncio.wait_for(goodbye, GOODBYE_TIME)
            with suppress(Exception):  # heard or not: cut off, it would leave its sockets open
                await zeroconf.async_close()

    def _changed(
        self,
        zeroconf: "Zeroconf",
        service_type: str,
        name: str,
        state_change: "ServiceStateChange",
    ) -> None:
        """Take a browser's event about a foreign name."""
        if name == self._instance or _NAME.fullmatch(name) is None:
            return
        if state_change.name == "Removed":
            self._followed.discard(name)
            if name in self._resolving:
                self._resolving.pop(name).cancel()
            self._put(Sighting(name, Address(b"")))
            return
        if name in self._resolving:
            return
        if name in self._followed or len(self._followed) < MAX_PEERS:
            self._followed.add(name)
            task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, name))
            self._resolving[name] = task
            task.add_done_callback(lambda done: self._resolved(name, done))

    def _resolved(self, name: str, done: "asyncio.Task[None]") -> None:
        if self._resolving.get(name) is done:
            del self._resolving[name]

    async def _resolve(self, zeroconf: "Zeroconf", name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        for _ in range(TRIES):
            async with self._slots:
                asked = AsyncServiceInfo(SERVICE, name)
                if await asked.async_request(zeroconf, RESOLVE_TIME):
                    texts, port = asked.parsed_scoped_addresses(), asked.port or 0
                    with suppress(RemoteError):
                        self._put(Sighting(name, address_untrusted(texts, port, self._interfaces)))
                    return


def _senders(interfaces: Sequence[Interface]) -> list[str | int | tuple[tuple[str, int, int], int]]:
    """Return one address of each family of each interface: more would only repeat each word."""
    chosen: list[str | int | tuple[tuple[str, int, int], int]] = []
    for interface in interfaces:
        first = next((one for one in interface.addresses if one.version == 4), None)
        last = next((one for one in reversed(interface.addresses) if one.version == 6), None)
        chosen += [str(one.ip) for one in (first, last) if one is not None]
    return chosen


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
