"""The stores against plain models, by random steps."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId, MessageId
from p2pnode.protocol import limits
from p2pnode.protocol.custody import SEEN_COST
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from tests.store_rows import Rows

HOUR = 3600
IDS = st.integers(0, 11)


def message_id(number: int) -> MessageId:
    return MessageId(bytes([number * 20]) * 16)


class Conversation(RuleBasedStateMachine):
    """Heads, order, paging and missing messages, whatever comes in whatever order."""

    @initialize()
    def start(self) -> None:
        self.vault, self.rows = Vault.memory(), Rows()
        self.contact = self.rows.contact("Ada")
        with self.vault.transaction():
            self.vault.contacts.add(self.contact)
        self.model: dict[tuple[int, bool], tuple[int, frozenset[int]]] = {}

    @rule(
        batch=st.lists(
            st.tuples(IDS, st.booleans(), st.integers(1, 5), st.frozensets(IDS, max_size=3)),
            min_size=1,
            max_size=4,
        ),
        fail=st.sampled_from([None, "turn", "batch"]),
    )
    def add(self, batch: list[tuple[int, bool, int, frozenset[int]]], fail: str | None) -> None:
        kept = dict(self.model)
        try:
            with self.vault.transaction():
                for number, mine, clock, heads in batch:
                    if (number, mine) in kept:
                        continue
                    try:
                        with self.vault.savepoint():
                            self.vault.messages.add(
                                self.rows.message(
                                    self.contact.id,
                                    id=message_id(number),
                                    mine=mine,
                                    clock=clock,
                                    heads=tuple(message_id(head) for head in sorted(heads)),
                                )
                            )
                            if fail == "turn":
                                raise RemoteError("no")
                            kept[number, mine] = (clock, heads)
                    except RemoteError:
                        pass
                if fail == "batch":
                    raise KeyError
        except KeyError:
            return
        self.model = kept

    @invariant()
    def order(self) -> None:
        wanted = sorted(
            (clock, message_id(number)) for (number, _), (clock, _) in self.model.items()
        )
        ref, paged = None, []
        while True:
            page = self.vault.messages.history(self.contact.id, 3, ref)
            paged = [(row.clock, row.id) for row in page] + paged
            if len(page) < 3:
                break
            ref = page[0].ref
        assert paged == wanted
        top = max((clock for clock, _ in self.model.values()), default=0)
        assert self.vault.messages.top_clock(self.contact.id) == top

    @invariant()
    def heads(self) -> None:
        # A message named before it came, or since, is no head. One that names itself is its own
        # author's nonsense: it may be one.
        named = {
            head
            for (number, _), (_, heads) in self.model.items()
            for head in heads
            if head != number
        }
        odd = {number for (number, _), (_, heads) in self.model.items() if number in heads}
        present = {number for number, _ in self.model}
        # A contact that uses one of our ids again may make the named one a head: harmless.
        twins = {
            number for number in present if {(number, True), (number, False)} <= set(self.model)
        }
        found = {id_[0] // 20 for id_ in self.vault.messages.heads(self.contact.id)}
        assert len(found) <= limits.MAX_HEADS
        assert not found & (named - twins)
        if len(present - named) <= limits.MAX_HEADS and not odd and not twins:
            assert found == present - named
        every = [message_id(number) for number in range(12)]
        assert self.vault.messages.missing(self.contact.id, every) == len(named - present)


class Carrying(RuleBasedStateMachine):
    """Custody against a dictionary with a clock that never goes back."""

    @initialize()
    def start(self) -> None:
        self.custody = Custody.memory()
        self.now: int | None = None
        self.elapsed = 0
        # number -> [first, born, lifetime, source or None when gone]
        self.model: dict[int, list[int | None]] = {}

    def told(self, now: int) -> int:
        if self.now is not None:
            self.elapsed += max(0, now - self.now)
        self.now = now
        return self.elapsed

    def over(self, number: int) -> bool:
        first, _, lifetime, _, _ = self.model[number]
        return self.elapsed - first >= limits.LIFETIMES[lifetime]

    @rule(
        number=st.integers(0, 5),
        age=st.integers(0, 30),
        source=st.integers(0, 2),
        now=st.integers(0, 60 * 24),
    )
    def put(self, number: int, age: int, source: int, now: int) -> None:
        elapsed = self.told(now * HOUR)
        lifetime = number % 2
        with self.custody.transaction():
            self.custody.put(
                EnvelopeId(bytes([number]) * 32),
                bytes([number // 2]) * 16,
                bytes(number + 1),
                lifetime,
                age,
                bytes([source]) * 8,
                now * HOUR,
            )
        born = elapsed - age * HOUR
        row = self.model.get(number)
        if row is None:
            self.model[number] = [elapsed, born, lifetime, source, source]
        elif row[3] is not None or not self.over(number):
            row[1] = min(max(born, row[1]), row[0])
            if row[3] is None:
                row[3] = row[4] = source

    @rule(number=st.integers(0, 5))
    def remove(self, number: int) -> None:
        with self.custody.transaction():
            self.custody.remove([EnvelopeId(bytes([number]) * 32)])
        if number in self.model:
            self.model[number][3] = None

    @rule(now=st.integers(0, 60 * 24))
    def expire(self, now: int) -> None:
        elapsed = self.told(now * HOUR)
        with self.custody.transaction():
            gone = self.custody.expire(now * HOUR)
        dead = [
            row
            for row in self.model.values()
            if row[3] is not None and elapsed - row[1] >= limits.LIFETIMES[row[2]]
        ]
        assert gone == len(dead)
        for row in dead:
            row[3] = None
        self.model = {
            number: row
            for number, row in self.model.items()
            if row[3] is not None or elapsed - row[0] < 2 * limits.LIFETIMES[row[2]]
        }

    @invariant()
    def same(self) -> None:
        here = {number: row for number, row in self.model.items() if row[3] is not None}
        assert {id_[0] for _, id_ in self.custody.ids(0, 100)} == set(here)
        assert self.custody.count_bytes() == (len(here), sum(number + 1 for number in here))
        for source in range(3):
            size = sum(number + 1 for number, row in here.items() if row[3] == source)
            seen = sum(row[4] == source for row in self.model.values())
            usage = self.custody.usage(bytes([source]) * 8, b"none")
            assert usage.source == size + seen * SEEN_COST
        for number in range(6):
            id_ = EnvelopeId(bytes([number]) * 32)
            row = here.get(number)
            if row is None:
                assert self.custody.get(id_) is None
                assert self.custody.has(id_) == (number in self.model and self.over(number))
            else:
                age = (self.elapsed - row[1]) // HOUR
                assert self.custody.get(id_) == (bytes(number + 1), age)
                assert self.custody.has(id_)
        for tag in range(3):
            found = {id_[0] for id_, _ in self.custody.by_tag(bytes([tag]) * 16)}
            assert found == {number for number in here if number // 2 == tag}
        for source in range(3):
            ages = [row.age for row in self.custody.candidates(bytes([source]) * 8, 10)]
            own = (self.elapsed - row[1] for row in here.values() if row[3] == source)
            assert ages == sorted(own, reverse=True)


_settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStoreConversation = Conversation.TestCase
TestStoreConversation.settings = _settings
TestStoreCarrying = Carrying.TestCase
TestStoreCarrying.settings = _settings
