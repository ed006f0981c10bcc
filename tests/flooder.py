"""A hostile stranger: python -m tests.flooder ADDRESS PORT. Floods the node there.

It speaks the protocol as far as it serves it: unpaid envelopes, forged proofs, paid junk as fast as
work allows, and handshakes that stop half way. Prints "paid" once what it has paid for is answered,
and counts as JSON when it is told to end.
"""

import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from p2pnode_lan.channel import LanChannel

from p2pnode.engine.clock import milliseconds
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.protocol.limits import PAGE_MARKS
from p2pnode.protocol.link import effects, work
from p2pnode.protocol.link.machine import Link
from p2pnode.protocol.link.messages import (
    FEATURE_CARRIES,
    Accepted,
    Credit,
    EnvelopeOut,
    Hello,
    LinkMessage,
    Refused,
    Work,
)
from tests.patience import PATIENCE

AT_ONCE = 8
counts: Counter[str] = Counter()


def junk() -> EnvelopeOut:
    """Return an envelope for nobody."""
    return EnvelopeOut(0, b"\x01" + os.urandom(16) + b"\x03" + os.urandom(4_078))


class Stranger:
    """One link to the victim."""

    def __init__(self, channel: LanChannel) -> None:
        self._channel = channel
        self._link = Link(initiator=True, marks=PAGE_MARKS, entropy=OsEntropy(), now=milliseconds())

    async def meet(self) -> None:
        """Get through the handshake as somebody unknown."""
        await self._perform(self._link.start())
        while not self._link.established:
            await self.next()
        await self.say(Hello(1, FEATURE_CARRIES, ()))

    async def say(self, message: LinkMessage) -> None:
        """Send a message."""
        await self._channel.send(self._link.seal(message, milliseconds()))

    async def next(self) -> list[LinkMessage]:
        """Return what the next frame brings."""
        frame = await self._channel.receive()
        return await self._perform(self._link.receive_untrusted(frame, milliseconds()))

    async def _perform(self, found: list[effects.Effect]) -> list[LinkMessage]:
        messages: list[LinkMessage] = []
        for effect in found:
            match effect:
                case effects.SendFrame(frame=frame):
                    await self._channel.send(frame)
                case effects.AskCandidates():
                    messages += await self._perform(self._link.candidates([]))
                case effects.Received(message=message):
                    messages.append(message)
                case _:
                    pass
        return messages

    async def answers(self, kinds: tuple[type, ...], count: int) -> None:
        """Wait for so many ids in answers of these kinds, or for one message without ids."""
        while count > 0:
            for message in await self.next():
                if isinstance(message, kinds):
                    count -= len(getattr(message, "ids", ())) or count
                    counts[type(message).__name__] += 1

    async def unpaid(self) -> None:
        """Send what nobody paid for."""
        await self.meet()
        for _ in range(100):
            await self.say(junk())
            counts["unpaid"] += 1

    async def forged(self) -> None:
        """Claim to have worked."""
        await self.meet()
        for _ in range(100):
            await self.say(Work(os.urandom(work.NONCE)))
            counts["forged"] += 1
            await self.next()

    async def paid(self) -> None:
        """Pay, and send junk for it."""
        await self.meet()
        for _ in range(work.MAX_PROOFS):
            nonce = os.urandom(work.NONCE)
            while not await trio.to_thread.run_sync(self._proves, nonce):
                nonce = os.urandom(work.NONCE)
            await self.say(Work(nonce))
            await self.answers((Credit,), 1)
            for _ in range(work.BOUGHT):
                await self.say(junk())
                counts["paid"] += 1
            await self.answers((Accepted, Refused), work.BOUGHT)
            counts["bought"] += 1
            if counts["bought"] == 1:
                print("paid", flush=True)

    def _proves(self, nonce: bytes) -> bool:
        return work.proves(nonce, handshake=self._link.handshake_hash, initiator=True)

    async def half(self) -> None:
        """Begin, and say no more."""
        await self._perform(self._link.start())
        counts["half"] += 1
        await self._channel.receive()
        await trio.sleep(1)


async def attack(where: tuple[str, int], how: Callable[[Stranger], Awaitable[None]]) -> None:
    """Come back for ever."""
    while True:
        try:
            connected = socket.socket()
            connected.setblocking(False)
            wrapped = trio.socket.from_stdlib_socket(connected)
            await wrapped.connect(where)
            channel = LanChannel(connected)
            try:
                with trio.move_on_after(PATIENCE):
                    await how(Stranger(channel))
            finally:
                await channel.aclose()
        except (OSError, ChannelClosed, RemoteError):
            counts["closed"] += 1
            await trio.sleep(0.01)


async def main(where: tuple[str, int]) -> None:
    """Flood until told to end."""
    ways = (Stranger.unpaid, Stranger.forged, Stranger.paid, Stranger.half)
    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE):
            nursery.start_soon(attack, where, ways[number % len(ways)])
        with trio.open_signal_receiver(signal.SIGTERM) as received:
            async for _ in received:
                break
        nursery.cancel_scope.cancel()
    print(json.dumps(counts))


if __name__ == "__main__":
    trio.run(main, (sys.argv[1], int(sys.argv[2])))
