"""Both roles of one adapter, made of a peripheral and a central."""

from collections.abc import Callable, Sequence
from itertools import count

from p2pnode.errors import TransportUnavailable
from p2pnode.spi.transport import Check
from p2pnode_ble.air import Air, AirDown, PathEnded, Peripheral, Tell
from p2pnode_ble.central import Backend, Central


class DualAir(Air):
    """A peripheral and a central that share one numbering of paths.

    backend: tells which bleak to use once the peripheral is open. Where `lacks` says that there is
    no peripheral role the central goes on without it.
    """

    def __init__(self, peripheral: Peripheral, backend: Callable[[], Backend]) -> None:
        self._peripheral = peripheral
        self._backend = backend
        self._central: Central | None = None

    async def open(self, tell: Tell) -> None:
        """Switch on what roles there are. Raises TransportUnavailable and AirDown."""
        numbers = count()
        try:
            await self._peripheral.open(tell, numbers)
        except TransportUnavailable:
            if not self.lacks:
                raise
        self._central = Central(self._backend(), tell, numbers, self._peripheral.serves)

    async def close(self) -> None:
        """End both roles; never raises."""
        central, self._central = self._central, None
        try:
            if central is not None:
                await central.close()
        finally:
            await self._peripheral.close()

    async def advertise(self) -> None:
        """Begin to advertise anew. Raises AirDown."""
        await self._peripheral.advertise()

    async def scan(self, wanted: bool) -> None:
        """Begin or stop to look for others. Raises AirDown."""
        if self._central is None:
            raise AirDown("the radio is off")
        await self._central.scan(wanted)

    async def connect(self, address: str) -> int:
        """Return a path to an address that was sighted. Raises PathEnded."""
        if self._central is None:
            raise PathEnded
        return await self._central.connect(address)

    def size(self, path: int) -> int:
        """Return the bytes a fragment on a path may have now. Raises PathEnded."""
        size = None if self._central is None else self._central.size(path)
        size = self._peripheral.size(path) if size is None else size
        if size is None:
            raise PathEnded
        return size

    async def transmit(self, path: int, fragments: Sequence[bytes]) -> None:
        """Send fragments in whichever role the path is. Raises PathEnded."""
        if self._central is not None and self._central.size(path) is not None:
            await self._central.transmit(path, fragments)
        else:
            await self._peripheral.transmit(path, fragments)

    async def drop(self, path: int) -> None:
        """End a path; never raises."""
        if self._central is not None:
            await self._central.drop(path)
        await self._peripheral.drop(path)

    async def checks(self) -> list[Check]:
        """Return nothing: the stack below knows."""
        return []
