"""A Tor transport in a process of its own, for tests that kill it: `python tor_node.py DIRECTORY`.

Its tor touches no network. It prints tor's process id once it runs.
"""

import sys

import trio
from p2pnode_tor import TorTransport
from p2pnode_tor.settings import TorSettings

from p2pnode.spi.testing import RecordingHost


async def main() -> None:
    """Run until killed."""
    options = ("DisableNetwork 1",)
    transport = TorTransport(TorSettings(mode="own", data_directory=sys.argv[1], options=options))
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run, RecordingHost())
        assert transport._running is not None
        assert transport._running.session is not None
        print(transport._running.session.pid, flush=True)


if __name__ == "__main__":
    trio.run(main)
