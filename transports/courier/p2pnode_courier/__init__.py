"""The courier transport of p2pnode: envelopes as files in any folder."""

from p2pnode_courier.courier import FolderCourier

__all__ = ["FolderCourier"]
