"""Reconciliation of two sets in memory: bytes, round trips and processor time on each side."""

import os
import time
from collections.abc import Sequence
from typing import Any

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.reconcile import buckets
from p2pnode.protocol.reconcile.effects import Effect, Found, ReadDigests, ReadIds, SendReconcile
from p2pnode.protocol.reconcile.limits import LEAVES
from p2pnode.protocol.reconcile.machine import Reconciler

SIZES = (10_000, 100_000, 1_000_000)
DIFFERENCES = (0, 1, 10, 100, 1_000, 10_000)
ID = 32


class Side:
    """A machine, its ids by leaf, and the processor seconds spent inside the machine."""

    def __init__(self, held: list[list[EnvelopeId]], *, initiator: bool) -> None:
        self.held = held
        self.leaves = [buckets.leaf(one) for one in held]
        self.machine = Reconciler(initiator=initiator, salt=os.urandom(16))
        self.seconds = 0.0
        self.read = 0
        self.found: Sequence[EnvelopeId] = ()

    def step(self, raw: bytes | None) -> list[bytes]:
        """Start, or take one piece; answer reads; return the pieces to send."""
        machine = self.machine
        todo = self._timed(machine.start) if raw is None else self._timed(_receive, machine, raw)
        out = []
        while todo:
            effect = todo.pop(0)
            if isinstance(effect, SendReconcile):
                out.append(effect.raw)
            elif isinstance(effect, ReadDigests):
                todo += self._timed(machine.digests, self.leaves)
            elif isinstance(effect, ReadIds):
                ids = [self.held[one] for one in effect.buckets]
                self.read += sum(map(len, ids))
                todo += self._timed(machine.ids, ids)
            elif isinstance(effect, Found):
                self.found = effect.they_lack
        return out

    def _timed(self, call: Any, *arguments: Any) -> list[Effect]:
        began = time.process_time()
        effects: list[Effect] = call(*arguments)
        self.seconds += time.process_time() - began
        return effects


def _receive(machine: Reconciler, raw: bytes) -> list[Effect]:
    return machine.receive_untrusted(raw)


def fresh(count: int) -> list[EnvelopeId]:
    """Return random ids."""
    raw = os.urandom(count * ID)
    return [EnvelopeId(raw[at : at + ID]) for at in range(0, len(raw), ID)]


def with_some(held: list[list[EnvelopeId]], more: list[EnvelopeId]) -> list[list[EnvelopeId]]:
    """Return sorted leaves of what is held and more."""
    found = list(held)
    for one in more:
        at = buckets.leaf_of(one)
        found[at] = sorted([*found[at], one])
    return found


def exchange(common: list[list[EnvelopeId]], differences: int) -> dict[str, object]:
    """Return the figures of one exchange; half of the differences are at each side."""
    half = differences // 2
    extra = fresh(differences)
    sides = [
        Side(with_some(common, extra[half:]), initiator=True),
        Side(with_some(common, extra[:half]), initiator=False),
    ]
    turns, total, to = 0, 0, 1
    pieces = sides[0].step(None)
    while pieces:
        turns += 1
        total += sum(map(len, pieces))
        pieces, to = [answer for raw in pieces for answer in sides[to].step(raw)], 1 - to
    assert sides[0].machine.over
    found = {*sides[0].found, *sides[1].found}
    assert found <= set(extra)
    figures: dict[str, object] = {
        "missed": differences - len(found),
        "bytes": total,
        "round_trips": turns / 2,
        "ids_read_a_side": sides[0].read,
        "cpu_ms_initiator": 1e3 * sides[0].seconds,
        "cpu_ms_responder": 1e3 * sides[1].seconds,
    }
    if differences:
        figures["bytes_a_difference"] = total / differences
        figures["times_the_bound"] = total / (ID * differences)
    return figures


def measure() -> dict[str, object]:
    """Return the figures by size of the store and number of differences."""
    found: dict[str, object] = {
        "what": "ids at each side, then differences (half of them at each side); the bound is one"
        " 32-byte id a difference; missed: in groups that seem equal, one in 65,536, left to the"
        " next exchange; cpu without the store, whose leaves are cached",
    }
    for size in SIZES:
        common: list[list[EnvelopeId]] = [[] for _ in range(LEAVES)]
        for one in fresh(size):
            common[buckets.leaf_of(one)].append(one)
        for held in common:
            held.sort()
        found[str(size)] = {str(count): exchange(common, count) for count in DIFFERENCES}
    return found
