"""One end of a simulated link with a contact: the engine's way of sending, as timed events.

The handshake is left out (it is tested elsewhere); everything after it is real: the same turns, the
same messages with their real sizes, the same reconciliation.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from p2pnode.ids import ContactId, DeviceId, EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.custody import Waiting
from p2pnode.protocol.link.layout import encode_message
from p2pnode.protocol.link.messages import (
    Accepted,
    Delivered,
    EnvelopeOut,
    Hello,
    LinkMessage,
    Offer,
    Receipts,
    Reconcile,
    Refused,
    Want,
)
from p2pnode.protocol.reconcile import effects
from p2pnode.protocol.reconcile.limits import SALT
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.turns import asks
from p2pnode.turns.effects import Give, Push

if TYPE_CHECKING:
    from p2pnode.sim.node import SimNode

PAGE = 128
CHUNK = 32
GATHER = 0.3
MAX_CARRIED = 65_536
"""As the engine's pump: ids offered at once, envelopes read at once, seconds in which fresh ones
are gathered, ids kept of what the other side may lack."""

LATE = 2.0
"""Seconds a message comes late at most, where a medium reorders."""

FRAME = 32
"""Bytes of a frame around each message: length, header and authentication."""


class End:
    """What one node does on one link. `other` is set by whoever makes the two ends."""

    other: "End"

    def __init__(
        self,
        node: "SimNode",
        number: int,
        device: DeviceId,
        contact: ContactId,
        *,
        initiator: bool,
        until: float,
        bandwidth: float,
    ) -> None:
        self.node = node
        self.number = number
        self.device = device
        self.contact = contact
        self.until = until
        self.over = False
        self._initiator = initiator
        self._bandwidth = bandwidth
        self._free = 0.0
        self._reached = 0
        self._caught_up = False
        self._in_flight: set[EnvelopeId] = set()
        self._offered: set[EnvelopeId] = set()
        self._fetch: type[asks.Fetch | asks.FetchCarried] = asks.Fetch
        self._to_send: dict[EnvelopeId, type[asks.Fetch | asks.FetchCarried]] = {}
        self._fresh: Waiting[EnvelopeId] = Waiting(node.strangers, MAX_CARRIED)
        self._gathering = False
        self._machine: Reconciler | None = None

    # Sending -----------------------------------------------------------------------------------

    def send(self, message: LinkMessage) -> None:
        """Put a message on the link; what does not get through before it ends is lost."""
        world = self.node.world
        size = len(encode_message(message)) + FRAME
        link = world.scenario.link
        if link.duplicated and world.random.random() < link.duplicated:
            size *= 2
        self._free = max(self._free, world.now) + size / self._bandwidth
        world.sent(size)
        if self._free <= self.until and not self.over:
            late = LATE if link.reordered and world.random.random() < link.reordered else 0.0
            at = min(self._free + world.random.uniform(0, late), self.until) if late else self._free
            world.at(at, lambda: self.other.received(message))

    def cut(self) -> None:
        """End the link at once, as when one side's power goes: neither end gets anything more."""
        for end in (self, self.other):
            end.over, end.until = True, min(end.until, self.node.world.now)
            end.node.asked.forget(end.number)
            if end.node.ends.get(end.device) is end:
                del end.node.ends[end.device]

    def up(self) -> None:
        """Begin: greet, tell what is owed, and let envelopes flow."""
        greeting = self.node.turn(asks.LinkUp(self.device, "sim"))
        self.send(Hello(1, 0, greeting.statements))
        if greeting.receipts:
            self.send(Receipts(greeting.receipts))
        if self._initiator and not self.node.drops:
            self._machine = Reconciler(initiator=True, salt=self.node.entropy.take(SALT))
            self._reconcile(self._machine.start())
        self.node.spread_soon()
        self.go_on()

    def push(self, new: Push) -> None:
        """Send a new envelope for this device now, if everything before it has gone."""
        if self._caught_up and len(self._in_flight) < limits.MAX_IN_FLIGHT:
            self._reached = new.row
            self._in_flight.add(new.envelope)
            self.send(EnvelopeOut(new.age, new.raw))
        else:
            self._caught_up = False
            self.go_on()

    def give(self, new: Give) -> None:
        """Send a fresh own envelope to somebody who is to carry it."""
        if len(self._in_flight) < limits.MAX_IN_FLIGHT:
            self._in_flight.add(new.envelope)
            self.send(EnvelopeOut(new.age, new.raw))

    def carry(self, envelope: EnvelopeId, source: bytes) -> None:
        """Offer what has just come into custody, a little later and mixed with others."""
        if self.node.drops:
            return
        self._fresh.add(envelope, source)
        if not self._gathering:
            self._gathering = True
            self.node.world.at(self.node.world.now + GATHER, self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self.go_on()

    def go_on(self) -> None:
        """Send whatever may be sent now; called again when something has changed."""
        if self.over or self.node.world.now > self.until or self._offered:
            return
        while self._to_send and len(self._in_flight) < limits.MAX_IN_FLIGHT:
            self._send_some()
        waiting = len(self._to_send) + len(self._fresh)
        self.node.world.oracle.held(self.node, len(self._in_flight), waiting)
        if self._to_send:
            return
        page = self.node.turn(asks.Backlog(self.device, self._reached, PAGE))
        if page:
            self._reached = page[-1][0]
            self._offer([envelope for _, envelope in page], asks.Fetch)
            return
        self._caught_up = True
        if self._fresh and not self._gathering:
            ids = self._fresh.take(PAGE)
            self.node.world.random.shuffle(ids)
            self._offer(ids, asks.FetchCarried)

    def _offer(self, ids: list[EnvelopeId], fetch: "type[asks.Fetch | asks.FetchCarried]") -> None:
        new = [one for one in ids if one not in self._in_flight]
        if not new:
            self.go_on()
            return
        self._offered, self._fetch = set(new), fetch
        self.send(Offer(tuple(new)))

    def _send_some(self) -> None:
        fetch = next(iter(self._to_send.values()))
        room = limits.MAX_IN_FLIGHT - len(self._in_flight)
        chosen = [one for one, kind in self._to_send.items() if kind is fetch]
        chosen = chosen[: min(CHUNK, room)]
        for one in chosen:
            del self._to_send[one]
        for envelope, age, raw in self.node.turn(fetch(tuple(chosen))):
            self._in_flight.add(envelope)
            self.send(EnvelopeOut(age, raw))

    # Receiving ---------------------------------------------------------------------------------

    def received(self, message: LinkMessage) -> None:
        """Take a message from the other end, unless the link has ended meanwhile."""
        if self.over:
            return
        match message:
            case EnvelopeOut(age=age, raw=raw):
                self.node.world.oracle.crossed(raw)
                self.node.turn(asks.Arrived(self.number, self.device, self.contact, age, raw))
            case Offer(ids=ids):
                self.node.turn(asks.Offered(self.number, self.device, ids, self.device))
            case Want(ids=ids):
                for one in ids:
                    if one in self._offered:
                        self._to_send[one] = self._fetch
                self._offered.clear()
                self.go_on()
            case Accepted(ids=ids) | Receipts(ids=ids):
                opened = isinstance(message, Receipts)
                self.node.turn(asks.Acknowledged(self.device, ids, opened, "sim"))
                self._answered(ids)
            case Refused(ids=ids):
                self._answered(ids)
            case Delivered(pairs=pairs):
                self.node.turn(asks.HaveCome(self.number, pairs))
                self._answered([envelope for envelope, _ in pairs])
            case Reconcile(raw=raw):
                self._reconciled(raw)
            case Hello(statements=statements) if statements:
                baseline = self.node.baselines[self.device]
                self.node.turn(asks.Stated(self.device, statements, baseline))
            case _:
                pass

    def _answered(self, ids: Iterable[EnvelopeId]) -> None:
        self._in_flight.difference_update(ids)
        self._offered.difference_update(ids)
        self.go_on()

    def _reconciled(self, raw: bytes) -> None:
        if self._machine is None:
            self._machine = Reconciler(initiator=False, salt=self.node.entropy.take(SALT))
        self._reconcile(self._machine.receive_untrusted(raw))

    def _reconcile(self, found: list[effects.Effect]) -> None:
        machine = self._machine
        assert machine is not None
        for effect in found:
            match effect:
                case effects.SendReconcile(raw=raw):
                    self.send(Reconcile(raw))
                case effects.ReadDigests():
                    self._reconcile(machine.digests(self.node.turn(asks.GetLeaves(self.device))[0]))
                case effects.ReadIds(buckets=buckets):
                    self._reconcile(
                        machine.ids(self.node.turn(asks.GetLeafIds(buckets, self.device)))
                    )
                case effects.Found(they_lack=ids) if not self.node.drops:
                    for envelope, source in self.node.turn(asks.Ordered(ids)):
                        self._fresh.add(envelope, source)
                    self.go_on()
                case _:
                    pass
