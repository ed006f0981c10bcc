"""Dials the places where others may be reached, each in its own task, with patience.

A place is an address on one transport: seen by the transport itself (an encounter), or told by a
contact on a link. Addresses are hints: who is there shows only on the link.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import trio

from p2pnode.engine.link_task import LinkTask
from p2pnode.engine.peers import OpenPairing, Peers
from p2pnode.engine.plugged import spared
from p2pnode.errors import ChannelClosed
from p2pnode.ids import DeviceId, Lane
from p2pnode.logs import EventLog, Private
from p2pnode.protocol.limits import MAX_ADDRESSES
from p2pnode.spi.transport import Address, Channel, Transport

log = EventLog("dialer")

MAX_PLACES = 256
"""Places of one transport tried at once; a flood of false announcements gets no further."""

DIALS = 8
"""Channels being opened at once on one transport: a slow one holds up no other."""

AGAIN = 0.05
"""Seconds, about, until a place is tried again because something changed meanwhile."""

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
LONGEST_WAIT_UNSEEN = 600.0
"""Seconds between tries: doubling from the first, up to the longest (place seen, or only told)."""

MANY = 32
"""Doublings after which any pause is at its longest."""

STORM = 8
"""Tries of a place in a row without a link after which that is worth a line in the log."""

STRANGER_WAIT = 300.0
"""Seconds after which a stranger is tried again, unless something changes here before."""

FRIEND_WAIT = 10.0
"""Seconds after which a node that runs locked tries a friend again whose link has ended: the other
side, which knows whom it deals with, sees to it that only one link stands."""

Run = Callable[[LinkTask], Awaitable[None]]


class Begin(Protocol):
    """Makes a link on a channel, not yet running."""

    def __call__(self, channel: Channel, transport: Transport, *, initiator: bool) -> LinkTask:
        """Return it."""
        ...


@dataclass(eq=False)
class Place:
    """One address and what is known of it.

    device: who is there, as far as is known. teller: the contact's device that told of it. fresh:
    set when waiting on has lost its reason. disowned: a link that stood when its device was given
    up; that it was there is not worth a try any more.
    """

    transport: Transport
    address: Address
    lane: Lane | None
    seen: bool
    device: DeviceId | None = None
    teller: DeviceId | None = None
    after: float = 0.0
    tried: int = -1
    link: LinkTask | None = None
    disowned: LinkTask | None = None
    twice: bool = False
    failures: int = 0
    fresh: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Dialer:
    """Keeps one task for each place. `run_link` runs a link to its end."""

    def __init__(self, peers: Peers, random: Random, new_link: Begin, run_link: Run) -> None:
        self._peers = peers
        self._random = random
        self._new_link = new_link
        self._run_link = run_link
        self._places: dict[tuple[str, Address], Place] = {}
        self._nursery: trio.Nursery | None = None
        self._changed = trio.Event()
        self._changes = 0
        self._dials: defaultdict[str, trio.CapacityLimiter] = defaultdict(
            lambda: trio.CapacityLimiter(DIALS)
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None  # what a last commit still tells has no consequences any more

    def encountered(self, transport: Transport, address: Address, after: float) -> None:
        """A transport has seen somebody."""
        place = self._places.get((transport.name, address))
        if place is not None:
            place.seen = True
            return
        self._add(Place(transport, address, None, seen=True, after=after))

    def told(self, transport: Transport, address: Address, device: DeviceId, lane: Lane) -> None:
        """A contact's device said where it may be reached."""
        place = self._places.get((transport.name, address))
        if place is not None:
            place.device, place.lane, place.teller = device, lane, device
            return
        self._outdated(transport, device)
        self._add(
            Place(
                transport,
                address,
                lane,
                seen=False,
                device=device,
                teller=device,
                after=FIRST_WAIT,
            )
        )

    def lost(self, transport: Transport, address: Address) -> None:
        """A transport no longer sees an address; what a contact told stays worth a try."""
        place = self._places.get((transport.name, address))
        if place is None:
            return
        if place.device is None:
            self._drop(place)
        else:
            place.seen = False

    def forget_device(self, device: DeviceId) -> None:
        """A contact was removed or blocked: nobody is dialled for its device's sake any more.

        A place that a transport sees is dialled on: whoever is there is nobody's contact.
        """
        for place in list(self._places.values()):
            there = _peer(place.link) == device if place.link is not None else False
            if device not in (place.device, place.teller) and not there:
                continue
            if there:
                place.disowned = place.link
            place.device = place.teller = place.lane = None
            if not place.seen:
                self._drop(place)

    def forget(self, transport: Transport) -> None:
        """A transport has stopped."""
        for place in [known for known in self._places.values() if known.transport is transport]:
            self._drop(place)

    def changed(self) -> None:
        """Strangers may be recognised now, or wanted for a pairing: try all again.

        Links with strangers that we dialled end for that. Links with contacts stand, but where a
        pairing is open their places are dialled once more all the same: the person may want to pair
        anew with a contact, whose own try came perhaps before our person had the code.
        """
        for link in self._peers.links.values():
            if link.dialled and link.stranger:
                link.end()
        self._changes += 1
        self._changed.set()
        self._changed = trio.Event()
        if self._peers.pairings and self._nursery is not None:
            for place in self._places.values():
                if place.link is not None and place.link.device is not None and not place.twice:
                    place.twice = True
                    self._nursery.start_soon(self._besides, place)

    def retry(self, transport: Transport) -> None:
        """A transport has come up: what failed before says nothing about now."""
        _begin_anew(one for one in self._places.values() if one.transport is transport)

    def met(self, device: DeviceId) -> None:
        """A device is here: once it goes it is worth as many tries as one that was never missed."""
        _begin_anew(one for one in self._places.values() if one.device == device)

    def nearby(self, transport: str) -> int:
        """Return how many places a transport sees now."""
        return sum(place.seen for (name, _), place in self._places.items() if name == transport)

    def _add(self, place: Place) -> None:
        name = place.transport.name
        if self._nursery is None:
            return
        if sum(key[0] == name for key in self._places) >= MAX_PLACES:
            idle = (one for one in self._places.values() if one.transport is place.transport)
            strange = (one for one in idle if one.device is None and one.link is None)
            spare = next(strange, None) if place.teller is not None else None
            if spare is None:
                log.warning("too.many.places", transport=name)
                return
            self._drop(spare)  # what a contact told is worth more than what was announced
        self._places[name, place.address] = place
        self._nursery.start_soon(self._tend, place)

    def _outdated(self, transport: Transport, device: DeviceId) -> None:
        """Make room for one more place that a device tells of: it has so many at most, or one
        contact could take up all the places there are."""
        told = [
            one
            for one in self._places.values()
            if one.transport is transport and one.teller == device and one.link is None
        ]
        for one in told[: max(0, len(told) + 1 - MAX_ADDRESSES)]:
            one.teller = one.lane = None
            if not one.seen:
                self._drop(one)

    def _drop(self, place: Place) -> None:
        self._places.pop((place.transport.name, place.address), None)
        place.scope.cancel()

    async def _tend(self, place: Place) -> None:
        with place.scope:
            await trio.sleep(place.after)
            while True:
                await self._until_wanted(place)
                changes = self._changes
                link = await self._try(place)
                if changes != self._changes:
                    place.failures = 0
                    await self._pause(place, AGAIN)
                    continue
                if link is None:
                    place.failures += 1
                    if place.failures == STORM:
                        name, seen = place.transport.name, place.seen
                        log.info("keeps.failing", transport=name, tries=STORM, seen=seen)
                    longest = LONGEST_WAIT if place.seen else LONGEST_WAIT_UNSEEN
                    await self._pause(place, doubled(FIRST_WAIT, place.failures, longest))
                    continue
                place.failures = 0
                friend = _peer(link) if link is not place.disowned else None
                place.disowned = None
                if friend is not None:
                    place.device = friend
                    await self._pause(place, FIRST_WAIT)
                elif link.exchange is not None:
                    place.device = None
                    await self._pause(place, FRIEND_WAIT)
                elif link.pairing is not None:
                    await self._while_paired(link.pairing)
                    place.tried = -1  # it may have broken off
                    await self._pause(place, FIRST_WAIT)
                else:
                    place.device = None
                    await self._pause(place, STRANGER_WAIT)

    async def _until_wanted(self, place: Place) -> None:
        """Wait while a link with the device known to be there stands.

        When a pairing opens it is dialled once all the same: the person may want to pair anew with
        a contact, or with somebody else who is there now.
        """
        while place.device is not None:
            link = self._peers.with_device(place.device)
            if link is None:
                return
            if self._peers.pairings and place.tried != self._changes:
                place.tried = self._changes
                return
            await either(link.ended, self._changed)

    async def _try(self, place: Place) -> LinkTask | None:
        """Dial; run the link to its end. None when nobody answered, or no link came of it."""
        place.link = await self._open(place)
        if place.link is None:
            return None
        link = place.link
        await self._run_link(link)
        place.link = None
        return link if link.established_at else None

    async def _while_paired(self, pairing: OpenPairing) -> None:
        """Wait while another link serves the same pairing: both sides may have dialled."""
        while (link := self._peers.of_pairing(pairing)) is not None:
            await link.ended.wait()

    async def _besides(self, place: Place) -> None:
        """Dial a place where a link stands, for a pairing; again while one is under way there."""
        while self._peers.pairings:
            link = await self._open(place)
            if link is None:
                break
            await self._run_link(link)
            if link.pairing is None:
                break
            await self._while_paired(link.pairing)
            await self._pause(place, FIRST_WAIT)
        place.twice = False

    async def _open(self, place: Place) -> LinkTask | None:
        async with self._dials[place.transport.name]:
            channel = await spared(place.transport, _dialled(place), None)
        if channel is None:
            self._peers.counts.dials[place.transport.name, "failed"] += 1
            log.debug(
                "unanswered",
                transport=place.transport.name,
                seen=place.seen,
                address=Private(place.address.hex()),
            )
            return None
        self._peers.counts.dials[place.transport.name, "answered"] += 1
        return self._new_link(channel, place.transport, initiator=True)

    async def _pause(self, place: Place, seconds: float) -> None:
        """Sleep about that long; less when something changes here, or for this place."""
        with trio.move_on_after(seconds * self._random.uniform(0.75, 1.25)):
            await either(self._changed, place.fresh)


async def _dialled(place: Place) -> Channel | None:
    """Return a channel to a place; None when nobody answers there."""
    try:
        return await place.transport.dial(place.address, place.lane)
    except ChannelClosed:
        return None


def _peer(link: LinkTask) -> DeviceId | None:
    """Return whose device a link is with, be its vault open or locked."""
    friend = link.device or link.carrier
    return friend.id if friend is not None else None


def _begin_anew(places: Iterable[Place]) -> None:
    for place in places:
        if place.failures:
            place.failures = 0
            place.fresh.set()
            place.fresh = trio.Event()


def doubled(first: float, times: int, longest: float) -> float:
    """Return seconds to wait: the first, doubled so many times, up to the longest. However many
    there were: 2**1024 is too large for a float, and an absent friend is tried that often."""
    return min(first * 2.0 ** min(times, MANY), longest)


async def either(first: trio.Event, second: trio.Event) -> None:
    """Wait until one of two events happens."""
    async with trio.open_nursery() as nursery:

        async def second_first() -> None:
            await second.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(second_first)
        await first.wait()
        nursery.cancel_scope.cancel()
