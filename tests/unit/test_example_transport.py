"""The example of a custom transport: it passes the kit, and nodes meet in its directory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from examples.custom_transport.directory_transport import (
    DirectorySettings,
    DirectoryTransport,
    SocketChannel,
)
from p2pnode.errors import TransportUnavailable
from p2pnode.spi.testing import Pair, RecordingHost, check_transport
from p2pnode.spi.transport import MAX_FRAME, Address, Channel


async def torn_frame(channel: Channel) -> None:
    assert isinstance(channel, SocketChannel)
    await channel._stream.send_all(b"\0\0\0\x09torn")
    await channel.aclose()


async def oversized_frame(channel: Channel) -> None:
    assert isinstance(channel, SocketChannel)
    await channel._stream.send_all((MAX_FRAME + 1).to_bytes(4, "big"))


async def test_the_example_conforms(tmp_path):
    @asynccontextmanager
    async def pair() -> AsyncIterator[Pair]:
        settings = DirectorySettings(path=str(tmp_path))
        yield Pair(
            DirectoryTransport(settings),
            DirectoryTransport(settings),
            nowhere=Address(b"0" * 16),
            faults={"torn": torn_frame, "oversized": oversized_frame},
        )
        assert not list(tmp_path.iterdir()), "no socket is left behind"

    await check_transport(pair)


async def test_nodes_meet_and_part(tmp_path, autojump_clock):
    settings = DirectorySettings(path=str(tmp_path))
    hosts = RecordingHost(), RecordingHost()
    async with trio.open_nursery() as nursery:
        await nursery.start(DirectoryTransport(settings).run, hosts[0])
        async with trio.open_nursery() as other:
            await other.start(DirectoryTransport(settings).run, hosts[1])
            for host in hosts:
                await host.until(lambda host: len(host.met) == 1)
            assert sorted([*hosts[0].met.values(), *hosts[1].met.values()]) == [0.0, 2.0]
            other.cancel_scope.cancel()
        await hosts[0].until(lambda host: not host.met)
        nursery.cancel_scope.cancel()


async def test_a_missing_directory_is_said_plainly(tmp_path):
    transport = DirectoryTransport(DirectorySettings(path=str(tmp_path / "nowhere")))
    (check,) = await transport.diagnose()
    assert check.result == "fail"
    with pytest.raises(TransportUnavailable, match="directory"):
        await transport.run(RecordingHost())
