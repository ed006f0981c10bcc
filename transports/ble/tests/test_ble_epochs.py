"""What the air is told over many epochs, each with a meeting of the same two contacts: no bytes
come again but the service's, the characteristics', and what is alike for everybody. BLE_EPOCHS sets
how many there are."""

import asyncio
import os
import secrets
from collections import Counter

from p2pnode_ble.air import RX, SERVICE, TX, Arrived, Ended, Event, Joined, Sighted
from p2pnode_ble.line import Line
from p2pnode_ble.pipe import Pipe, Times
from p2pnode_ble.wire import HEADER, LINE, decode_untrusted

from p2pnode.engine.entropy import OsEntropy
from p2pnode.protocol.limits import SMALL_PAGE_MARKS
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.link.machine import Link
from p2pnode.protocol.link.messages import Hello
from tests.link_ends import End, pair_keys
from transports.ble.tests.ble_air import UNANSWERED, InProcess, VirtualAir
from transports.ble.tests.ble_virtual import VirtualRadio

EPOCHS = int(os.environ.get("BLE_EPOCHS", "100"))
RUN = 6
"""Bytes in a row that must not come twice. Among the 3 million of a thousand epochs two random runs
of that length are alike once in 50 times: COINCIDENCES are let pass."""

COINCIDENCES = 2
NUMBER = 8
"""Bytes of a link frame's number, in the clear, which count from zero on each link."""

ATTRIBUTE = 3
"""Bytes of an attribute PDU before a value: an opcode and a handle."""


class Side:
    """One node of a meeting: its radio, and what the radio has told."""

    def __init__(self, air: VirtualAir, number: int) -> None:
        self.radio = VirtualRadio(InProcess(air, number))
        self.told: asyncio.Queue[Event] = asyncio.Queue()
        self.seen: str | None = None
        self.path = -1

    async def event(self, kind: type[Event]) -> Event:
        """Return the next event of a kind."""
        while True:
            event = await self.told.get()
            if isinstance(event, kind):
                return event

    async def begin(self, line: Line, end: End) -> None:
        """Take part in a meeting from here on."""
        self.line, self.end, self.pipe = line, end, None
        self.frames: list[bytes] = []

    async def say(self) -> None:
        """Send what there is to be said."""
        now = asyncio.get_running_loop().time()
        while self.frames and self.pipe is not None and self.pipe.established:
            self.pipe.put(self.frames.pop(0))
        size = self.radio.size(self.path)
        while (raw := self.line.outgoing(now, size)) is not None:
            await self.radio.transmit(self.path, [raw])

    async def hear(self) -> None:
        """Take the next fragment."""
        arrived = await self.event(Arrived)
        now = asyncio.get_running_loop().time()
        opened = self.line.receive_untrusted(decode_untrusted(arrived.raw), now)
        self.pipe = opened or self.pipe
        assert isinstance(self.pipe, Pipe)
        while (frame := self.pipe.take(now)) is not None:
            self.frames += self.end.receive(frame)


async def meet(air: VirtualAir, near: Side, far: Side) -> None:
    """Let the far side begin an epoch, and the near one come and shake hands."""
    await far.radio.advertise()
    before = near.seen
    while near.seen == before:
        near.seen = (await near.event(Sighted)).address
    known = [Candidate("bob", pair_keys()[0])], [Candidate("alice", pair_keys()[1])]
    ends = [
        End(Link(initiator=not n, marks=SMALL_PAGE_MARKS, entropy=OsEntropy(), now=0), known[n])
        for n in range(2)
    ]
    quick = Times(ack=0.0)
    await near.begin(Line(secrets.token_bytes(LINE), times=quick), ends[0])
    await far.begin(Line(None, times=quick), ends[1])
    near.path = await near.radio.connect(near.seen)
    _, near.pipe = near.line.open(asyncio.get_running_loop().time())
    near.frames += ends[0].take(ends[0].link.start())
    await near.say()
    far.path = (await far.event(Joined)).path
    async with asyncio.TaskGroup() as group:
        for side in (near, far):
            group.create_task(talk(side))
    assert [end.peers for end in ends] == [["bob"], ["alice"]]
    await near.radio.drop(near.path)
    await far.event(Ended)


async def talk(side: Side) -> None:
    """Take part until the handshake is over and Hello has gone both ways."""
    greeted = False
    while True:
        if side.end.peers and not greeted:
            greeted = True
            side.frames.append(side.end.link.seal(Hello(1, 0, ()), 0))
        await side.say()
        heard = [one for one in side.end.effects if type(one).__name__ == "Received"]
        if greeted and heard and not side.frames:
            return
        await side.hear()


async def observed() -> VirtualAir:
    """Return an air on which all epochs have passed; `spoken` of each is a list of its own."""
    air = VirtualAir(seed=4)
    air.listen = True
    near, far = Side(air, 0), Side(air, 1)
    for side in (near, far):
        await side.radio.open(side.told.put_nowait)
    await near.radio.scan(True)
    for _ in range(EPOCHS):
        await meet(air, near, far)
        air.epochs.append(air.spoken)
        air.spoken = []
    for side in (near, far):
        await side.radio.close()
    return air


def test_no_bytes_come_again():
    air = asyncio.run(observed())
    assert len(air.epochs) == EPOCHS
    addresses = {address for _, address, _ in air.advertised}
    assert len(addresses) == EPOCHS, "each epoch has its own"
    service = bytes.fromhex(SERVICE.replace("-", ""))[::-1]
    assert {said for _, _, said in air.advertised} == {b"\x02\x01\x06\x11\x07" + service}
    runs: Counter[bytes] = Counter()
    tags = set()
    for spoken in air.epochs:
        own: set[bytes] = set()
        for _, pdu in spoken:
            if pdu[0] not in UNANSWERED:
                continue
            fragment = pdu[ATTRIBUTE:]
            own.add(fragment[:LINE])
            body = fragment[HEADER:]
            if body.startswith(bytes(5)):
                body = body[NUMBER:]
            own |= {body[at : at + RUN] for at in range(len(body) - RUN + 1)}
        tags |= {one for one in own if len(one) == LINE}
        runs.update(one for one in own if len(one) == RUN)
    assert len(tags) == EPOCHS, "one tag for each connection"
    assert sum(runs.values()) > 1_000 * EPOCHS
    again = [run for run, times in runs.items() if times > 1]
    assert len(again) <= COINCIDENCES, again
    # All else is the attribute protocol's own: alike, byte for byte, in every epoch.
    asked = {
        tuple(sorted({pdu for _, pdu in spoken if pdu[0] not in UNANSWERED}))
        for spoken in air.epochs
    }
    assert len(asked) == 1
    everything = b"".join(next(iter(asked)))
    for constant in (RX, TX):
        assert bytes.fromhex(constant.replace("-", ""))[::-1] in everything
    # And the headers of fragments count from zero, whoever speaks.
    headers = Counter(
        header
        for spoken in air.epochs
        for header in {
            pdu[ATTRIBUTE + LINE : ATTRIBUTE + HEADER] for _, pdu in spoken if pdu[0] in UNANSWERED
        }
    )
    assert all(int.from_bytes(one[3:5]) < 64 for one in headers), "numbers begin at zero each time"
