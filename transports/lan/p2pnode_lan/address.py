"""Where a node may be reached on the LAN, in compact bytes.

An address is one to `MAX_ENDPOINTS` endpoints in a row, best first; all belong to one node. An
endpoint is a kind (1 byte), the IP address (4 or 16 bytes), for link-local IPv6 the number of our
own interface it is seen on (4 bytes), and the port (2 bytes); numbers are big-endian.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import MAX_ADDRESS, Address

IP = IPv4Address | IPv6Address

MAX_ENDPOINTS = 8
"""Endpoints in one address, so that a dial ends in time."""

MIN_PORT = 1024
"""Lowest port ever dialled: below it are other people's services, not nodes."""

_V4, _V6, _V6_LINK = 4, 6, 7
_SIZE = {_V4: 7, _V6: 19, _V6_LINK: 23}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and a port; scope is our interface's number for link-local IPv6, else 0."""

    ip: IP
    port: int
    scope: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        """The socket family it needs."""
        return socket.AF_INET if self.ip.version == 4 else socket.AF_INET6

    @property
    def target(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What `connect` and `bind` take."""
        if self.ip.version == 4:
            return str(self.ip), self.port
        return str(self.ip), self.port, 0, self.scope


def encode(endpoints: Iterable[Endpoint]) -> Address:
    """Return the address of a node that has these endpoints; the first `MAX_ENDPOINTS` count."""
    return Address(b"".join(_encode_one(one) for one in list(endpoints)[:MAX_ENDPOINTS]))


def decode_untrusted(raw: bytes) -> list[Endpoint]:
    """Return the endpoints in foreign bytes. Raises RemoteError."""
    if not 0 < len(raw) <= MAX_ADDRESS:
        raise RemoteError("lan-address-size")
    found: list[Endpoint] = []
    while raw:
        size = _SIZE.get(raw[0])
        if size is None or len(raw) < size or len(found) == MAX_ENDPOINTS:
            raise RemoteError("lan-address-shape")
        found.append(_decode_one_untrusted(raw[:size]))
        raw = raw[size:]
    return found


def _encode_one(one: Endpoint) -> bytes:
    port = one.port.to_bytes(2, "big")
    if one.ip.version == 4:
        return bytes((_V4,)) + one.ip.packed + port
    if one.ip.is_link_local:
        return bytes((_V6_LINK,)) + one.ip.packed + one.scope.to_bytes(4, "big") + port
    return bytes((_V6,)) + one.ip.packed + port


def _decode_one_untrusted(raw: bytes) -> Endpoint:
    kind, port, scope = raw[0], int.from_bytes(raw[-2:], "big"), 0
    if kind == _V4:
        ip: IP = IPv4Address(raw[1:5])
    else:
        ip = IPv6Address(raw[1:17])
    if kind == _V6_LINK:
        scope = int.from_bytes(raw[17:21], "big")
    if isinstance(ip, IPv6Address) and ip.is_link_local != (kind == _V6_LINK):
        raise RemoteError("lan-address-scope")
    if not speakable(ip) or port < MIN_PORT:
        raise RemoteError("lan-address-value")
    return Endpoint(ip, port, scope)


def speakable(ip: IP) -> bool:
    """Say whether an IP address can belong to one node: no group, broadcast or nothing."""
    if ip.is_multicast or ip.is_unspecified:
        return False
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped is None
    return not ip.is_reserved


def endpoint_of_text(text: str) -> Endpoint:
    """Return the endpoint a person wrote as "ip:port" or "[ip6]:port". Raises ValueError."""
    host, colon, digits = text.rpartition(":")
    if not colon or not digits.isascii() or not digits.isdigit():
        raise ValueError(f"peer {text!r} is not ip:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"peer {text!r}: write an IPv6 address as [ip]:port")
    bare, _, zone = host.partition("%")
    try:
        ip = ip_address(bare)
        scope = socket.if_nametoindex(zone) if zone else 0
    except (ValueError, OSError):
        raise ValueError(f"peer {text!r} is not a numeric address of this machine's net") from None
    if not speakable(ip) or not MIN_PORT <= int(digits) <= 65_535:
        raise ValueError(f"peer {text!r}: no node can listen there (ports are 1024 to 65535)")
    if isinstance(ip, IPv6Address) and ip.is_link_local and not scope:
        raise ValueError(f"peer {text!r}: add the interface, as in [fe80::1%eth0]:4001")
    return Endpoint(ip, int(digits), scope)
