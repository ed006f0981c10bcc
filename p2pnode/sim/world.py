"""Real nodes in virtual time: the same turns, stores and machines as a daemon's, in one process.

What must always hold is checked as it happens (`broken`): an acknowledged message is never lost, a
receipt means that its message is stored, nothing is shown twice, what has a way comes in its time,
nothing expires early or lives for ever, custody keeps to its quota, no text or name crosses a link
in the clear, what a link holds is bounded, and no nonce is ever made twice. Strangers do not take
part: among real nodes links stand between contacts alone.
"""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any

from p2pnode.errors import LocalError, RemoteError
from p2pnode.ids import ContactId, DeviceId, PairingId
from p2pnode.protocol import identity
from p2pnode.protocol.asked import REFUSED_ASKED, Asked
from p2pnode.protocol.custody import ORIGINS, SEEN_COST, CarryPolicy
from p2pnode.protocol.elapsed import missed
from p2pnode.protocol.envelope import envelope_id, parse_untrusted
from p2pnode.protocol.identity import Own
from p2pnode.protocol.limits import BUCKETS, LIFETIMES, MAX_IDS, MAX_IN_FLIGHT
from p2pnode.protocol.link.messages import EnvelopeOut, LinkMessage, Receipts, Refused, Want
from p2pnode.protocol.pairing import machine
from p2pnode.protocol.pairing.agreement import Agreed, new_code, new_half
from p2pnode.sim.ends import MAX_CARRIED, End
from p2pnode.sim.entropy import SeededEntropy
from p2pnode.sim.mobility import Encounter
from p2pnode.sim.population import Message, Population
from p2pnode.sim.scenario import Scenario
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns import asks, carry, effects
from p2pnode.turns.commit import commit
from p2pnode.turns.moment import Moment
from p2pnode.turns.posting import AGES_AT_BIRTH
from p2pnode.turns.stores import Stores

EPOCH = 1_790_000_000
TEN_YEARS = 3_653 * 86_400
SPREAD_EVERY = 3.0
SPREAD_ON = 0.05
UPKEEP_EVERY = 3_600.0
CODE_MINUTES = (EPOCH + 600) // 60
HOP = 120.0
"""Seconds an encounter surely suffices to hand on what is waiting, on links that are not busy."""

NONCE_AT = 34
"""Where an envelope's 24-byte nonce lies: after version, tag, lifetime and token hash."""


class SimNode:
    """A node: real stores in memory, and its ends of links."""

    def __init__(self, world: "World", number: int) -> None:
        scenario = world.scenario
        self.world = world
        self.number = number
        self.name = f"node-{number}"
        self.entropy = SeededEntropy(scenario.seed << 32 | number)
        limit = int(scenario.carry.max_mb * 1_000_000)
        self.limit = limit
        policy = CarryPolicy(limit, scenario.carry.for_)
        self.stores = Stores(Vault.memory(), Custody.memory(), policy, scenario.privacy.origin)
        account = identity.new_account(self.entropy)
        self.own = Own(account, identity.new_device(account, self.entropy), self.name)
        initialise(self.stores.vault, self.own, self.entropy.take(32))
        self.strangers = carry.slot(self.stores.vault, carry.STRANGERS)
        self.clock_error = 0.0
        self.step_clock()
        self.on = True
        self._base, self._since = 0, 0.0
        self._kept = self.moment()
        self._waiting: list[Message] = []
        self.drops = number in world.people.droppers
        self.devices: dict[int, tuple[DeviceId, ContactId]] = {}
        self.ends: dict[DeviceId, End] = {}
        self.baselines: dict[DeviceId, asks.Baseline] = {}
        self.rejected: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self._spreading = False
        self.asked = Asked()

    def moment(self) -> Moment:
        """Return the node's time: what passed since its start is right, the wall clock perhaps
        not."""
        wall = max(0, EPOCH + int(self.world.now) + int(self.clock_error))
        return Moment(self._base + int(self.world.now - self._since), wall)

    def step_clock(self) -> None:
        """Let the wall clock be wrong by something else from now on."""
        faults = self.world.scenario.faults
        if faults.clocks == "right":
            error = faults.clock_error
            self.clock_error = self.world.random.uniform(-error, error)
        elif self.number % 3 == 2:
            self.clock_error -= 3_600
        else:
            self.clock_error = TEN_YEARS if self.number % 3 else -EPOCH

    def end(self, *, warned: bool) -> None:
        """Switch off; without warning nothing is kept but what turns have kept."""
        if warned:
            self.upkeep_turn()
        self.on = False
        for end in list(self.ends.values()):
            end.cut()
        self.asked = Asked()

    def start(self) -> None:
        """Switch on: node time goes on from what was kept, as far as the wall clock can tell."""
        self.on = True
        wall = self.moment().wall
        self._base = self._kept.node + missed(self._kept.wall, wall)
        self._since = self.world.now
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self.write(message)
        self.spread_soon()

    def write(self, message: Message) -> None:
        """Let the node's person write; when the node is off, once it is on."""
        if not self.on:
            self._waiting.append(message)
            return
        to = self.world.nodes[message.recipient].name
        text = f"message {message.number} canary"
        self.turn(asks.Send(to, text, self.world.scenario.traffic.lifetime))
        self.world.written[message.number] = self.world.now

    def turn(self, ask: asks.Ask) -> Any:
        """Run a turn, perform its effects, return its answer; count what it refuses."""
        [outcome] = commit(self.stores, [ask], self.moment(), self.entropy)
        if isinstance(outcome.error, RemoteError):
            self.rejected[outcome.error.reason] += 1
            return ()
        if isinstance(outcome.error, LocalError):
            raise outcome.error
        for effect in outcome.effects:
            self._perform(effect)
        return outcome.answer

    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Push(device=device):
                if device in self.ends:
                    self.ends[device].push(effect)
                self.spread_soon()
            case effects.Give(link=number):
                for end in self.ends.values():
                    if end.number == number:
                        end.give(effect)
            case effects.Receipt(device=device, envelope=envelope):
                if device in self.ends:
                    self.ends[device].send(Receipts((envelope,)))
                self.spread_soon()
            case effects.Tell(link=number, message=message):
                for end in self.ends.values():
                    if end.number == number:
                        self._tell(end, message)
            case effects.Carried(link=link, envelope=envelope, source=source):
                for end in self.ends.values():
                    if end.number != link:
                        end.carry(envelope, source)
                self.world.carried(self)
                self.spread_soon()
            case effects.Charge(reason=reason):
                self.rejected[reason] += 1
            case effects.Happened(event=event):
                self.world.happened(self, event)
            case _:
                pass

    def _tell(self, end: End, message: LinkMessage) -> None:
        if not isinstance(message, Want):
            end.send(message)
            return
        fresh = self.asked.fresh(message.ids, end.number, self.world.now)
        others = tuple(one for one in message.ids if one not in fresh)
        if fresh:
            end.send(Want(fresh))
        if others:
            end.send(Refused(REFUSED_ASKED, others))

    def spread_soon(self) -> None:
        """Let time do what it brings, some seconds from now."""
        if not self._spreading:
            self._spreading = True
            self.world.at(self.world.now + SPREAD_EVERY, self._spread)

    def _spread(self) -> None:
        self._spreading = False
        if not self.on:
            return
        links = tuple((end.number, device) for device, end in self.ends.items())
        due = self.turn(asks.Spread(links))
        if due is not None and not self._spreading:
            self._spreading = True
            pause = max(SPREAD_EVERY, due) if due else SPREAD_ON
            self.world.at(self.world.now + pause, self._spread)

    def upkeep_turn(self) -> None:
        """Expire what is over, and keep the clock."""
        self._kept = self.moment()
        self.turn(asks.Upkeep())

    def upkeep(self) -> None:
        """Expire what is over, from time to time."""
        if self.on:
            self.upkeep_turn()
        self.world.at(self.world.now + UPKEEP_EVERY, self.upkeep)


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
        self.broken: list[str] = []
        self.delivered: dict[int, float] = {}
        self.confirmed: dict[int, float] = {}
        self.transfers = 0
        self.written: dict[int, float] = {}
        self._order = count()
        self._numbers = count(1)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._nonces: dict[bytes, bytes] = {}
        self._crossed: dict[bytes, tuple[float, int]] = {}
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
        self._check_kept()

    def close(self) -> None:
        """Close all stores."""
        for node in self.nodes:
            node.stores.vault.close()
            node.stores.custody.close()

    # Beginnings --------------------------------------------------------------------------------

    def _befriend(self, one: SimNode, other: SimNode) -> None:
        """Pair two nodes by the real pairing machines and turns; both people say yes."""
        half = new_half(one.own, one.entropy)
        code = new_code(half, one.entropy, expires=CODE_MINUTES)
        shows = machine.LinkPairing.show(code, half, one.entropy)
        joins = machine.LinkPairing.join(code, new_half(other.own, other.entropy), other.entropy)
        waiting = [(shows, raw) for raw in _sent(joins.start())]
        while waiting:
            side, raw = waiting.pop(0)
            far = joins if side is shows else shows
            waiting += [(far, more) for more in _sent(side.receive_untrusted(raw))]
        for node, peer, side in ((one, other, shows), (other, one, joins)):
            agreed = _agreed(side.answer(True))
            pairing = PairingId(node.entropy.take(16))
            contact, _ = node.turn(asks.Keep(pairing, agreed, peer.name, True, "words"))
            node.devices[peer.number] = (agreed.device, contact)

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

    # What happens, and what must hold ------------------------------------------------------------

    def sent(self, size: int) -> None:
        """Count bytes on a link."""
        self.bytes += size

    def crossed(self, raw: bytes) -> None:
        """Look at an envelope that crossed a link."""
        self.transfers += 1
        if b" canary" in raw or b"node-" in raw:
            self._break("a text or a name crossed a link in the clear")
        outer = parse_untrusted(raw)
        self._crossed.setdefault(envelope_id(raw), (self.now, outer.lifetime))
        nonce = raw[NONCE_AT : NONCE_AT + 24]
        if self._nonces.setdefault(nonce, raw) != raw:
            self._break("a nonce was used twice")

    def carried(self, node: SimNode) -> None:
        """Look at a node's custody after it has taken an envelope."""
        held, used = node.stores.custody.count_bytes()
        if used + held * SEEN_COST > node.limit + BUCKETS[-1]:
            self._break(f"{node.name} carries {used} bytes")

    def held(self, node: SimNode, in_flight: int, waiting: int) -> None:
        """Look at what a link holds in memory."""
        if in_flight > MAX_IN_FLIGHT or waiting > MAX_CARRIED + MAX_IDS:
            self._break(f"{node.name} holds {in_flight} and {waiting} envelopes for one link")

    def happened(self, node: SimNode, event: Any) -> None:
        """Take an event that clients of a node would see."""
        message = event.message
        if message is None or not message.text.startswith("message "):
            return
        number = int(message.text.split()[1])
        if event.kind == "message.received":
            node.shown[message.id] += 1
            if node.shown[message.id] > 1:
                self._break(f"message {number} was shown twice")
            self.delivered.setdefault(number, self.now)
        elif message.state == "expired":
            lived = self.now - self.written.get(number, self.now)
            life = LIFETIMES[self.scenario.traffic.lifetime] - AGES_AT_BIRTH * 3_600
            if lived < life and not (self.scenario.faults.clock_error and self._anybody_off()):
                self._break(f"message {number} expired after {lived:.0f} s")
        elif message.state == "delivered":
            if number not in self.delivered:
                self._break(f"message {number} was confirmed before it came")
            self.confirmed.setdefault(number, self.now)

    def _anybody_off(self) -> bool:
        return bool(self.scenario.faults.off or self.scenario.faults.crashes)

    def _check_over(self) -> None:
        """Look whether anything is still carried that should have ended: half a day after its time,
        the span between two upkeeps and the hours it was said to be old included."""
        if self._anybody_off():
            return  # then nobody can know how long
        for node in self.nodes:
            for _, envelope in node.stores.custody.ids(0, 1_000_000):
                since, lifetime = self._crossed.get(envelope, (self.now, 0))
                if self.now - since > LIFETIMES[lifetime] + 43_200:
                    self._break(f"{node.name} carries something for ever")

    def _check_kept(self) -> None:
        self._check_over()
        possible = self._reachable()
        for message in self.people.messages:
            if message.recipient not in self.people.friends[message.author]:
                continue
            if message.number in self.delivered or message.at > self.scenario.seconds:
                continue
            vault = self.nodes[message.author].stores.vault
            contact = self.nodes[message.author].devices[message.recipient][1]
            rows = vault.messages.history(contact, 100_000)
            mine = [row for row in rows if row.text == f"message {message.number} canary"]
            if message.number in possible and mine and mine[0].state != "expired":
                self._break(f"message {message.number} did not come, although there was a way")
            if message.number in self.written and not mine:
                self._break(f"message {message.number} is lost")
            if mine and mine[0].state not in ("queued", "handed", "expired"):
                self._break(f"message {message.number} is {mine[0].state}, and did not come")

    def _reachable(self) -> set[int]:
        """Return the messages for which contacts' encounters were a way, where nothing was scarce.

        A hop takes an encounter that stands for HOP seconds at least; where anything could have
        been in the way (quotas, loss, faulty nodes) nothing is said.
        """
        faults, link = self.scenario.faults, self.scenario.link
        scarce = faults.droppers or faults.flooders or faults.off or faults.crashes or link.lost
        load = 3 * BUCKETS[0] * len(self.people.messages)
        quota = min(node.limit for node in self.nodes)
        if scarce or load > quota / 4 or load > link.bandwidth * HOP / 4:
            return set()
        late = ORIGINS[self.scenario.privacy.origin][1] + HOP
        life = LIFETIMES[self.scenario.traffic.lifetime] - AGES_AT_BIRTH * 3_600
        ready: dict[int, dict[int, float]] = {
            message.number: {message.author: message.at + late}
            for message in self.people.messages
            if message.recipient in self.people.friends[message.author]
        }
        usual = link.bandwidth
        met = sorted(
            (one.end, one)
            for one in self.met
            if one.end - one.start >= 2 * HOP and (not one.bandwidth or one.bandwidth >= usual)
        )
        for end, one in met:
            for have in ready.values():
                for giver, taker in ((one.a, one.b), (one.b, one.a)):
                    since = max(have.get(giver, inf), one.start) + HOP
                    if since < end and since < have.get(taker, inf):
                        have[taker] = since
        return {
            message.number
            for message in self.people.messages
            if ready.get(message.number, {}).get(message.recipient, inf)
            < min(self.scenario.seconds - HOP, message.at + life)
        }

    def _break(self, what: str) -> None:
        self.broken.append(f"{self.now:.0f} s: {what}")


def _sent(found: list[machine.Effect]) -> list[bytes]:
    return [effect.raw for effect in found if isinstance(effect, machine.SendPairing)]


def _agreed(found: list[machine.Effect]) -> Agreed:
    return next(effect.agreed for effect in found if isinstance(effect, machine.Keep))
