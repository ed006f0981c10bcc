"""Couriers: envelopes written to places and taken from them, when asked and for watched places."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, cast

import trio

from p2pnode.engine.owner import Owner
from p2pnode.errors import InvalidInput, LocalError, RemoteError
from p2pnode.ids import ContactId, EnvelopeId
from p2pnode.logs import EventLog, Private, traced
from p2pnode.spi.transport import Courier, Deposit, Parcel
from p2pnode.turns import asks
from p2pnode.turns.asks import BY_COURIER, Arrived

log = EventLog("couriers")

PAGE = 64
"""Envelopes read from the stores, or taken in, at once."""

MOST = 4_096
"""Envelopes handed to a courier in one `put`: 16 MiB of the smallest, and one look at the place."""

WATCH_EVERY = 10.0
"""Seconds between two looks at a watched place."""

ANEW_EVERY = 3_600.0
"""Seconds after which a watched place is written as for the first time: it may be empty now."""


@dataclass
class Reached:
    """How far the stores have been written to a place: rows of the outbox and of custody."""

    own: int = 0
    carried: int = 0


class Taken(NamedTuple):
    """What a place held: envelopes in all, those that were new here, those of the new ones that
    were for us, and those there was no room for."""

    found: int
    new: int
    opened: int
    refused: int


class Couriers:
    """All couriers of this node."""

    def __init__(self, couriers: Sequence[Courier], owner: Owner) -> None:
        self.all = {courier.name: courier for courier in couriers}
        self.under_way: Counter[str] = Counter()
        """Envelopes handled so far by what was asked for and is not done: "write", "read"."""
        self.failures: dict[str, str] = {}
        """Courier → why its watched places cannot be served now."""
        self._owner = owner
        self._watching: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Serve watched places until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for courier in self.all.values():
                nursery.start_soon(self._watch_all, courier)
            await trio.sleep_forever()

    def turn_on(self, courier: Courier) -> None:
        """Have one more courier, and serve its watched places."""
        assert self._nursery is not None  # they run
        self.all[courier.name] = courier
        self._nursery.start_soon(self._watch_all, courier)

    def turn_off(self, name: str) -> None:
        """Let a courier go, if it is there; what was asked of it and is under way goes on."""
        if self.all.pop(name, None) is not None:
            self.failures.pop(name, None)
            if name in self._watching:
                self._watching.pop(name).cancel()

    async def _watch_all(self, courier: Courier) -> None:
        async with trio.open_nursery() as nursery:
            self._watching[courier.name] = nursery.cancel_scope
            for place in courier.watched:
                nursery.start_soon(self._watch, courier, place)

    def named(self, name: str = "courier") -> Courier:
        """Return a courier. Raises InvalidInput when this node has none of that name."""
        if name not in self.all:
            raise InvalidInput(
                f'this node has no "{name}"',
                hint=f"Turn it on: p2pnode config set transports.{name} true",
            )
        return self.all[name]

    async def write(
        self,
        place: str,
        *,
        contact: ContactId | None = None,
        max_size: int = 0,
        courier: Courier | None = None,
        reached: Reached | None = None,
    ) -> Deposit:
        """Write own envelopes to a place, then carried ones; one contact's own alone when given.

        max_size: bytes of envelopes at most, 0 for no limit. reached: from where on; is moved.
        Raises what the courier raises; what was written before stays.
        """
        asked = courier is None
        courier = courier or self.named()
        reached = reached or Reached()
        with self._counting("write" if asked else "") as count:
            done = await self._write(place, courier, contact, max_size, reached, count)
            if asked and not done.envelopes:  # a wrong place is told where nothing waits, too
                await courier.put(place, [])
            return done

    async def _write(
        self,
        place: str,
        courier: Courier,
        contact: ContactId | None,
        max_size: int,
        reached: Reached,
        count: Callable[[int], None],
    ) -> Deposit:
        written, size, left = 0, 0, max_size or 1 << 62
        batch: list[Parcel] = []
        own: list[EnvelopeId] = []

        async def put() -> None:
            nonlocal written, size
            done = await courier.put(place, batch)
            written, size = written + done.envelopes, size + done.size
            for at in range(0, len(own), PAGE):
                await self._owner.ask(asks.Couriered(tuple(own[at : at + PAGE])))

        async with aclosing(self._parcels(contact, reached)) as parcels:
            async for mine, parcel in parcels:
                if len(parcel.envelope) > left:
                    break
                left -= len(parcel.envelope)
                batch.append(parcel)
                if mine is not None:
                    own.append(mine)
                if len(batch) == MOST:
                    await put()
                    count(len(batch))
                    batch.clear()
                    own.clear()
        if batch:
            await put()
        return Deposit(written, size)

    async def read(
        self, place: str, *, fresh: bool = False, courier: Courier | None = None
    ) -> Taken:
        """Take in what a place holds. Raises what the courier raises."""
        with self._counting("read" if courier is None else "") as count:
            return await self._read(place, courier or self.named(), fresh, count)

    @contextmanager
    def _counting(self, what: str) -> Iterator[Callable[[int], None]]:
        """Count what is handled, for whoever waits for it."""

        def count(envelopes: int) -> None:
            if what:
                self.under_way[what] += envelopes

        count(0)
        try:
            yield count
        finally:
            self.under_way.pop(what, None)

    async def _read(
        self, place: str, courier: Courier, fresh: bool, count: Callable[[int], None]
    ) -> Taken:
        counted = {"known": 0, "opened": 0, "kept": 0, "refused": 0}
        batch: list[Arrived] = []
        # An async generator by contract; the interface says only what its callers need.
        found = cast("AsyncGenerator[Parcel, None]", courier.take(place, fresh=fresh))
        async with aclosing(found) as parcels:
            async for parcel in parcels:
                batch.append(Arrived(BY_COURIER, None, None, parcel.age, parcel.envelope))
                if len(batch) == PAGE:
                    await self._take_in(batch, counted)
                    count(len(batch))
                    batch = []
        await self._take_in(batch, counted)
        new = counted["opened"] + counted["kept"]
        return Taken(sum(counted.values()), new, counted["opened"], counted["refused"])

    async def _take_in(self, batch: list[Arrived], counted: dict[str, int]) -> None:
        for outcome in await self._owner.ask_all(batch):
            if isinstance(outcome.error, RemoteError):
                counted["refused"] += 1
            elif outcome.error is not None:
                raise outcome.error
            else:
                counted[outcome.answer] += 1

    async def _watch(self, courier: Courier, place: str) -> None:
        reached, began = Reached(), trio.current_time()
        while True:
            if self.failures.get(courier.name) or trio.current_time() - began > ANEW_EVERY:
                reached, began = Reached(), trio.current_time()
            try:
                await self.read(place, fresh=True, courier=courier)
                await self.write(place, courier=courier, reached=reached)
                self.failures.pop(courier.name, None)
            except LocalError as error:
                self.failures[courier.name] = error.what  # a stick that is not plugged in, say
            except Exception as error:
                # A courier is somebody's plug-in: its defect must not end the node.
                log.fault("failed", courier=courier.name, at=traced(error), text=Private(error))
                self.failures[courier.name] = "internal error"
            await trio.sleep(WATCH_EVERY)

    async def _parcels(
        self, contact: ContactId | None, reached: Reached
    ) -> AsyncGenerator[tuple[EnvelopeId | None, Parcel], None]:
        """Yield what goes to a place, own envelopes with their ids."""
        while page := await self._owner.ask(asks.OwnParcels(contact, reached.own, PAGE)):
            reached.own = page[-1][0]
            for _, envelope, age, raw in page:
                yield envelope, Parcel(raw, age)
        if contact is not None:
            return
        while ids := await self._owner.ask(asks.CarriedIds(reached.carried, PAGE)):
            reached.carried = ids[-1][0]
            wanted = tuple(envelope for _, envelope in ids)
            for _, age, raw in await self._owner.ask(asks.FetchCarried(wanted)):
                yield None, Parcel(raw, age)
