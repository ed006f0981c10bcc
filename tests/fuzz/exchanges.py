"""What a reconciliation takes, at each moment of a live one."""

from collections.abc import Iterable
from functools import cache

from p2pnode.protocol.reconcile import buckets
from p2pnode.protocol.reconcile import messages as reconcile_messages
from p2pnode.protocol.reconcile.effects import ReadDigests, ReadIds, SendReconcile
from p2pnode.protocol.reconcile.machine import Reconciler
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.moments import chosen, moments
from tests.fuzz.samples import vectors
from tests.reconcile_sides import made
from tests.reconcile_sides import run as reconciled
from tests.reconcile_sides import sides as reconcile_sides


class _Live:
    """One side of an exchange, with a set that is read quickly."""

    def __init__(self, ids: frozenset[bytes], *, initiator: bool) -> None:
        self._ids = ids
        salt = (b"i" if initiator else b"r") * 16
        self._machine = Reconciler(initiator=initiator, salt=salt)
        self._perform(self._machine.start())

    def receive(self, raw: bytes) -> None:
        self._perform(self._machine.receive_untrusted(raw))

    def _perform(self, effects: Iterable[object]) -> None:
        todo = list(effects)
        while todo:
            match todo.pop(0):
                case SendReconcile(raw):
                    assert len(raw) <= reconcile_messages.MAX_RECONCILE
                case ReadDigests():
                    todo += self._machine.digests(_leaves(self._ids))
                case ReadIds(_, wanted):
                    held = _by_leaf(self._ids)
                    todo += self._machine.ids([held.get(one, []) for one in wanted])


@cache
def _leaves(ids: frozenset[bytes]) -> list[buckets.Leaf]:
    return buckets.leaves(ids)


@cache
def _by_leaf(ids: frozenset[bytes]) -> dict[int, list[bytes]]:
    held: dict[int, list[bytes]] = {}
    for one in sorted(ids):
        held.setdefault(buckets.leaf_of(one), []).append(one)
    return held


def _exchanges() -> Prepared:
    """Pieces for either side of several exchanges, at any turn."""
    sets = [
        tuple(frozenset(made(*span)) for span in pair)
        for pair in (((0, 20), (10, 40)), ((0, 300), (290, 330)), ((0, 500), (80, 580)))
    ]
    found: list[tuple[frozenset[bytes], bool, list[bytes]]] = []
    samples = []
    for mine, theirs in sets:
        turns = reconciled(*reconcile_sides(mine, theirs))
        for turn in range(len(turns)):
            responder = turn % 2 == 0
            before = [piece for at in range(turn % 2, turn, 2) for piece in turns[at]]
            samples.append(turns[turn])
            found.append((theirs if responder else mine, not responder, before))

    def receive(raw: bytes) -> None:
        place, raw = chosen(raw)
        ids, initiator, before = found[place % len(found)]
        side = _Live(ids, initiator=initiator)
        for piece in before:
            side.receive(piece)
        reconcile_messages.turn_untrusted(raw)
        side.receive(raw)

    return moments(*samples), receive


def _reconcile_messages() -> Prepared:
    told = vectors("reconcile", "messages") + vectors("reconcile", "refused_messages")
    return told, reconcile_messages.decode_message_untrusted


TARGETS = [
    Target("reconcile.message", _reconcile_messages),
    Target("reconcile.live", _exchanges, most=17_000),
]
