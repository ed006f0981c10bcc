"""What a person may set under `[transports.lan]`."""

from typing import Annotated

import msgspec

from p2pnode.spi.transport import Settings
from p2pnode_lan.address import Endpoint, endpoint_of_text

MAX_NAMED = 64
"""Interfaces, or peers, a person may name."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class LanSettings(Settings, frozen=True):
    """The LAN transport's table.

    port: TCP port to listen on; 0 picks a random one at each start and each change of network.
    discover: announce this node by multicast DNS under a random name, and look for others.
    interfaces: names of the network interfaces to use; empty means all but loopback, which is
        only used when it is named, or when a peer named by hand is on it.
    peers: peers you name by hand, "ip:port" or "[ip6]:port"; numbers only, never host names.
    """

    port: Port = 0
    discover: bool = True
    interfaces: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_NAMED)] = ()
    peers: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_NAMED)] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words. Raises ValueError."""
        if 0 < self.port < 1024:
            raise ValueError("port is 0 or from 1024 to 65535")
        for text in self.peers:
            endpoint_of_text(text)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the peers named by hand."""
        return tuple(endpoint_of_text(text) for text in self.peers)
