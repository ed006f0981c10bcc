"""The LAN transport of p2pnode: zeroconf for hints, TCP for channels."""

from p2pnode_lan.transport import LanTransport

__all__ = ["LanTransport"]
