"""A node in a process of its own: sends back what it gets.

    python -m transports.ble.tests.bluez.peer ADAPTER [dial]

dial: it connects to whom it meets, tells how many of its tries failed, and reads on.
"""

import sys
from contextlib import suppress

import trio

from p2pnode.errors import ChannelClosed
from p2pnode.spi.transport import Channel
from transports.ble.tests.bluez.nodes import ended, running


async def echo(channel: Channel) -> None:
    """Send back what comes."""
    with suppress(ChannelClosed):
        while True:
            await channel.send(await channel.receive())


async def main(adapter: str, dials: bool) -> None:
    """Be that node until killed."""
    async with running(adapter) as (node,), trio.open_nursery() as nursery:
        if dials:
            channel, failed = await node.dialled()
            await channel.send(str(failed).encode())
            await ended(channel)
        async for arrived in node.host.arrivals:
            nursery.start_soon(echo, arrived)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], "dial" in sys.argv[2:])
