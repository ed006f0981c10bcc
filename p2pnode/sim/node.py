"""A node of the simulation: real stores in memory and real turns, without a network of its own."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from p2pnode.errors import LocalError, RemoteError
from p2pnode.ids import ContactId, DeviceId
from p2pnode.protocol import identity
from p2pnode.protocol.asked import REFUSED_ASKED, Asked
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.elapsed import missed
from p2pnode.protocol.identity import Own
from p2pnode.protocol.link.messages import LinkMessage, Receipts, Refused, Want
from p2pnode.sim.ends import End
from p2pnode.sim.entropy import SeededEntropy
from p2pnode.sim.population import Message
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns import asks, carry, effects
from p2pnode.turns.commit import commit
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

if TYPE_CHECKING:
    from p2pnode.sim.world import World

EPOCH = 1_790_000_000
"""Unix seconds at which all simulations begin."""

TEN_YEARS = 3_653 * 86_400
"""Seconds by which a clock that was never set is wrong."""

SPREAD_EVERY = 3.0
"""Seconds between looks for own envelopes that carriers are to get now."""

SPREAD_ON = 0.05
"""Seconds until the next look when there is more to do already."""

UPKEEP_EVERY = 3_600.0
"""Seconds between upkeep turns."""


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
        self.world.oracle.written[message.number] = self.world.now

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
                self.world.oracle.carried(self)
                self.spread_soon()
            case effects.Charge(reason=reason):
                self.rejected[reason] += 1
            case effects.Happened(event=event):
                self.world.oracle.happened(self, event)
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
