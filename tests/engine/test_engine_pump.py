"""The pump of a link: nothing that is written while it looks for more is left lying."""

from random import Random
from typing import Any

import trio

from p2pnode.engine.pump import Outgoing, Pump
from p2pnode.ids import DeviceId, EnvelopeId
from p2pnode.protocol.link.messages import Offer
from p2pnode.turns.asks import Backlog
from p2pnode.turns.effects import Push

DEVICE = DeviceId(bytes(16))
LATE = EnvelopeId(bytes([7]) * 32)


class Owner:
    """Answers a look for own mail; what `meanwhile` does comes between answer and asker."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, EnvelopeId]] = []
        self.meanwhile: Any = None

    async def ask(self, ask: Any) -> Any:
        assert isinstance(ask, Backlog)
        await trio.lowlevel.checkpoint()
        page = [one for one in self.waiting if one[0] > ask.after]
        then, self.meanwhile = self.meanwhile, None
        if then is not None:
            then()
        return page


async def test_what_is_written_between_an_empty_page_and_its_asker_goes_too(
    nursery, autojump_clock
):
    """Both turns are committed before whoever asked for the page runs again: it took itself for
    up to date, and the message waited until another was written."""
    owner = Owner()
    sending, receiving = trio.open_memory_channel[Any](10)
    pump = Pump(owner, DEVICE, Outgoing(sending), Random(0), b"strangers", slow=False)  # type: ignore[arg-type]

    def written() -> None:
        owner.waiting.append((1, LATE))
        pump.push(Push(DEVICE, 1, LATE, 0, bytes(4_096)))

    owner.meanwhile = written
    nursery.start_soon(pump.run)
    with trio.fail_after(60):
        assert await receiving.receive() == Offer((LATE,))
