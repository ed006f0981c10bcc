"""The machine's network interfaces, and when they change: Linux rtnetlink (RFC 3549).

Asking the kernel directly tells what getifaddrs hides: whether the cable is in, whether an IPv6
address is usable yet, and that something changed without polling.
"""

import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Self

import trio

from p2pnode.errors import TransportUnavailable
from p2pnode_lan.address import IP, Endpoint

_HEAD = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 17, 18, 20, 22
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_IFNAME, _IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 3, 1, 2, 8
_UP, _LOOPBACK, _RUNNING, _MULTICAST = 0x1, 0x8, 0x40, 0x1000
_UNUSABLE = 0x68  # tentative, deprecated, failed duplicate detection
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

_ANSWER_TIME = 5.0
"""Seconds the kernel has to answer; it answers at once."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up, with its usable addresses."""

    name: str
    index: int
    loopback: bool
    multicast: bool
    addresses: tuple[IPv4Interface | IPv6Interface, ...]

    def near(self, ip: IP, scope: int) -> bool:
        """Say whether an IP address lies on this interface's own networks."""
        if ip.version == 6 and ip.is_link_local:
            return scope == self.index
        return any(ip in address.network for address in self.addresses)

    def endpoints(self, port: int) -> Iterator[Endpoint]:
        """Yield where this interface can be reached."""
        for address in self.addresses:
            local = address.version == 6 and address.ip.is_link_local
            yield Endpoint(address.ip, port, self.index if local else 0)


def interfaces_up() -> list[Interface]:
    """Return the interfaces that are up and have an address, by number.

    Raises TransportUnavailable where rtnetlink is missing or forbidden.
    """
    found: dict[int, list[IPv4Interface | IPv6Interface]] = {}
    for index, address in map(_address, _dump(_GETADDR, _NEWADDR)):
        if address is not None:
            found.setdefault(index, []).append(address)
    up: list[Interface] = []
    for body in _dump(_GETLINK, _NEWLINK):
        _, _, index, flags, _ = _LINK.unpack_from(body)
        if flags & _UP and flags & _RUNNING and index in found:
            name = _attributes(body[_LINK.size :])[_IFNAME].rstrip(b"\0").decode("utf-8", "replace")
            loopback, multicast = bool(flags & _LOOPBACK), bool(flags & _MULTICAST)
            addresses = tuple(sorted(found[index], key=_rank))
            up.append(Interface(name, index, loopback, multicast, addresses))
    return sorted(up, key=lambda interface: interface.index)


def chosen(names: Collection[str], *, loopback: bool) -> list[Interface]:
    """Return the interfaces to use: those named, or all but loopback when none is.

    loopback: take loopback even when it is not named.
    """
    return [
        one
        for one in interfaces_up()
        if one.name in names or (one.loopback and loopback) or not (names or one.loopback)
    ]


class Changes:
    """Waits for changes of links and addresses; use as a context."""

    def __enter__(self) -> Self:
        self._socket = trio.socket.from_stdlib_socket(_netlink(_GROUPS))
        return self

    def __exit__(self, *failure: object) -> None:
        self._socket.close()

    async def wait(self) -> set[int]:
        """Return when something changed: the numbers of interfaces whose link just went down.

        So a link that is up again already does not go unnoticed.
        """
        try:
            block = await self._socket.recv(1 << 16)
        except OSError:  # ENOBUFS: more changes than the kernel could queue
            await trio.lowlevel.checkpoint()
            return set()
        down: set[int] = set()
        for kind, body in _messages(block):
            if kind in {_NEWLINK, _DELLINK}:
                _, _, index, flags, _ = _LINK.unpack_from(body)
                if kind == _DELLINK or not flags & _RUNNING:
                    down.add(index)
        return down


def _netlink(groups: int) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except (AttributeError, OSError) as failure:
        raise TransportUnavailable(
            "the LAN transport cannot see the network interfaces",
            why="rtnetlink is missing or forbidden here",
            hint="on Linux, allow the address family AF_NETLINK to the service",
        ) from failure
    opened.bind((0, groups))
    return opened


def _dump(request: int, answer: int) -> Iterator[bytes]:
    """Yield the bodies of all answers to a dump request."""
    with _netlink(0) as asking:
        asking.settimeout(_ANSWER_TIME)
        asking.send(_HEAD.pack(_HEAD.size + 4, request, _DUMP, 1, 0) + bytes(4))
        while True:
            for kind, body in _messages(asking.recv(1 << 18)):
                if kind in {_DONE, _ERROR}:
                    return
                if kind == answer:
                    yield body


def _messages(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, body) of the netlink messages in a block."""
    while len(block) >= _HEAD.size:
        size, kind, *_ = _HEAD.unpack_from(block)
        yield kind, block[_HEAD.size : size]
        block = block[(size + 3) & ~3 :]


def _attributes(raw: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(raw) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(raw)
        found[kind] = raw[_ATTRIBUTE.size : size]
        raw = raw[(size + 3) & ~3 :]
    return found


def _address(body: bytes) -> tuple[int, IPv4Interface | IPv6Interface | None]:
    family, prefix, flags, _, index = _ADDRESS.unpack_from(body)
    attributes = _attributes(body[_ADDRESS.size :])
    if _IFA_FLAGS in attributes:
        (flags,) = struct.unpack("=I", attributes[_IFA_FLAGS])
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    if packed is None or flags & _UNUSABLE:
        return index, None
    if family == socket.AF_INET:
        return index, IPv4Interface((packed, prefix))
    if family == socket.AF_INET6:
        return index, IPv6Interface((packed, prefix))
    return index, None


def _rank(address: IPv4Interface | IPv6Interface) -> tuple[bool, bool, bytes]:
    """Order addresses: IPv4, then IPv6, link-local ones last in each."""
    return address.version == 6, address.ip.is_link_local, address.packed
