"""Two sides of a reconciliation over sets in memory, run against each other for tests."""

from hashlib import blake2b

from p2pnode.protocol.reconcile import buckets
from p2pnode.protocol.reconcile.effects import (
    Finished,
    Found,
    ReadDigests,
    ReadIds,
    SendReconcile,
)
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.protocol.reconcile.messages import (
    Assembly,
    decode_message_untrusted,
    turn_untrusted,
)


def made(start, stop):
    """Return the ids of the numbers from start to stop - 1."""
    return {blake2b(n.to_bytes(8, "big"), digest_size=32).digest() for n in range(start, stop)}


class Side:
    """A machine and the sets it reads: everything, and what is new since the checkpoint."""

    def __init__(self, everything, *, initiator, salt, recent=(), checkpoint=None):
        self.sets = {False: set(everything), True: set(recent)}
        self.machine = Reconciler(initiator=initiator, salt=salt, checkpoint=checkpoint)
        self.sent = []
        self.reads = []
        self.found = None
        self.token = None
        self.finished = 0

    def start(self):
        return self.perform(self.machine.start())

    def receive(self, raw):
        return self.perform(self.machine.receive_untrusted(raw))

    def perform(self, effects):
        """Answer reads until there are none, and return the pieces to send."""
        out = []
        todo = list(effects)
        while todo:
            effect = todo.pop(0)
            match effect:
                case SendReconcile(raw):
                    out.append(raw)
                case ReadDigests(recent):
                    self.reads.append(effect)
                    todo += self.machine.digests(buckets.leaves(self.sets[recent]))
                case ReadIds(recent, wanted):
                    self.reads.append(effect)
                    held = {one: [] for one in wanted}
                    for one in sorted(self.sets[recent]):
                        held.get(buckets.leaf_of(one), []).append(one)
                    todo += self.machine.ids([held[one] for one in wanted])
                case Found():
                    assert self.found is None
                    self.found = effect
                case Finished(token):
                    assert self.found is not None
                    self.finished += 1
                    self.token = token
        self.sent.append(out)
        return out


def sides(initiators, responders, *, salts=(b"i" * 16, b"r" * 16), **more):
    """Return an initiator and a responder that hold these ids."""
    return (
        Side(initiators, initiator=True, salt=salts[0], **more),
        Side(responders, initiator=False, salt=salts[1], **more),
    )


def run(initiator, responder, order=list, first=None):
    """Run an exchange to its end and return the messages, each a list of pieces.

    order: may bring the pieces of one message into another order. first: what the initiator has
    sent already.
    """
    turns = []
    pieces, to = initiator.start() if first is None else first, responder
    while pieces:
        turns.append(pieces)
        assert len(turns) < 24
        answer = []
        for raw in order(pieces):
            answer += to.receive(raw)
        pieces, to = answer, initiator if to is responder else responder
    return turns


def check(initiator, responder, *, complete=True):
    """Assert that both sides found exactly what the other lacks, in the sets that were compared."""
    recent = initiator.reads[-1].recent
    mine, theirs = initiator.sets[recent], responder.sets[recent]
    assert set(initiator.found.they_lack) == mine - theirs
    assert set(responder.found.they_lack) == theirs - mine
    assert initiator.found.we_lack == len(theirs - mine)
    assert responder.found.we_lack == len(mine - theirs)
    assert initiator.finished == responder.finished == 1
    assert initiator.token == responder.token
    assert (initiator.token is not None) == complete


def in_leaf(leaf, count):
    """Return `count` ids that somebody ground until all of them fell into one leaf."""
    head = leaf << 6
    return {
        (head | n & 63).to_bytes(2, "big") + blake2b(n.to_bytes(8, "big"), digest_size=30).digest()
        for n in range(count)
    }


def opened(turn):
    """Return the message whose pieces these are."""
    assembly = Assembly(None)
    for piece in turn:
        whole = assembly.add_untrusted(piece, turn_untrusted(piece))
    return decode_message_untrusted(whole)


def kinds(turns):
    """Return the kinds of the messages that went over the link."""
    return [type(opened(turn)) for turn in turns]
