"""A world of transports inside one process: for tests, examples and the simulator.

`MemoryNet` says which nodes are near each other and when that ends. It has no clock, threads or
sockets, so it works under trio's autojump clock. `MemoryCourier` keeps places in a dictionary that
stands for the stick carried from one node to another.
"""

from collections.abc import AsyncIterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from random import Random

import trio

from p2pnode.errors import ChannelClosed
from p2pnode.ids import Lane
from p2pnode.spi.transport import (
    MAX_FRAME,
    Address,
    Channel,
    Check,
    Courier,
    Deposit,
    Host,
    Parcel,
    Settings,
    Traits,
    Transport,
)

TRAITS = Traits(mtu=MAX_FRAME, reliable=True, ordered=True, metered=False)

FRAMES_UNDER_WAY = 64
"""Frames a channel holds in each direction before `send` waits."""

PENDING_INCOMING = 16
"""Channels that wait for the node to take them before a dial is refused."""

POLITE_WAIT = 2.0
"""Seconds the node with the higher name waits for the other to dial."""


@dataclass(eq=False, slots=True)
class Node:
    """A node's standing in its net; host and arrivals are there while it is switched on."""

    name: str
    traits: Traits
    lanes: set[Lane] = field(default_factory=set)
    host: Host | None = None
    arrivals: "trio.MemorySendChannel[tuple[MemoryChannel, Lane | None]] | None" = None

    @property
    def address(self) -> Address:
        """Where others reach it."""
        return Address(self.name.encode())

    def lost(self, other: "Node") -> None:
        """Tell it that another is gone."""
        if self.host is not None:
            self.host.lost(other.address)


class MemoryNet:
    """Which nodes can reach each other. `seed` fixes what `scatter` draws."""

    def __init__(self, *, seed: int = 0, together: bool = True) -> None:
        self._random = Random(seed)
        self._together = together
        self._nodes: dict[str, Node] = {}
        self._near: set[frozenset[str]] = set()
        self._channels: dict[frozenset[str], set[MemoryChannel]] = {}

    def transport(self, name: str, *, traits: Traits = TRAITS) -> "MemoryTransport":
        """Return a new node's transport; near all others when the net began `together`."""
        if name in self._nodes or "/" in name:
            raise ValueError("a node's name is unique and has no slash")
        if self._together:
            self._near |= {frozenset((name, other)) for other in self._nodes}
        node = self._nodes[name] = Node(name, traits)
        return MemoryTransport(self, node)

    def near(self, a: str, b: str) -> bool:
        """Say whether two nodes can reach each other now."""
        return frozenset((a, b)) in self._near

    def connect(self, a: str, b: str) -> None:
        """Bring two nodes together; both are told of an encounter.

        Channels that a silent cut made lose frames end here.
        """
        pair = frozenset((a, b))
        if pair in self._near:
            return
        self._near.add(pair)
        self._end_channels(pair)
        _meet(self._nodes[a], self._nodes[b])

    def cut(self, a: str, b: str, *, silent: bool = False) -> None:
        """Part two nodes: channels end and both are told.

        silent: nobody is told and frames vanish, as when a cable is pulled behind a switch.
        """
        pair = frozenset((a, b))
        if pair not in self._near:
            return
        self._near.discard(pair)
        if silent:
            for channel in self._channels.get(pair, ()):
                channel.silence()
            return
        self._end_channels(pair)
        self._nodes[a].lost(self._nodes[b])
        self._nodes[b].lost(self._nodes[a])

    def scatter(self, share: float) -> None:
        """Draw anew which pairs are near: each is with probability `share`."""
        for a, b in combinations(sorted(self._nodes), 2):
            if self._random.random() < share:
                self.connect(a, b)
            else:
                self.cut(a, b)

    def enter(self, node: Node) -> None:
        """Tell a node that was switched on, and those near it, of their encounters."""
        for other in self._neighbours(node):
            _meet(node, other)

    def leave(self, node: Node) -> None:
        """End the channels of a node that was switched off and tell those near it."""
        for pair in [pair for pair in self._channels if node.name in pair]:
            self._end_channels(pair)
        for other in self._neighbours(node):
            other.lost(node)

    def dial(self, node: Node, address: Address) -> "MemoryChannel":
        """Open a channel from a node to an address. Raises ChannelClosed."""
        raw, slash, under = bytes(address).partition(b"/")
        there = self._nodes.get(raw.decode("utf-8", "replace"))
        if there is None or there is node or there.arrivals is None or node.host is None:
            raise ChannelClosed
        if not self.near(node.name, there.name) or (slash and Lane(under) not in there.lanes):
            raise ChannelClosed
        to_there, from_here = trio.open_memory_channel[bytes](FRAMES_UNDER_WAY)
        to_here, from_there = trio.open_memory_channel[bytes](FRAMES_UNDER_WAY)
        mine = MemoryChannel(node.traits, to_there, from_there)
        theirs = MemoryChannel(there.traits, to_here, from_here)
        try:
            there.arrivals.send_nowait((theirs, Lane(under) if slash else None))
        except trio.WouldBlock:
            mine.end()
            theirs.end()
            raise ChannelClosed from None
        pair = frozenset((node.name, there.name))
        kept = {known for known in self._channels.get(pair, ()) if not known.ended}
        self._channels[pair] = kept | {mine, theirs}
        return mine

    def _neighbours(self, node: Node) -> list[Node]:
        return [other for name, other in self._nodes.items() if self.near(node.name, name)]

    def _end_channels(self, pair: frozenset[str]) -> None:
        for channel in self._channels.pop(pair, set()):
            channel.end()


def _meet(a: Node, b: Node) -> None:
    if a.host is not None and b.host is not None:
        first = a.name < b.name
        a.host.encountered(b.address, after=0.0 if first else POLITE_WAIT)
        b.host.encountered(a.address, after=POLITE_WAIT if first else 0.0)


class MemoryChannel(Channel):
    """One end of a channel between two nodes of a `MemoryNet`."""

    def __init__(
        self,
        traits: Traits,
        outgoing: trio.MemorySendChannel[bytes],
        incoming: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        self.traits = traits
        self.ended = False
        self._silent = False
        self._outgoing = outgoing
        self._incoming = incoming

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while `FRAMES_UNDER_WAY` are not received yet."""
        if not 0 < len(frame) <= MAX_FRAME:
            raise ValueError("a frame has 1 to MAX_FRAME bytes")
        if self.ended:
            await trio.lowlevel.checkpoint()
            raise ChannelClosed
        if self._silent:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._outgoing.send(bytes(frame))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ChannelClosed from None

    async def receive(self) -> bytes:
        """Return the next frame; what was sent before the end still comes."""
        try:
            return await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ChannelClosed from None

    async def aclose(self) -> None:
        """End the channel."""
        self._incoming.close()
        if not self._silent:
            self._outgoing.close()
        self.ended = True
        await trio.lowlevel.cancel_shielded_checkpoint()

    def silence(self) -> None:
        """Let everything sent from now on vanish."""
        self._silent = True

    def end(self) -> None:
        """End this side at once, without the other's part."""
        self._incoming.close()
        self._outgoing.close()
        self.ended = True


class MemoryTransport(Transport):
    """A node's way into a `MemoryNet`. Made by `MemoryNet.transport`."""

    name = "memory"

    def __init__(self, net: MemoryNet, node: Node) -> None:
        super().__init__(Settings())
        self._net = net
        self._node = node

    @property
    def address(self) -> Address:
        """Where the others of the net reach this node."""
        return self._node.address

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be part of the net until cancelled."""
        host.report("starting")
        node = self._node
        arriving, arrivals = trio.open_memory_channel[tuple[MemoryChannel, Lane | None]](
            PENDING_INCOMING
        )
        node.host, node.arrivals = host, arriving
        try:
            host.report("up")
            task_status.started()
            self._net.enter(node)
            async for channel, lane in arrivals:
                await host.incoming(channel, lane)
        finally:
            node.host = node.arrivals = None
            arriving.close()
            arrivals.close()
            self._net.leave(node)
            host.report("off")

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel to a node that is near and switched on."""
        await trio.lowlevel.checkpoint()
        return self._net.dial(self._node, address)

    async def addresses(self, lane: Lane) -> list[Address]:
        """Return the one address that belongs to an open lane."""
        await trio.lowlevel.checkpoint()
        return [Address(self.address + b"/" + lane)] if lane in self._node.lanes else []

    async def open(self, lane: Lane) -> None:
        """Let others come in under this lane."""
        await trio.lowlevel.checkpoint()
        self._node.lanes.add(lane)

    async def close(self, lane: Lane) -> None:
        """Refuse this lane's address until it is opened again."""
        await self.revoke(lane)

    async def revoke(self, lane: Lane) -> None:
        """Refuse this lane's address from now on."""
        await trio.lowlevel.checkpoint()
        self._node.lanes.discard(lane)

    async def diagnose(self) -> list[Check]:
        """Say that a process can talk to itself."""
        await trio.lowlevel.checkpoint()
        return [Check("memory", "ok", "nodes of one process reach each other")]


class MemoryCourier(Courier):
    """Places in a dictionary: name of the place → digest of the envelope → parcel.

    Two couriers over one dictionary see the same stick.
    """

    name = "memory-courier"

    def __init__(self, places: MutableMapping[str, dict[bytes, Parcel]]) -> None:
        super().__init__(Settings())
        self._places = places

    async def put(self, place: str, parcels: Sequence[Parcel]) -> Deposit:
        """Write the parcels the place does not hold yet."""
        await trio.lowlevel.checkpoint()
        held = self._places.setdefault(place, {})
        fresh = {_digest(parcel.envelope): parcel for parcel in parcels}
        fresh = {digest: parcel for digest, parcel in fresh.items() if digest not in held}
        held.update(fresh)
        return Deposit(len(fresh), sum(len(parcel.envelope) for parcel in fresh.values()))

    async def take(self, place: str, *, fresh: bool = False) -> AsyncIterator[Parcel]:
        """Yield what lies there and still has the digest it was put under."""
        for digest, parcel in list(self._places.get(place, {}).items()):
            await trio.lowlevel.checkpoint()
            if _digest(parcel.envelope) == digest:
                yield parcel

    async def diagnose(self) -> list[Check]:
        """Say that memory can be written."""
        await trio.lowlevel.checkpoint()
        return [Check("memory", "ok", "places lie in this process")]


def _digest(envelope: bytes) -> bytes:
    return blake2b(envelope, digest_size=16).digest()
