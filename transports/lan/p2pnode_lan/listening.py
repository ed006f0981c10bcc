"""TCP: listening on the chosen interfaces, and reaching others."""

import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

import trio

from p2pnode.errors import ChannelClosed
from p2pnode_lan.address import IP, Endpoint

BACKLOG = 64
"""Incoming TCP connections the kernel holds until they are accepted."""

PORT_TRIES = 16
"""Random ports tried until one is free on every address."""

DIAL_TIMEOUT = 5.0
"""Seconds until a dial gives up; neighbours answer in milliseconds."""

NEXT_AFTER = 0.25
"""Seconds until the next endpoint of an address is tried beside the one that has not answered
(RFC 8305, section 5)."""

BREATH = 0.1
"""Seconds to wait when the process has no file descriptors left."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_GONE = {errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL}


def listen(places: Sequence[Endpoint]) -> list[socket.socket]:
    """Return sockets that listen on all places, at one port; port 0 in them picks a random one.

    An address that has just gone is passed over. Raises OSError when the port is taken.
    """
    for _ in range(PORT_TRIES):
        opened: list[socket.socket] = []
        port = places[0].port if places else 0
        try:
            for place in places:
                listener = _listen_one(Endpoint(place.ip, port, place.scope))
                if listener is not None:
                    opened.append(listener)
                    port = listener.getsockname()[1]
        except OSError:
            for listener in opened:
                listener.close()
            if places[0].port:
                raise
        else:
            return opened
    raise OSError(errno.EADDRINUSE, "no port is free on every address")


def _listen_one(place: Endpoint) -> socket.socket | None:
    listener = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place.target)
        listener.listen(BACKLOG)
    except OSError as failure:
        listener.close()
        if failure.errno in _GONE:
            return None
        raise
    return listener


async def accept(
    listener: socket.socket,
    admits: Callable[[IP, int], bool],
    take: Callable[[socket.socket], None],
) -> None:
    """Accept for ever; `take` owns each socket from an admitted (address, scope)."""
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            accepted, origin = listener.accept()
        except OSError as failure:
            # A peer that hung up before it was accepted is no reason to stop.
            if failure.errno in _EXHAUSTED:
                await trio.sleep(BREATH)
            continue
        ip = ip_address(origin[0].partition("%")[0])
        if admits(ip, origin[3] if len(origin) == 4 else 0):
            take(accepted)
        else:
            accepted.close()


async def reach(endpoints: Sequence[Endpoint]) -> socket.socket:
    """Return a socket to the endpoint that answers first. Raises ChannelClosed."""
    won: list[socket.socket] = []

    async def attempt(endpoint: Endpoint, failed: trio.Event) -> None:
        with suppress(OSError):
            connected = await _connect(endpoint)
            if won:
                connected.close()
            else:
                won.append(connected)
                nursery.cancel_scope.cancel()
        failed.set()

    try:
        with trio.move_on_after(DIAL_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for endpoint in endpoints:
                    failed = trio.Event()
                    nursery.start_soon(attempt, endpoint, failed)
                    with trio.move_on_after(NEXT_AFTER):
                        await failed.wait()
    except BaseException:
        for connected in won:
            connected.close()
        raise
    if not won:
        raise ChannelClosed
    return won[0]


async def _connect(endpoint: Endpoint) -> socket.socket:
    """Return a connected socket. Raises OSError."""
    connecting = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        with suppress(BlockingIOError):
            connecting.connect(endpoint.target)
        await trio.lowlevel.wait_writable(connecting)
        code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or connecting.getsockname() == connecting.getpeername():
            # TCP can connect a port of this machine to itself when nobody listens on it.
            raise OSError(code or errno.ECONNREFUSED, "nobody answers")
    except BaseException:
        connecting.close()
        raise
    return connecting
