"""Where a node may be reached through Tor, in compact bytes.

An address is a version (1 byte, 1), the public key of the onion service (32 bytes, Ed25519), its
port (2 bytes, big-endian), and the private key (32 bytes, X25519) with which the one who holds the
address decrypts the service's descriptor. So an address is a secret between two contacts.

A place in a pairing code is shorter: the 35 bytes of an onion's name. Its service asks for no key,
because whoever scans the code has none yet, and lives only as long as the code.
"""

from dataclasses import dataclass
from typing import NewType

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import Address
from p2pnode_tor.keys import SECRET, onion_bytes, service_id

VERSION = 1

PORT = 4001
"""Port of the onion services we open; each of them has only this one."""

PLACE = 35
"""Bytes of a place in a pairing code."""

SIZE = 1 + SECRET + 2 + SECRET
"""Bytes in an address."""

OnionPublic = NewType("OnionPublic", bytes)
"""32 bytes: the Ed25519 public key of an onion service."""


@dataclass(frozen=True, slots=True)
class OnionAddress:
    """An onion service, its port, and our key to its descriptor, b"" where none is asked for."""

    public: OnionPublic
    port: int
    client: bytes

    @property
    def service(self) -> str:
        """The 56 letters before ".onion"."""
        return service_id(self.public)

    @property
    def name(self) -> str:
        """What SOCKS is asked for. Never given to a resolver."""
        return f"{self.service}.onion"


def encode(address: OnionAddress) -> Address:
    """Return an address, or a place in a code, as bytes."""
    if not address.client:
        return Address(onion_bytes(address.public))
    return Address(
        bytes((VERSION,)) + address.public + address.port.to_bytes(2, "big") + address.client
    )


def decode_untrusted(raw: bytes) -> OnionAddress:
    """Return the address, or the place of a code, in foreign bytes. Raises RemoteError."""
    if len(raw) == PLACE:
        named = OnionPublic(raw[:SECRET])
        if onion_bytes(named) != raw:
            raise RemoteError("tor-address-value")
        return OnionAddress(named, PORT, b"")
    if not raw or raw[0] != VERSION:
        raise RemoteError("tor-address-version")
    if len(raw) != SIZE:
        raise RemoteError("tor-address-size")
    public, port = raw[1 : 1 + SECRET], int.from_bytes(raw[1 + SECRET : 3 + SECRET], "big")
    client = raw[3 + SECRET :]
    if not port or not any(public) or not any(client):
        raise RemoteError("tor-address-value")
    return OnionAddress(OnionPublic(public), port, client)
