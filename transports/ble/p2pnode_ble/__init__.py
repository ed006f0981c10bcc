"""The Bluetooth LE transport of p2pnode: central and peripheral at once."""

from p2pnode_ble.transport import BleTransport

__all__ = ["BleTransport"]
