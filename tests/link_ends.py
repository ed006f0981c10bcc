"""Two ends of a channel for link tests: links driven by hand, with whatever a test does between."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from p2pnode.protocol.limits import PAGE_MARKS
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.effects import (
    AskCandidates,
    AskStep,
    Effect,
    Established,
    SendFrame,
)
from p2pnode.protocol.link.keys import Candidate, LinkKey
from p2pnode.protocol.link.machine import Link
from tests.entropy import SeededEntropy

SECRET = b"pairing's link secret, 32 bytes!"


def pair_keys(alice: int = 0, bob: int = 0, secret: bytes = SECRET) -> tuple[LinkKey, LinkKey]:
    """Return the two sides' keys of one pair, at the given indexes."""
    one, other = keys.first(secret, alice=True), keys.first(secret, alice=False)
    for index in range(alice):
        one = keys.stepped(one, index)
    for index in range(bob):
        other = keys.stepped(other, index)
    return one, other


def crowd(size: int, *, seed: int = 0, rank: int = 0) -> list[Candidate]:
    """Return candidates that nobody else knows, each with a previous key."""
    entropy = SeededEntropy(seed)
    return [
        Candidate(
            ("crowd", seed, n), LinkKey(3, entropy.take(32), entropy.take(32), n % 2 == 0), rank
        )
        for n in range(size)
    ]


@dataclass
class End:
    """One side: a link, the keys it knows, and all effects that came out of it."""

    link: Link
    known: list[Candidate] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    steps: list[AskStep] = field(default_factory=list)
    now: int = 0

    def take(self, effects: Iterable[Effect]) -> list[bytes]:
        """Perform effects as an owner does; return the frames to send."""
        out: list[bytes] = []
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case SendFrame(frame):
                    out.append(frame)
                case AskCandidates():
                    out += self.take(self.link.candidates(self.known))
                case AskStep():
                    self.steps.append(effect)
                    self._step(effect)
                    out += self.take(self.link.stepped())
        return out

    def _step(self, ask: AskStep) -> None:
        self.known = [
            Candidate(one.ref, keys.stepped(one.key, ask.proven), one.rank)
            if one.ref == ask.ref
            else one
            for one in self.known
        ]

    def receive(self, frame: bytes) -> list[bytes]:
        return self.take(self.link.receive_untrusted(frame, self.now))

    @property
    def peers(self) -> list[Hashable | None]:
        """Whom Established named."""
        return [one.peer for one in self.effects if isinstance(one, Established)]

    @property
    def shapes(self) -> list[object]:
        """The effects without what only this side may know."""
        return [
            ("frame", len(one.frame)) if isinstance(one, SendFrame) else type(one).__name__
            for one in self.effects
        ]


def end(
    *,
    initiator: bool,
    known: Iterable[Candidate] = (),
    seed: int = 1,
    marks: int = PAGE_MARKS,
    now: int = 0,
) -> End:
    """Return a fresh end with its own reproducible entropy."""
    entropy = SeededEntropy(seed * 2 + initiator)
    link = Link(initiator=initiator, marks=marks, entropy=entropy, now=now)
    return End(link, list(known), now=now)


def run(
    initiator: End,
    responder: End,
    between: Callable[[bool, bytes], bytes] = lambda _from_initiator, frame: frame,
) -> list[tuple[bool, bytes]]:
    """Carry frames until both are quiet; return them as (from the initiator?, frame)."""
    wire = [(True, frame) for frame in initiator.take(initiator.link.start())]
    wire += [(False, frame) for frame in responder.take(responder.link.start())]
    at = 0
    while at < len(wire):
        from_initiator, frame = wire[at]
        other = responder if from_initiator else initiator
        answers = other.receive(between(from_initiator, frame))
        wire += [(not from_initiator, answer) for answer in answers]
        at += 1
    return wire


def linked(
    alice: int = 0, bob: int = 0, *, alice_initiates: bool = True, seed: int = 1
) -> tuple[End, End]:
    """Return the ends of a link between a pair: (initiator, responder)."""
    one, other = pair_keys(alice, bob)
    here, there = Candidate("bob", one), Candidate("alice", other)
    if not alice_initiates:
        here, there = there, here
    initiator = end(initiator=True, known=[here], seed=seed)
    responder = end(initiator=False, known=[there], seed=seed)
    run(initiator, responder)
    return initiator, responder


def strangers(seed: int = 1) -> tuple[End, End]:
    """Return the ends of a link between strangers: (initiator, responder)."""
    initiator, responder = end(initiator=True, seed=seed), end(initiator=False, seed=seed)
    run(initiator, responder)
    return initiator, responder
