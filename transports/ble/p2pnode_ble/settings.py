"""What a person may set under `[transports.ble]`."""

from typing import Annotated, Literal

import msgspec

from p2pnode.spi.transport import Settings


class BleSettings(Settings, frozen=True):
    """The Bluetooth LE transport's table.

    power: how much of the time to listen for others: "always", "balanced" (10 s of every 30 s) or
        "low" (6 s of every 2 min). This node can be heard all the time.
    max_links: Bluetooth connections at once; adapters bear some seven to ten.
    adapter: name of the adapter, like "hci0"; empty takes the first one that can do both roles.
    """

    power: Literal["always", "balanced", "low"] = "balanced"
    max_links: Annotated[int, msgspec.Meta(ge=1, le=16)] = 6
    adapter: Annotated[str, msgspec.Meta(pattern=r"\A(hci[0-9]{1,3})?\Z")] = ""
