"""What must always hold among simulated nodes, checked as it happens.

An acknowledged message is never lost, a receipt means that its message is stored, nothing is shown
twice, what has a way comes in its time, nothing expires early or lives for ever, custody keeps to
its quota, no text or name crosses a link in the clear, what a link holds is bounded, and no nonce
is ever made twice.
"""

from math import inf
from typing import TYPE_CHECKING, Any

from p2pnode.protocol.custody import ORIGINS, SEEN_COST
from p2pnode.protocol.envelope import envelope_id, parse_untrusted
from p2pnode.protocol.limits import BUCKETS, LIFETIMES, MAX_IDS, MAX_IN_FLIGHT
from p2pnode.sim.ends import MAX_CARRIED
from p2pnode.turns.posting import AGES_AT_BIRTH

if TYPE_CHECKING:
    from p2pnode.sim.node import SimNode
    from p2pnode.sim.world import World

HOP = 120.0
"""Seconds an encounter surely suffices to hand on what is waiting, on links that are not busy."""

NONCE_AT = 34
"""Where an envelope's 24-byte nonce lies: after version, tag, lifetime and token hash."""


class Oracle:
    """Sees what happens in a world, and writes down what must not (`broken`).

    written, delivered, confirmed: when each message was, by its number. transfers: envelopes that
    crossed a link.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._scenario, self._people = world.scenario, world.people
        self.broken: list[str] = []
        self.written: dict[int, float] = {}
        self.delivered: dict[int, float] = {}
        self.confirmed: dict[int, float] = {}
        self.transfers = 0
        self._nonces: dict[bytes, bytes] = {}
        self._crossed: dict[bytes, tuple[float, int]] = {}

    def crossed(self, raw: bytes) -> None:
        """Look at an envelope that crossed a link."""
        self.transfers += 1
        if b" canary" in raw or b"node-" in raw:
            self._break("a text or a name crossed a link in the clear")
        outer = parse_untrusted(raw)
        self._crossed.setdefault(envelope_id(raw), (self._world.now, outer.lifetime))
        nonce = raw[NONCE_AT : NONCE_AT + 24]
        if self._nonces.setdefault(nonce, raw) != raw:
            self._break("a nonce was used twice")

    def carried(self, node: "SimNode") -> None:
        """Look at a node's custody after it has taken an envelope."""
        held, used = node.stores.custody.count_bytes()
        if used + held * SEEN_COST > node.limit + BUCKETS[-1]:
            self._break(f"{node.name} carries {used} bytes")

    def held(self, node: "SimNode", in_flight: int, waiting: int) -> None:
        """Look at what a link holds in memory."""
        if in_flight > MAX_IN_FLIGHT or waiting > MAX_CARRIED + MAX_IDS:
            self._break(f"{node.name} holds {in_flight} and {waiting} envelopes for one link")

    def happened(self, node: "SimNode", event: Any) -> None:
        """Take an event that clients of a node would see."""
        message = event.message
        if message is None or not message.text.startswith("message "):
            return
        number = int(message.text.split()[1])
        if event.kind == "message.received":
            node.shown[message.id] += 1
            if node.shown[message.id] > 1:
                self._break(f"message {number} was shown twice")
            self.delivered.setdefault(number, self._world.now)
        elif message.state == "expired":
            lived = self._world.now - self.written.get(number, self._world.now)
            life = LIFETIMES[self._scenario.traffic.lifetime] - AGES_AT_BIRTH * 3_600
            if lived < life and not (self._scenario.faults.clock_error and self._anybody_off()):
                self._break(f"message {number} expired after {lived:.0f} s")
        elif message.state == "delivered":
            if number not in self.delivered:
                self._break(f"message {number} was confirmed before it came")
            self.confirmed.setdefault(number, self._world.now)

    def _anybody_off(self) -> bool:
        return bool(self._scenario.faults.off or self._scenario.faults.crashes)

    def _check_over(self) -> None:
        """Look whether anything is still carried that should have ended: half a day after its time,
        the span between two upkeeps and the hours it was said to be old included."""
        if self._anybody_off():
            return  # then nobody can know how long
        for node in self._world.nodes:
            for _, envelope in node.stores.custody.ids(0, 1_000_000):
                since, lifetime = self._crossed.get(envelope, (self._world.now, 0))
                if self._world.now - since > LIFETIMES[lifetime] + 43_200:
                    self._break(f"{node.name} carries something for ever")

    def check(self) -> None:
        """Look at all stores once more, when the time is over."""
        self._check_over()
        possible = self._reachable()
        for message in self._people.messages:
            if message.recipient not in self._people.friends[message.author]:
                continue
            if message.number in self.delivered or message.at > self._scenario.seconds:
                continue
            vault = self._world.nodes[message.author].stores.vault
            contact = self._world.nodes[message.author].devices[message.recipient][1]
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
        faults, link = self._scenario.faults, self._scenario.link
        scarce = faults.droppers or faults.flooders or faults.off or faults.crashes or link.lost
        load = 3 * BUCKETS[0] * len(self._people.messages)
        quota = min(node.limit for node in self._world.nodes)
        if scarce or load > quota / 4 or load > link.bandwidth * HOP / 4:
            return set()
        late = ORIGINS[self._scenario.privacy.origin][1] + HOP
        life = LIFETIMES[self._scenario.traffic.lifetime] - AGES_AT_BIRTH * 3_600
        ready: dict[int, dict[int, float]] = {
            message.number: {message.author: message.at + late}
            for message in self._people.messages
            if message.recipient in self._people.friends[message.author]
        }
        usual = link.bandwidth
        met = sorted(
            (one.end, one)
            for one in self._world.met
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
            for message in self._people.messages
            if ready.get(message.number, {}).get(message.recipient, inf)
            < min(self._scenario.seconds - HOP, message.at + life)
        }

    def _break(self, what: str) -> None:
        self.broken.append(f"{self._world.now:.0f} s: {what}")
