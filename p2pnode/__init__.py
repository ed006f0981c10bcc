"""p2pnode: a serverless, offline-capable, peer-to-peer messenger node."""

__version__ = "0.1.0"
