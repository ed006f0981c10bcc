"""Whole nodes in memory for tests: real machines, turns and engine over `MemoryNet`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import trio

from p2pnode import schema
from p2pnode.engine.clock import Clock
from p2pnode.engine.engine import Engine
from p2pnode.locked import LockedNode, locked_stores
from p2pnode.node import Node
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryFor, CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.spi.memory import MemoryNet
from p2pnode.spi.transport import Courier
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns.stores import Stores
from tests.entropy import SeededEntropy

CARRY = 1_000_000


class Person:
    """A node that can be switched off and on; its stores stay. folder: they are files there."""

    def __init__(
        self,
        net: MemoryNet,
        name: str,
        *,
        seed: int = 0,
        folder: Path | None = None,
        retention: int = 0,
    ) -> None:
        self.net = net
        self.name = name
        self.entropy = SeededEntropy(int.from_bytes(f"{name}{seed}".encode()[:15]))
        self.random = Random(f"{name} {seed}")
        if folder is None:
            vault, custody = Vault.memory(), Custody.memory()
        else:
            folder.mkdir()
            vault = Vault.create(folder / "vault.db", self.entropy.take(32))
            custody = Custody.create(folder / "custody.db")
        self.stores = Stores(vault, custody, CarryPolicy(CARRY), retention=retention)
        account = identity.new_account(self.entropy)
        own = Own(account, identity.new_device(account, self.entropy), name)
        initialise(self.stores.vault, own, self.entropy.take(32))
        self.transport = net.transport(name)
        self.couriers: list[Courier] = []
        self.carry_pass = b""
        self.batching = False
        self.node: Node | None = None

    @asynccontextmanager
    async def on(self) -> AsyncIterator[Node]:
        """Run the node until the context ends."""
        self.node = Node(
            self.stores,
            [self.transport, *self.couriers],
            reader=None,
            clock=Clock.resumed(self.stores.vault.meta.get("clock"), wall=virtual_wall),
            entropy=self.entropy,
            random=self.random,
            carry_pass=self.carry_pass,
            batching=self.batching,
        )
        async with self.node.running():
            yield self.node
        self.node = None

    @asynccontextmanager
    async def on_locked(self) -> AsyncIterator[LockedNode]:
        """Run the node with its vault locked until the context ends."""
        stores, own = locked_stores(self.stores.custody, self.stores.carry, self.entropy)
        kept = self.stores.custody.kept_clock()
        engine = Engine(
            stores,
            own,
            self.entropy,
            Clock(wall=virtual_wall) if kept is None else Clock.after(*kept, wall=virtual_wall),
            [self.transport, *self.couriers],
            random=self.random,
            inline=True,
            carry_pass=self.carry_pass,
            locked=True,
            batching=self.batching,
        )
        async with LockedNode(stores, engine).running() as node:
            yield node
        stores.vault.close()

    def carry_for(self, who: CarryFor, limit: int = CARRY) -> None:
        """Change for whom the node carries, and how many bytes; while it is off."""
        self.stores = replace(self.stores, carry=CarryPolicy(limit, who))

    def close(self) -> None:
        """Close the stores."""
        self.stores.vault.close()
        self.stores.custody.close()


def virtual_wall() -> int:
    """Return a wall clock that runs with trio's own, from a day in 2026 on."""
    return 1_780_000_000 + int(trio.current_time())


async def steps(node: Node, pairing: str) -> AsyncIterator[schema.PairingStep]:
    """Yield the steps of a pairing until it has ended."""
    seen = 0
    while True:
        step = await node.call(schema.NextStep(pairing=pairing, seen=seen, timeout=600))
        assert isinstance(step, schema.PairingStep)
        if step.event == "waiting":
            continue
        seen = step.step
        yield step
        if step.event in ("paired", "failed"):
            return


async def pair(shower: Node, joiner: Node, *, yes: tuple[bool, bool] = (True, True)) -> list[str]:
    """Pair two running nodes; return how it ended for the shower and the joiner."""
    shown = await shower.call(schema.ShowCode())
    assert isinstance(shown, schema.Pairing)
    joined = await joiner.call(schema.JoinCode(uri=shown.uri))
    assert isinstance(joined, schema.Pairing)
    ends: dict[int, str] = {}
    words: dict[int, list[str]] = {}

    async def side(number: int, node: Node, pairing: str) -> None:
        async for step in steps(node, pairing):
            if step.event == "compare":
                words[number] = step.words
                await node.call(schema.AnswerPairing(pairing=pairing, yes=yes[number]))
            ends[number] = step.event

    async with trio.open_nursery() as nursery:
        nursery.start_soon(side, 0, shower, shown.pairing)
        nursery.start_soon(side, 1, joiner, joined.pairing)
    assert words[0] == words[1]
    return [ends[0], ends[1]]


async def send(node: Node, to: str, text: str) -> str:
    """Send a text and return its id."""
    sent = await node.call(schema.Send(to=to, text=text))
    assert isinstance(sent, schema.Sent)
    return sent.id


async def reached(node: Node, message: str, state: str = "delivered") -> schema.Message:
    """Wait until a message has a state."""
    answer = await node.call(schema.WaitState(id=message, state=state, timeout=3_600))
    assert isinstance(answer, schema.Message)
    return answer


async def history(node: Node, contact: str, limit: int = 1_000) -> list[schema.Message]:
    """Return the conversation."""
    answer = await node.call(schema.GetHistory(contact=contact, limit=limit))
    assert isinstance(answer, schema.History)
    return answer.messages
