"""Random schedules, the losses of a bad month included: every envelope that arrives opens, once."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pnode.protocol import limits
from tests.session_sides import Side, sides


class Pair(RuleBasedStateMachine):
    """Two sides, two sets of envelopes in flight, and what each side must be able to read."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = sides(1)
        self.flying: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
        self.owed: tuple[set[bytes], set[bytes]] = (set(), set())
        self.written = 0
        self.lost = 0

    def text(self) -> bytes:
        self.written += 1
        return b"%d" % self.written

    def reader(self, writer: int) -> Side:
        return self.sides[1 - writer]

    def arrive(self, writer: int, raw: bytes, text: bytes) -> None:
        self.owed[writer].add(text)
        for read in self.reader(writer).take(raw):
            self.owed[writer].remove(read)  # KeyError when it was read before

    @rule(writer=st.integers(0, 1), many=st.integers(1, 5))
    def write(self, writer: int, many: int) -> None:
        for _ in range(many):
            text = self.text()
            self.flying[writer][self.sides[writer].write(text)] = text

    @rule(writer=st.integers(0, 1), many=st.sampled_from([1, 63, 64, 65, 128, 257, 600]))
    def lose(self, writer: int, many: int) -> None:
        if self.lost + many > limits.MAX_SKIPPED // 2:
            return
        self.lost += many
        for _ in range(many):
            self.sides[writer].write(b"lost")

    @rule(writer=st.integers(0, 1), which=st.integers(0, 2**16))
    def deliver(self, writer: int, which: int) -> None:
        queue = self.flying[writer]
        if queue:
            raw = list(queue)[which % len(queue)]
            self.arrive(writer, raw, queue.pop(raw))

    @rule(writer=st.integers(0, 1), newest_first=st.booleans())
    def deliver_all(self, writer: int, newest_first: bool) -> None:
        queue = list(self.flying[writer])
        for raw in reversed(queue) if newest_first else queue:
            self.arrive(writer, raw, self.flying[writer].pop(raw))

    @invariant()
    def rows_are_bounded_and_unique(self) -> None:
        for side in self.sides:
            assert len(side.tags) == len(side.rows)
            ahead = sum(1 for row in side.rows.values() if not row.message_key)
            assert ahead <= 2 * (2 * limits.WINDOW + limits.MAX_JUMP // limits.BLOCK + 1)

    def teardown(self) -> None:
        """When both go on writing, within one block and one turn nothing is owed."""
        for _ in range(2):
            for writer in (0, 1):
                self.deliver_all(writer, newest_first=False)
                for _ in range(limits.BLOCK + limits.WINDOW):
                    text = self.text()
                    self.arrive(writer, self.sides[writer].write(text), text)
                    if not self.owed[writer] and not self.reader(writer).aside:
                        break
        assert self.owed == (set(), set())


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 400), min_size=1, max_size=6),
    turns=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_any_gaps_are_crossed(gaps: list[int], turns: list[bool]) -> None:
    alice, bob = sides(2)
    for gap, turn in zip(gaps, turns, strict=False):
        for _ in range(gap):
            alice.write()
        while not bob.hears(raw := alice.write(b"x")):
            pass
        assert bob.read(raw) == b"x"
        if turn:
            alice.read(bob.write())
