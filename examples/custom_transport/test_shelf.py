"""The conformance kit on the example transport."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from p2pnode.spi.testing import Pair, check_transport
from p2pnode.spi.transport import Address, Channel

sys.path.insert(0, str(Path(__file__).parent))

from p2pnode_shelf import ShelfSettings, ShelfTransport


async def half_a_frame(channel: Channel) -> None:
    await channel._stream.send_all((1_000).to_bytes(4, "big") + b"half")  # type: ignore[attr-defined]
    await channel.aclose()


async def a_length_out_of_bounds(channel: Channel) -> None:
    await channel._stream.send_all(b"\xff\xff\xff\xff")  # type: ignore[attr-defined]


async def test_shelf_conforms(tmp_path: Path) -> None:
    @asynccontextmanager
    async def pair() -> AsyncIterator[Pair]:
        settings = ShelfSettings(directory=str(tmp_path))
        yield Pair(
            ShelfTransport(settings),
            ShelfTransport(settings),
            nowhere=Address(b"nobody"),
            faults={"half": half_a_frame, "length": a_length_out_of_bounds},
        )

    await check_transport(pair)
