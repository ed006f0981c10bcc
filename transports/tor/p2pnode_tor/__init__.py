"""The Tor transport of p2pnode: an onion service for each lane, dialled through SOCKS."""

from p2pnode_tor.transport import TorTransport

__all__ = ["TorTransport"]
