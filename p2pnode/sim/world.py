"""Real nodes in virtual time: the same turns, stores and machines as a daemon's, in one process.

Strangers do not take part: among real nodes links stand between contacts alone.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

from p2pnode.ids import PairingId
from p2pnode.protocol.limits import BUCKETS
from p2pnode.protocol.link.messages import EnvelopeOut
from p2pnode.sim.ends import End
from p2pnode.sim.mobility import Encounter
from p2pnode.sim.node import EPOCH, UPKEEP_EVERY, SimNode
from p2pnode.sim.oracle import Oracle
from p2pnode.sim.pairing import agreed
from p2pnode.sim.population import Message, Population
from p2pnode.sim.scenario import Scenario
from p2pnode.turns import asks

CODE_MINUTES = (EPOCH + 600) // 60
"""When pairing codes expire, in Unix minutes."""


class World:
    """All nodes of a scenario. `run` returns when its time is over."""

    def __init__(
        self, scenario: Scenario, people: Population, encounters: list[Encounter], random: Random
    ) -> None:
        self.scenario = scenario
        self.people = people
        self.random = random
        self.now = 0.0
        self.bytes = 0
        self.oracle = Oracle(self)
        self._order = count()
        self._numbers = count(1)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.met = [one for one in encounters if one.b in people.friends[one.a]]
        self.nodes = [SimNode(self, number) for number in range(scenario.nodes)]
        for node in range(scenario.nodes):
            for other in sorted(people.friends[node]):
                if node < other:
                    self._befriend(self.nodes[node], self.nodes[other])
        for one in encounters:
            if one.b in people.friends[one.a]:
                self.at(one.start, lambda one=one: self._up(one))  # type: ignore[misc]
        for message in people.messages:
            if message.recipient in people.friends[message.author]:
                self.at(message.at, lambda message=message: self._write(message))  # type: ignore[misc]
        for number in sorted(people.flooders):
            if scenario.faults.flood_per_hour:
                self.at(random.uniform(0, 60), lambda number=number: self._flood(number))  # type: ignore[misc]
        for node_ in self.nodes:
            self.at(random.uniform(0, UPKEEP_EVERY), node_.upkeep)
            self._misfortunes(node_)

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heappush(self._events, (time, next(self._order), what))

    def run(self) -> None:
        """Let everything happen until the scenario's time is over, then look once more."""
        while self._events and self._events[0][0] <= self.scenario.seconds:
            self.now, _, what = heappop(self._events)
            what()
        self.oracle.check()

    def close(self) -> None:
        """Close all stores."""
        for node in self.nodes:
            node.stores.vault.close()
            node.stores.custody.close()

    def sent(self, size: int) -> None:
        """Count bytes on a link."""
        self.bytes += size

    # Beginnings --------------------------------------------------------------------------------

    def _befriend(self, one: SimNode, other: SimNode) -> None:
        """Pair two nodes by the real pairing machines and turns; both people say yes."""
        found = agreed(one, other, CODE_MINUTES)
        for node, peer, kept in ((one, other, found[0]), (other, one, found[1])):
            pairing = PairingId(node.entropy.take(16))
            contact, _ = node.turn(asks.Keep(pairing, kept, peer.name, True, "words"))
            node.devices[peer.number] = (kept.device, contact)

    def _misfortunes(self, node: SimNode) -> None:
        """Plan when a node is off, crashes, and gets another wall clock."""
        faults, end = self.scenario.faults, self.scenario.seconds
        for start, stop in self.people.off[node.number]:
            self.at(start, lambda: node.end(warned=self.random.random() < 0.5))
            self.at(stop, node.start)
        for rate, what in ((faults.crashes, self._crash), (faults.clock_steps, self._step)):
            time = self.random.expovariate(rate / 86_400) if rate else end
            while time < end:
                self.at(time, lambda what=what: what(node))  # type: ignore[misc]
                time += self.random.expovariate(rate / 86_400)

    def _crash(self, node: SimNode) -> None:
        if node.on:
            node.end(warned=False)
            node.start()

    def _step(self, node: SimNode) -> None:
        node.step_clock()

    def _up(self, one: Encounter) -> None:
        a, b = self.nodes[one.a], self.nodes[one.b]
        if not (a.on and b.on):
            return
        ends = []
        bandwidth = one.bandwidth or self.scenario.link.bandwidth
        for node, peer in ((a, b), (b, a)):
            device, contact = node.devices[peer.number]
            node.baselines |= node.turn(asks.GetBaselines((device,)))
            ends.append(
                End(
                    node,
                    next(self._numbers),
                    device,
                    contact,
                    initiator=node is a,
                    until=one.end,
                    bandwidth=bandwidth,
                )
            )
            node.ends[device] = ends[-1]
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            end.up()
            self.at(one.end, lambda end=end: self._down(end))  # type: ignore[misc]

    def _down(self, end: End) -> None:
        end.over = True
        end.node.asked.forget(end.number)
        if end.node.ends.get(end.device) is end:
            del end.node.ends[end.device]

    def _write(self, message: Message) -> None:
        self.nodes[message.author].write(message)

    def _flood(self, number: int) -> None:
        node = self.nodes[number]
        for end in list(node.ends.values()):
            junk = self.random.randbytes(BUCKETS[0])
            end.send(EnvelopeOut(0, b"\x01" + junk[:16] + b"\x03" + junk[18:]))
        self.at(self.now + 3600 / self.scenario.faults.flood_per_hour, lambda: self._flood(number))
