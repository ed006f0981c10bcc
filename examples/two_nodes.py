"""Two whole nodes in one process, over the in-memory transport: pair, write, read.

The same node, turns and stores as in a daemon; only the medium and the stores live in memory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from p2pnode import schema
from p2pnode.engine.entropy import OsEntropy
from p2pnode.node import Node
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.spi.memory import MemoryNet
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns.stores import Stores


@asynccontextmanager
async def node(net: MemoryNet, name: str) -> AsyncIterator[Node]:
    """Run a node that forgets everything at its end."""
    entropy = OsEntropy()
    stores = Stores(Vault.memory(), Custody.memory(), CarryPolicy(limit=0))
    account = identity.new_account(entropy)
    own = Own(account, identity.new_device(account, entropy), name)
    initialise(stores.vault, own, entropy.take(32))
    async with Node(stores, [net.transport(name)], reader=None).running() as running:
        yield running
    stores.vault.close()
    stores.custody.close()


async def agree(one: Node, pairing: schema.Pairing) -> list[str]:
    """Go through a pairing, say yes to the words, and return them."""
    words: list[str] = []
    seen = 0
    while True:
        step = await one.call(schema.NextStep(pairing=pairing.pairing, seen=seen))
        assert isinstance(step, schema.PairingStep)
        seen = step.step
        if step.event == "compare":
            words = step.words
            await one.call(schema.AnswerPairing(pairing=pairing.pairing, yes=True))
        if step.event == "paired":
            return words


async def main() -> None:
    """Tell it."""
    net = MemoryNet()
    async with node(net, "ana") as ana, node(net, "bo") as bo:
        shown = await ana.call(schema.ShowCode())
        assert isinstance(shown, schema.Pairing)
        joined = await bo.call(schema.JoinCode(uri=shown.uri))
        assert isinstance(joined, schema.Pairing)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agree, bo, joined)
            print("words to compare:", " ".join(await agree(ana, shown)))
        sent = await ana.call(schema.Send(to="bo", text="hello from the same process"))
        assert isinstance(sent, schema.Sent)
        await ana.call(schema.WaitState(id=sent.id))
        history = await bo.call(schema.GetHistory(contact="ana"))
        assert isinstance(history, schema.History)
        for message in history.messages:
            print(f"{message.from_}: {message.text}")


if __name__ == "__main__":
    trio.run(main)
