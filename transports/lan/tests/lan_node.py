"""A LAN transport in a process of its own, for tests in network namespaces.

Run as `python lan_node.py SETTINGS`, with settings as JSON. It prints what its host is told as
JSON lines and echoes every frame that comes in. Lines on standard input: `dial ADDRESS` (hex)
opens a channel and keeps it, `say TEXT` sends on it and prints the echo, `quit` ends; then it
prints what threads and file descriptors are left over.
"""

import gc
import json
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Any

import msgspec
import trio
from p2pnode_lan import LanTransport
from p2pnode_lan.address import decode_untrusted
from p2pnode_lan.settings import LanSettings

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode.spi.testing import RecordingHost
from p2pnode.spi.transport import Address, Channel, TransportState

# asyncio's debug mode complains of a busy machine: that is no defect of ours.
logging.getLogger("asyncio").addFilter(lambda record: " took " not in record.getMessage())


def tell(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


class TellingHost(RecordingHost):
    """A host that prints what it is told and echoes what comes in."""

    nursery: trio.Nursery

    def encountered(self, address: Address, *, after: float = 0.0) -> None:
        where = [f"{one.ip}%{one.scope}" for one in decode_untrusted(address)]
        tell("met", address=address.hex(), after=after, where=where)

    def lost(self, address: Address) -> None:
        tell("lost", address=address.hex())

    def report(self, state: TransportState, detail: str = "") -> None:
        tell("report", state=state, detail=detail)

    async def incoming(self, channel: Channel, lane: Lane | None = None) -> None:
        self.nursery.start_soon(self._echo, channel)

    async def _echo(self, channel: Channel) -> None:
        with suppress(ChannelClosed):
            while True:
                await channel.send(await channel.receive())
        await channel.aclose()


async def obey(transport: LanTransport) -> None:
    """Carry out commands until quit, or until nobody commands any more."""
    kept: Channel | None = None
    commands = trio.lowlevel.FdStream(os.dup(0))
    rest = b""
    while True:
        line, found, left = rest.partition(b"\n")
        if not found:
            fresh = await commands.receive_some(4096)
            rest += fresh
            if fresh:
                continue
            line = b"quit"
        rest = left
        word, _, more = line.decode().partition(" ")
        if word == "quit":
            break
        try:
            if word == "dial":
                if kept is not None:
                    await kept.aclose()
                kept = await transport.dial(Address(bytes.fromhex(more)))
                tell("dialled")
            elif kept is not None:
                await kept.send(more.encode())
                tell("echo", text=(await kept.receive()).decode())
        except ChannelClosed:
            tell("closed")
    if kept is not None:
        await kept.aclose()
    await commands.aclose()


async def main() -> None:
    """Run until told to quit."""
    settings = msgspec.json.decode(sys.argv[1], type=LanSettings)
    before = len(os.listdir("/proc/self/fd"))
    host = TellingHost()
    transport = LanTransport(settings)
    async with trio.open_nursery() as nursery:
        host.nursery = nursery
        await nursery.start(transport.run, host)
        tell("started")
        await obey(transport)
        nursery.cancel_scope.cancel()
    gc.collect()
    after = len(os.listdir("/proc/self/fd"))
    tell("ended", threads=threading.active_count() - 1, files=after - before)


if __name__ == "__main__":
    trio.run(main)
