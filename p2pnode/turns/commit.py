"""Many turns, one transaction: the only way anything durable happens.

Up to 64 waiting asks share a transaction, with a savepoint each. An error of a turn (a local or a
remote one) undoes that turn alone. Any store error undoes the whole batch: a full disk makes the
database roll back everything, and a turn that then went on would write outside a transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from p2pnode.errors import LocalError, RemoteError, StoreError
from p2pnode.protocol.entropy import Entropy
from p2pnode.turns import (
    agreements,
    asks,
    backups,
    carry,
    contacts,
    courier,
    delivery,
    erasing,
    keeping,
    links,
    mutual,
    pairing,
    private,
    receive,
    redactions,
    resets,
    send,
    twins,
    upkeep,
)
from p2pnode.turns.effects import Decision, Effect
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

BATCH = 64
"""Asks in one transaction at most."""

Turn = Callable[[Stores, Any, Moment, Entropy], Decision]

TURNS: dict[type, Turn] = {
    asks.Send: send.send,
    asks.Arrived: receive.arrived,
    asks.Offered: lambda s, a, n, e: receive.offered(s, a),
    asks.Acknowledged: delivery.acknowledged,
    asks.Backlog: lambda s, a, n, e: delivery.backlog(s, a),
    asks.Fetch: lambda s, a, n, e: delivery.fetch(s, a, n),
    asks.Spread: upkeep.spread,
    asks.GetLeaves: lambda s, a, n, e: carry.leaves(s, a),
    asks.GetLeafIds: lambda s, a, n, e: carry.leaf_ids(s, a),
    asks.OwnParcels: lambda s, a, n, e: courier.own(s, a, n),
    asks.CarriedIds: lambda s, a, n, e: Decision(s.custody.ids(a.after, a.limit)),
    asks.Couriered: lambda s, a, n, e: courier.written(s, a, n),
    asks.Ordered: lambda s, a, n, e: Decision(s.custody.ordered(a.ids)),
    asks.GetRecent: lambda s, a, n, e: carry.recent(s, a),
    asks.ForStrangers: lambda s, a, n, e: carry.for_strangers(s, n),
    asks.HaveCome: lambda s, a, n, e: carry.have_come(s, a),
    asks.PassTold: lambda s, a, n, e: links.pass_told(s, a),
    asks.Examine: receive.examine,
    asks.FetchCarried: lambda s, a, n, e: carry.fetch(s, a),
    asks.Step: lambda s, a, n, e: links.step(s, a),
    asks.GetBaselines: lambda s, a, n, e: links.baselines(s, a),
    asks.LinkUp: lambda s, a, n, e: links.up(s, a, n),
    asks.Met: lambda s, a, n, e: links.met(s, a, n),
    asks.Stated: links.stated,
    asks.PrepareResets: lambda s, a, n, e: resets.prepare(s),
    asks.ReturningUp: lambda s, a, n, e: links.returning(s, a),
    asks.ReturningStated: links.returning_stated,
    asks.StepTwin: lambda s, a, n, e: twins.step(s, a),
    asks.BackedUp: lambda s, a, n, e: backups.backed_up(s, a, n),
    asks.TwinMet: lambda s, a, n, e: twins.met(s, a, n),
    asks.Told: lambda s, a, n, e: links.told(s, a),
    asks.ShowMutual: lambda s, a, n, e: mutual.show(s, a, n),
    asks.EndPairing: lambda s, a, n, e: mutual.end(s, a),
    asks.GetPeers: lambda s, a, n, e: links.peers(s),
    asks.Keep: pairing.keep,
    asks.Confirm: pairing.confirmed,
    asks.Refused: lambda s, a, n, e: pairing.refused(s, a),
    asks.BeginMutual: mutual.begin_mutual,
    asks.MutualBacklog: lambda s, a, n, e: mutual.backlog(s, a, n),
    asks.Rename: lambda s, a, n, e: contacts.rename(s, a, n),
    asks.Remove: lambda s, a, n, e: erasing.remove(s, a, n),
    asks.Block: contacts.block,
    asks.Rotate: lambda s, a, n, e: contacts.rotate(s, a, e),
    asks.LaneKept: lambda s, a, n, e: contacts.lane_kept(s, a),
    asks.GetLane: lambda s, a, n, e: links.lane(s, a),
    asks.Verify: contacts.verify,
    asks.Erase: lambda s, a, n, e: erasing.plan(s, a, n),
    asks.CancelErasures: lambda s, a, n, e: erasing.cancel(s, a),
    asks.SetRetention: lambda s, a, n, e: keeping.set_retention(s, a),
    asks.Propose: agreements.propose,
    asks.Decide: agreements.decide,
    asks.Redact: redactions.redact,
    asks.Collect: lambda s, a, n, e: erasing.collect(s, n),
    asks.Acknowledge: lambda s, a, n, e: private.acknowledge(s, a),
    asks.Begin: lambda s, a, n, e: private.begin(s, a),
    asks.SavePrivate: lambda s, a, n, e: private.save(s, a),
    asks.LoadPrivate: lambda s, a, n, e: private.load(s, a),
    asks.PrivateNames: lambda s, a, n, e: private.names(s, a),
    asks.Upkeep: upkeep.upkeep,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one ask: an answer or an error, and effects (none after an error)."""

    answer: Any
    error: LocalError | RemoteError | None
    effects: tuple[Effect, ...]


def commit(
    stores: Stores, batch: Sequence[asks.Ask], now: Moment, entropy: Entropy
) -> list[Outcome]:
    """Run the asks in one transaction and return their outcomes in order, all durable.

    A store error becomes the outcome of every ask of the batch. Custody is committed first: an
    envelope that is in both stores is harmless, one that is in neither would be lost.
    """
    outcomes: list[Outcome] = []
    try:
        with stores.vault.transaction(), stores.custody.transaction():
            for ask in batch:
                outcomes.append(_turn(stores, ask, now, entropy))
    except StoreError as error:
        stores.custody.forget_leaves()
        return [Outcome(None, error, ()) for _ in batch]
    return outcomes


def _turn(stores: Stores, ask: asks.Ask, now: Moment, entropy: Entropy) -> Outcome:
    try:
        with stores.vault.savepoint(), stores.custody.savepoint():
            decision = TURNS[type(ask)](stores, ask, now, entropy)
    except StoreError:
        raise
    except (LocalError, RemoteError) as error:
        return Outcome(None, error, ())
    return Outcome(decision.answer, None, decision.effects)
