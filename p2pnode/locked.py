"""A node whose vault is locked: it carries and forwards, without any secret of its owner.

It works on the custody store alone, beside an empty vault in memory under an identity that nobody
knows. Contacts know it by its carry pass; to everybody else it is a stranger, and it is theirs.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import Any

import msgspec
import trio

from p2pnode import card, diagnosis, metrics, overview, plugins, schema
from p2pnode.config import Config, Home
from p2pnode.engine.clock import Clock
from p2pnode.engine.engine import Engine
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import VaultLocked
from p2pnode.home import disk_room
from p2pnode.node import policy
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.store import files
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns.stores import Stores

UNLOCK = "p2pnode unlock"


class LockedNode(schema.Service):
    """Answers what a locked node can; everything else is VaultLocked.

    stores: an empty vault with an identity of its own, and the real custody.
    """

    def __init__(self, stores: Stores, engine: Engine, home: Home | None = None) -> None:
        self._home = home
        self.engine = engine
        self._stores = stores

    @asynccontextmanager
    async def running(self) -> AsyncIterator["LockedNode"]:
        """Carry until the context ends."""
        async with self.engine.running({}, []):
            yield self

    async def change(self, config: Config, transports: Collection[str]) -> None:
        """Work by other settings from now on; transports: names of those whose own changed."""
        await trio.lowlevel.checkpoint()
        self._stores = replace(self._stores, carry=_own_policy(policy(config)))
        batching = self._home and card.batches(config.store.batch_writes, self._home.root)
        self.engine.change(self._stores, batching=bool(batching))
        enabled = config.enabled()
        for name in transports:
            fresh = None
            if self._home is not None and name in enabled:
                loaded = plugins.load(self._home.config, {name: enabled[name]})
                [fresh] = plugins.while_locked(loaded)
            await self.engine.switch(name, fresh, {}, [])

    async def call(self, request: schema.Request) -> schema.Answer:
        """Carry out a request. Raises VaultLocked for what takes the vault."""
        match request:
            case schema.GetStatus():
                found = overview.counted(self._stores, self.engine.clock.now().node)
                # of backups only the real vault knows
                return overview.status(self.engine, found._replace(backup=None), locked=True)
            case schema.GetMetrics():
                found = overview.counted(self._stores, self.engine.clock.now().node)
                return schema.Metrics(text=metrics.text(self.engine, found))
            case schema.Diagnose():
                return await self._diagnose()
            case schema.GetReady(timeout=timeout):
                with trio.move_on_after(timeout):
                    await self.engine.transports.settled()
                return schema.Ready(ready=self.engine.transports.all_settled)
            case schema.WriteCourier(place=place, contact="", max_size=most):
                done = await self.engine.couriers.write(place, max_size=most)
                return schema.CourierWritten(envelopes=done.envelopes, bytes=done.size)
            case schema.ReadCourier(place=place):
                taken = await self.engine.couriers.read(place)
                return schema.CourierRead(**taken._asdict())
            case schema.GetErasures() | schema.CancelErasures(contact=""):
                return schema.Erasures(erasing=[], locked=True)  # of the vault's none can be told
            case _:
                await trio.lowlevel.checkpoint()
                raise VaultLocked(
                    "the vault is locked; this node only carries", hint=f"Open it: {UNLOCK}"
                )

    async def _diagnose(self) -> schema.Diagnosis:
        found = diagnosis.clock(self.engine.clock.wall())
        if self._home is not None:
            found += await trio.to_thread.run_sync(
                partial(diagnosis.home, self._home, batching=self.engine.batching)
            )
            found.append(diagnosis.unread("locked: this node only carries", UNLOCK))
            found += await trio.to_thread.run_sync(
                diagnosis.carried, self._home, self._stores.carry
            )
        on = self.engine.diagnosable()
        found += diagnosis.switched_off([name for name, _ in on])
        found += await diagnosis.transports(on)
        return schema.Diagnosis(findings=found)


def locked_stores(
    custody: Custody,
    policy_: CarryPolicy,
    entropy: Any,
    room: Callable[[], int] | None = None,
) -> tuple[Stores, Own]:
    """Return the stores of a locked node: an empty vault in memory, under a passing identity.

    Strangers get and give nothing here: who they were before lies in the real vault.
    """
    account = identity.new_account(entropy)
    own = Own(account, identity.new_device(account, entropy), "locked")
    vault = Vault.memory()
    initialise(vault, own, entropy.take(32))
    return Stores(vault, custody, _own_policy(policy_), room=room), own


def _own_policy(wanted: CarryPolicy) -> CarryPolicy:
    return msgspec.structs.replace(wanted, who="contacts") if wanted.who == "everyone" else wanted


@asynccontextmanager
async def open_locked(home: Home, config: Config) -> AsyncIterator[LockedNode]:
    """Run the node of a home without opening its vault until the context ends.

    Raises StoreError and its kinds, ConfigError.
    """
    transports = plugins.while_locked(plugins.load(home.config, config.enabled()))
    entropy = OsEntropy()
    async with AsyncExitStack() as stack:
        custody = Custody.open(home.custody)
        stack.callback(custody.close)
        room = partial(disk_room, home.root)
        stores, own = locked_stores(custody, policy(config), entropy, room)
        stack.callback(stores.vault.close)
        kept = custody.kept_clock()
        engine = Engine(
            stores,
            own,
            entropy,
            Clock() if kept is None else Clock.after(*kept),
            transports,
            random=SystemRandom(),
            carry_pass=files.carry_pass(home.carry_pass) or entropy.take(files.CARRY_PASS),
            locked=True,
            batching=card.batches(config.store.batch_writes, home.root),
            files=home.transports,
        )
        yield await stack.enter_async_context(LockedNode(stores, engine, home).running())
