"""What has come of envelopes whose links broke, by the device that sent it.

In memory, so a restart costs one envelope for each; bounded, so others cannot fill it.
"""

from collections import OrderedDict

from p2pnode.ids import DeviceId
from p2pnode.protocol.pieces import Partial

MAX_PARTIALS = 16
"""Devices of which a beginning is kept, the latest: 1 MiB at most."""


class Partials:
    """At most one beginning for each device."""

    def __init__(self) -> None:
        self._kept: OrderedDict[DeviceId, Partial] = OrderedDict()

    def of(self, device: DeviceId | None) -> Partial | None:
        """Return what a device has begun; None for one that has not proved itself."""
        return None if device is None else self._kept.get(device)

    def keep(self, device: DeviceId | None, partial: Partial | None) -> None:
        """Keep a beginning instead of the one before; None: there is none any more."""
        if device is None:
            return
        self._kept.pop(device, None)
        if partial is not None:
            self._kept[device] = partial
            while len(self._kept) > MAX_PARTIALS:
                self._kept.popitem(last=False)
