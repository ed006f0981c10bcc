"""Runs transports side by side: one that fails never takes the node or another one with it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from p2pnode.engine.dialer import Dialer, doubled
from p2pnode.engine.owner import Owner
from p2pnode.engine.plugged import done, spared
from p2pnode.errors import InvalidInput, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.logs import EventLog, Private, phrase, traced
from p2pnode.spi.transport import MAX_ADDRESS, Address, Channel, Transport, TransportState
from p2pnode.turns.asks import LoadPrivate, PrivateNames, SavePrivate

log = EventLog("transports")

MAX_PRIVATE = 65_536
"""Bytes in one value a transport keeps."""

LOOK_AGAIN = 60.0
LONGEST_ABSENCE = 3_600.0
"""Seconds until one is tried again whose medium this machine lacks: doubling, up to the longest."""

LONGEST_PAUSE = 300.0
"""Seconds between restarts of a transport that keeps failing, at most."""

Incoming = Callable[[Channel, Transport], Awaitable[None]]


@dataclass(eq=False)
class Running:
    """A transport, its state, when it has started or given up, and when it is gone for good."""

    transport: Transport
    state: TransportState = "starting"
    detail: str = ""
    settled: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


def declared(transport: Transport, name: str) -> bool:
    """Tell whether a transport says what it keeps under a name."""
    begins = tuple(known for known in transport.private if known.endswith("-"))
    return name in transport.private or (bool(begins) and name.startswith(begins))


class HostFor:
    """What one running transport sees of the node (`p2pnode.spi.transport.Host`).

    directory: where it may keep files; None where the home is in memory.
    """

    def __init__(
        self,
        running: Running,
        dialer: Dialer,
        owner: Owner,
        incoming: Incoming,
        changed: Callable[[Transport], None],
        directory: Path | None = None,
    ) -> None:
        self._changed = changed
        self._directory = directory
        self._running = running
        self._dialer = dialer
        self._owner = owner
        self._incoming = incoming

    def encountered(self, address: Address, *, after: float = 0.0) -> None:
        """Take note of a node that may be there."""
        if 0 < len(address) <= MAX_ADDRESS:
            self._dialer.encountered(self._running.transport, address, after)

    def lost(self, address: Address) -> None:
        """Take note that it is gone."""
        self._dialer.lost(self._running.transport, address)

    async def incoming(self, channel: Channel, lane: Lane | None = None) -> None:
        """Take over a channel."""
        await self._incoming(channel, self._running.transport)

    def report(self, state: TransportState, detail: str = "") -> None:
        """Keep the state for `status`; what a transport that is up again brings is told."""
        before = self._running.state
        if (before, self._running.detail) != (state, detail):
            log.info(
                "state", transport=self._running.transport.name, state=state, detail=phrase(detail)
            )
        self._running.state, self._running.detail = state, detail
        if state == "up" and before != "up":
            self._changed(self._running.transport)

    async def load(self, name: str) -> bytes | None:
        """Return what the transport saved."""
        value: bytes | None = await self._owner.ask(LoadPrivate(self._running.transport.name, name))
        return value

    async def save(self, name: str, value: bytes) -> None:
        """Keep a value in the vault."""
        if len(value) > MAX_PRIVATE:
            raise InvalidInput("a transport keeps at most 64 KiB under a name")
        if not declared(self._running.transport, name):
            raise InvalidInput("a transport keeps values only under the names it declares")
        await self._owner.ask(SavePrivate(self._running.transport.name, name, value))

    async def names(self) -> list[str]:
        """Return under which names the transport saved something."""
        found: list[str] = await self._owner.ask(PrivateNames(self._running.transport.name))
        return found

    def directory(self) -> Path | None:
        """Return the transport's place for files, made where it is not there yet."""
        place = self._directory
        if place is None:
            return None
        try:
            for made in (place.parent, place):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
                made.chmod(0o700)
        except OSError as failure:
            raise TransportUnavailable(
                "it has no place for its files", why=failure.strerror or ""
            ) from None
        return place


def _nowhere(able: list[Running]) -> InvalidInput:
    """Say why no code can name a place; able: the transports that would have one."""
    states = "; ".join(
        f"{one.transport.name} is {one.state}{one.detail and f', {one.detail}'}" for one in able
    )
    return InvalidInput(
        "nobody could reach this node from afar",
        why=states or "no transport whose places a code can name is turned on",
        hint="What is missing, and how to turn on Tor, tells: p2pnode doctor",
    )


class Transports:
    """All transports of this node. files: the directory for theirs; None keeps none."""

    def __init__(
        self,
        transports: list[Transport],
        dialer: Dialer,
        owner: Owner,
        incoming: Incoming,
        changed: Callable[[Transport], None],
        random: Random,
        files: Path | None = None,
    ) -> None:
        self._changed = changed
        self._files = files
        self.running = [Running(transport) for transport in transports]
        self._dialer = dialer
        self._owner = owner
        self._incoming = incoming
        self._random = random
        self._nursery: trio.Nursery | None = None
        self._next_up = trio.Event()

    @property
    def all_settled(self) -> bool:
        """Whether each has started, or given up for now."""
        return all(one.settled.is_set() for one in self.running)

    def named(self, name: str) -> Transport | None:
        """Return a running transport."""
        found = (one.transport for one in self.running if one.transport.name == name)
        return next(found, None)

    async def run(self) -> None:
        """Run them all until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for one in self.running:
                nursery.start_soon(self._serve, one)
            await trio.sleep_forever()

    async def turn_on(self, transport: Transport, lanes: Mapping[Lane, bool]) -> None:
        """Run one more, which has these lanes and serves those that are true."""
        assert self._nursery is not None  # they run
        one = Running(transport)
        self.running.append(one)
        for lane, served in lanes.items():
            await done(transport, (transport.open if served else transport.close)(lane))
        self._nursery.start_soon(self._serve, one)

    async def turn_off(self, name: str) -> None:
        """End one, if it is there, and wait until it is gone."""
        for one in [known for known in self.running if known.transport.name == name]:
            one.scope.cancel()
            await one.ended.wait()
            self.running.remove(one)

    async def settled(self) -> None:
        """Wait until each has started, or given up for now."""
        for one in list(self.running):
            await one.settled.wait()

    async def open(self, lane: Lane) -> bool:
        """Serve a lane everywhere; tell whether all could."""
        return await self._all(lambda one: one.open(lane))

    async def close(self, lane: Lane) -> bool:
        """Serve a lane nowhere, until it is opened again; tell whether all could."""
        return await self._all(lambda one: one.close(lane))

    async def meet(self, lane: Lane, patience: float) -> bytes:
        """Serve a lane to whoever has a code; return its place for the code.

        patience: seconds a transport that is not up yet may take. Raises InvalidInput.
        """
        deadline = trio.current_time() + patience
        while True:
            next_up = self._next_up
            able = [one for one in self.running if one.transport.codes]
            for one in able:
                if one.state == "up" and (
                    place := await spared(one.transport, one.transport.meet(lane), b"")
                ):
                    return place
            with trio.move_on_at(deadline if able else trio.current_time()) as waiting:
                await next_up.wait()
            if waiting.cancelled_caught:
                raise _nowhere(able)

    async def revoke(self, lane: Lane) -> bool:
        """Forget a lane everywhere; tell whether all could."""
        return await self._all(lambda one: one.revoke(lane))

    async def addresses(self, lane: Lane) -> list[tuple[str, list[Address]]]:
        """Return where the holder of a lane may reach this node, by transports that are up."""
        return [
            (
                one.transport.name,
                list(await spared(one.transport, one.transport.addresses(lane), ())),
            )
            for one in list(self.running)
            if one.state == "up"
        ]

    async def _all(self, ask: Callable[[Transport], Awaitable[None]]) -> bool:
        """Ask all for something; tell whether all did it."""
        return all([await done(one.transport, ask(one.transport)) for one in list(self.running)])

    async def _serve(self, one: Running) -> None:
        try:
            with one.scope:
                await self._supervise(one)
        finally:
            one.ended.set()

    async def _supervise(self, one: Running) -> None:
        failures, absences, said = 0, 0, ""
        while True:
            began = trio.current_time()
            unavailable = False
            try:
                await self._run_one(one)
            except* TransportUnavailable as group:
                unavailable = True
                one.detail = getattr(group.exceptions[0], "what", "")
                if one.detail != said:
                    see = phrase("p2pnode doctor")
                    log.warning("unavailable", transport=one.transport.name, see=see)
                said = one.detail
            except* Exception as group:
                # A transport is somebody's plug-in: its defect must not end the node.
                log.fault(
                    "failed", transport=one.transport.name, at=traced(group), text=Private(group)
                )
                one.detail = "restarting"
            finally:
                self._dialer.forget(one.transport)
                one.state = "off"
                one.settled.set()
            if unavailable:  # an adapter may be plugged in, a service may only start later than we
                await trio.sleep(doubled(LOOK_AGAIN, absences, LONGEST_ABSENCE))
                absences += 1
                continue
            failures = 0 if trio.current_time() - began > LONGEST_PAUSE else failures + 1
            pause = doubled(1.0, failures, LONGEST_PAUSE)
            log.warning("pausing", transport=one.transport.name, failures=failures, seconds=pause)
            await trio.sleep(pause * self._random.uniform(0.75, 1.25))

    async def _run_one(self, one: Running) -> None:
        place = self._files / one.transport.name if self._files is not None else None
        host = HostFor(one, self._dialer, self._owner, self._incoming, self._came_up, place)
        async with trio.open_nursery() as nursery:
            await nursery.start(one.transport.run, host)
            one.settled.set()

    def _came_up(self, transport: Transport) -> None:
        self._changed(transport)
        self._next_up.set()
        self._next_up = trio.Event()
