"""Model check: whatever crashes when, and however many links are at work, a pair is never locked
out, and its two indexes never differ by more than one."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pnode.protocol.link import keys
from p2pnode.protocol.link.effects import AskCandidates, AskStep, SendFrame
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.link.machine import Link
from tests.entropy import SeededEntropy
from tests.link_ends import SECRET, end, run

SIDES = (0, 1)


class Running:
    """A link under way: two machines, the frames between them, the questions not yet answered."""

    def __init__(self, opener: int, seed: int) -> None:
        self.opener = opener
        self.links = [
            Link(initiator=side == opener, marks=64, entropy=SeededEntropy(2 * seed + side), now=0)
            for side in SIDES
        ]
        self.frames: list[list[bytes]] = [[], []]  # on the way to each side
        self.asked: list[list[AskCandidates | AskStep]] = [[], []]
        self.take(opener, self.links[opener].start())

    def take(self, side, effects):
        for effect in effects:
            if isinstance(effect, SendFrame):
                self.frames[1 - side].append(effect.frame)
            elif isinstance(effect, (AskCandidates, AskStep)):
                self.asked[side].append(effect)


class TwoDevices(RuleBasedStateMachine):
    """Durable keys of a pair, and any number of links that end at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = [keys.first(SECRET, alice=True), keys.first(SECRET, alice=False)]
        self.running: list[Running] = []
        self.seed = 0

    def candidate(self, side):
        return Candidate("the other", self.stored[side])

    @rule(opener=st.sampled_from(SIDES))
    def open(self, opener):
        if len(self.running) < 4:
            self.seed += 1
            self.running.append(Running(opener, self.seed))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 3), moves=st.integers(1, 8))
    def go_on(self, which, moves):
        """A link does its next things: a frame arrives, or the owner answers a question."""
        one = self.running[which % len(self.running)]
        for _ in range(moves):
            for side in SIDES:
                if one.asked[side]:
                    self.answer(one, side)
                    break
                if one.frames[side]:
                    frame = one.frames[side].pop(0)
                    one.take(side, one.links[side].receive_untrusted(frame, 0))
                    break

    def answer(self, one, side):
        match one.asked[side].pop(0):
            case AskCandidates():
                one.take(side, one.links[side].candidates([self.candidate(side)]))
            case AskStep(ref, proven):
                assert ref == "the other"
                self.stored[side] = keys.stepped(self.stored[side], proven)
                one.take(side, one.links[side].stepped())

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 3), side=st.sampled_from(SIDES))
    def commit_and_crash(self, which, side):
        """A step becomes durable, but its owner dies before it can go on."""
        which %= len(self.running)
        if any(isinstance(ask, AskStep) for ask in self.running[which].asked[side]):
            self.answer(self.running[which], side)
            del self.running[which]

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 3))
    def cut(self, which):
        """The medium ends, or a side dies before its step is durable."""
        del self.running[which % len(self.running)]

    @rule(opener=st.sampled_from(SIDES), turns=st.integers(1, 3))
    def meet(self, opener, turns):
        """Whole links beside those under way: the old ones go on with old candidates."""
        for _ in range(turns):
            self.recognise(opener)

    def recognise(self, opener):
        self.seed += 1
        ends = [
            end(initiator=side == opener, known=[self.candidate(side)], seed=self.seed, marks=64)
            for side in SIDES
        ]
        run(ends[opener], ends[1 - opener])
        assert [one.link.peer for one in ends] == ["the other"] * 2
        for side in SIDES:
            for step in ends[side].steps:
                self.stored[side] = keys.stepped(self.stored[side], step.proven)

    @invariant()
    def never_more_than_one_apart(self):
        assert abs(self.stored[0].index - self.stored[1].index) <= 1

    def teardown(self):
        """After all faults, either side can open a link and is recognised."""
        for opener in (0, 1, 1, 0):
            self.recognise(opener)


TwoDevices.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTwoDevices = TwoDevices.TestCase
