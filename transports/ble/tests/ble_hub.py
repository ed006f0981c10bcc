"""The virtual air in a process of its own, for nodes in processes of their own.

    python -m transports.ble.tests.ble_hub DIRECTORY NODES

Node n has a controller behind DIRECTORY/n (HCI over a Unix socket, one host at a time). Commands
are JSON arrays, a line each, on standard input; each is answered by a line on standard output when
it has happened:

    ["part", a, b] ["meet", a, b]   out of and back into each other's reach
    ["quota", a, b, bytes]          part once that many more bytes have passed between them
    ["spent", a, b]                 answered when they have
    ["off", a] ["on", a]            the adapter's switch
    ["loss", share]                 of advertisements, unacknowledged writes and notifications
    ["listen"] ["spoken"]           keep what is said from now on; all of it since, as hex
    ["carried"]                     bytes that have passed so far
"""

import asyncio
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from bumble.transport.common import StreamPacketSink, StreamPacketSource

from transports.ble.tests.ble_air import Quota, VirtualAir, controller_on


class Port(StreamPacketSource):
    """One host at its controller. A host that was killed leaves it, and its connections, standing:
    silent, until the next host takes the adapter over."""

    def __init__(self, hub: "Hub", number: int) -> None:
        super().__init__()
        self._hub, self._number = hub, number
        self.controller = None

    def connection_made(self, transport) -> None:
        self.transport = transport
        before = self._hub.ports.pop(self._number, None)
        if before is not None:
            before.end()
        if self._number in self._hub.off:
            transport.close()
            return
        self._hub.ports[self._number] = self
        self.controller = controller_on(
            self._hub.air, self._number, host_source=self, host_sink=StreamPacketSink(transport)
        )

    def connection_lost(self, exc) -> None:
        if self.controller is not None:
            self.controller.le_legacy_advertiser.stop()
            self.controller.le_scan_enable = False
            self.controller.pending_le_connection = None
            self.controller.host = None

    def end(self) -> None:
        """Take the controller off the air."""
        if self.controller is not None:
            self._hub.air.retire(self.controller)
            self.controller = None
        self.transport.close()


class Hub:
    """All ports, and the commands."""

    def __init__(self) -> None:
        self.air = VirtualAir()
        self.air.random = Random(1)
        self.ports: dict[int, Port] = {}
        self.off: set[int] = set()
        self._quotas: dict[frozenset[int], Quota] = {}

    async def serve(self, place: Path, nodes: int) -> None:
        """Serve until standard input ends."""
        loop = asyncio.get_running_loop()
        for number in range(nodes):
            await loop.create_unix_server(lambda n=number: Port(self, n), str(place / str(number)))
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print(json.dumps("ready"), flush=True)
        while line := await reader.readline():
            print(json.dumps(await self._obey(*json.loads(line))), flush=True)

    async def _obey(self, command: str, *words: Any) -> Any:
        pair = frozenset(words[:2])
        match command:
            case "part":
                self.air.part(*words)
            case "meet":
                self.air.deaf.discard(pair)
            case "quota":
                self._quotas[pair] = self.air.quotas[pair] = Quota(words[2])
            case "spent":
                await self._quotas.pop(pair).spent.wait()
            case "off":
                self.off.add(words[0])
                port = self.ports.pop(words[0], None)
                if port is not None:
                    port.end()
            case "on":
                self.off.discard(words[0])
            case "loss":
                self.air.loss = words[0]
            case "listen":
                self.air.listen = True
            case "spoken":
                spoken, self.air.spoken = self.air.spoken, []
                return [[number, raw.hex()] for number, raw in spoken]
            case "carried":
                return self.air.carried
            case _:
                raise ValueError(command)
        return None


if __name__ == "__main__":
    asyncio.run(Hub().serve(Path(sys.argv[1]), int(sys.argv[2])))
