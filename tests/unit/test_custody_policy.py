"""Who may store what, and who makes room for it."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.custody import (
    SEEN_COST,
    STRANGERS_SHARE,
    Admit,
    Candidate,
    CarryPolicy,
    EvictFrom,
    Refuse,
    Usage,
    Waiting,
    judge,
    victim,
    within,
)

MIA, BO, WHO = b"slot mia", b"slot bo ", b"strangrs"
SIZE = 4096
NEED = SIZE + SEEN_COST


def usage(total: int, source: int = 0, strangers: int = 0, most: int = 0) -> Usage:
    return Usage(total, source, strangers, most, BO)


def ask(policy: CarryPolicy, used: Usage, kind: str = "contact") -> object:
    slot = WHO if kind == "stranger" else MIA
    return judge(policy, used, kind, slot, WHO, SIZE)  # type: ignore[arg-type]


def test_there_is_room_to_the_last_byte() -> None:
    policy = CarryPolicy(10 * NEED)
    assert ask(policy, usage(9 * NEED)) == Admit()
    assert ask(policy, usage(9 * NEED + 1, most=5 * NEED)) == EvictFrom(BO, older=False)
    assert ask(CarryPolicy(NEED - 1), usage(0)) == Refuse()


def test_strangers_make_room_first_then_who_uses_most_then_oneself() -> None:
    policy = CarryPolicy(10 * NEED)
    full = 10 * NEED
    assert ask(policy, usage(full, 0, NEED, 9 * NEED)) == EvictFrom(WHO, older=False)
    assert ask(policy, usage(full, 4 * NEED, 0, 6 * NEED)) == EvictFrom(BO, older=False)
    assert ask(policy, usage(full, 5 * NEED, 0, 5 * NEED)) == EvictFrom(MIA, older=True)
    assert ask(policy, usage(full, 0, 0, 0)) == Refuse()


def test_strangers_only_where_the_person_said_so_and_in_their_share() -> None:
    share = 10 * NEED // STRANGERS_SHARE
    assert ask(CarryPolicy(10 * NEED), usage(0), "stranger") == Refuse()
    everyone = CarryPolicy(10 * NEED, "everyone")
    assert ask(everyone, usage(0, 0, share - NEED), "stranger") == Admit()
    one_more = usage(share, share, share - NEED + 1)
    assert ask(everyone, one_more, "stranger") == EvictFrom(WHO, older=True)
    assert ask(everyone, usage(10 * NEED, 0, 0, 10 * NEED), "stranger") == Refuse()


def test_nobody_means_own_mail_alone() -> None:
    nobody = CarryPolicy(10 * NEED, "nobody")
    assert ask(nobody, usage(0)) == Refuse()
    assert ask(nobody, usage(0), "stranger") == Refuse()
    assert ask(nobody, usage(0), "own") == Admit()


def test_the_oldest_and_largest_goes_and_only_for_something_worth_more() -> None:
    old, large, new = Candidate(b"o", 900, 10), Candidate(b"l", 100, 100), Candidate(b"n", 1, 10)
    assert victim([new, large, old], age=0, size=10, older=True) == large
    assert victim([new, old], age=0, size=10, older=True) == old
    assert victim([new], age=1, size=10, older=True) is None
    assert victim([new], age=1, size=10, older=False) == new
    assert victim([], age=0, size=1, older=False) is None


@dataclass
class Model:
    """Custody by the letter of the policy, without a database."""

    policy: CarryPolicy
    held: dict[bytes, list[Candidate]] = field(default_factory=dict)
    clock: int = 0

    def used(self, slot: bytes) -> int:
        return sum(one.size + SEEN_COST for one in self.held.get(slot, []))

    def offer(self, kind: str, slot: bytes, size: int) -> bool:
        self.clock += 1
        for _ in range(64):
            known = [one for one in self.held if one != WHO]
            most = max(known, key=self.used, default=b"")
            total = sum(map(self.used, self.held))
            found = Usage(total, self.used(slot), self.used(WHO), self.used(most), most)
            verdict = judge(self.policy, found, kind, slot, WHO, size)  # type: ignore[arg-type]
            if isinstance(verdict, Admit):
                one = Candidate(self.clock.to_bytes(4), -self.clock, size)
                self.held.setdefault(slot, []).append(one)
                return True
            if isinstance(verdict, Refuse):
                return False
            aged = [
                Candidate(one.id, self.clock + one.age, one.size) for one in self.held[verdict.slot]
            ]
            gone = victim(aged, age=0, size=size, older=verdict.older)
            if gone is None:
                return False
            self.held[verdict.slot] = [x for x in self.held[verdict.slot] if x.id != gone.id]
        return False


offers = st.lists(
    st.tuples(st.sampled_from(["mia", "bo", "flood", "stranger"]), st.sampled_from([4096, 16384])),
    max_size=120,
)


@given(offers=offers)
def test_a_flooder_crowds_out_itself_alone(offers: list[tuple[str, int]]) -> None:
    """Whoever keeps to a fair share keeps what was accepted, whatever the others send."""
    limit = 40 * NEED
    model = Model(CarryPolicy(limit, "everyone"))
    fair = limit // 5
    for who, size in offers:
        modest = who in ("mia", "bo")
        if modest and model.used(who.encode()) + size + SEEN_COST > fair:
            continue
        kind, slot = ("stranger", WHO) if who == "stranger" else ("contact", who.encode())
        before = {one: len(model.held.get(one, [])) for one in (b"mia", b"bo")}
        taken = model.offer(kind, slot, size)
        if modest:
            assert taken
            before[slot] += 1
        assert {one: len(model.held.get(one, [])) for one in (b"mia", b"bo")} == before
        assert sum(map(model.used, model.held)) <= limit
        assert model.used(WHO) <= limit // STRANGERS_SHARE


def test_a_small_disk_is_a_smaller_quota() -> None:
    policy = CarryPolicy(10 * NEED, "everyone")
    assert within(policy, usage(3 * NEED), 100 * NEED) == policy
    assert within(policy, usage(3 * NEED), 2 * NEED) == CarryPolicy(5 * NEED, "everyone")
    assert within(policy, usage(3 * NEED), -NEED) == CarryPolicy(3 * NEED, "everyone")
    full = within(policy, usage(3 * NEED, 0, 0, 2 * NEED), 0)
    assert ask(full, usage(3 * NEED, 0, 0, 2 * NEED)) == EvictFrom(BO, older=False)


def ids(count: int, first: int = 0) -> list[EnvelopeId]:
    return [EnvelopeId(number.to_bytes(32)) for number in range(first, first + count)]


def test_sources_take_turns_and_keep_their_order() -> None:
    waiting = Waiting(WHO, 1_000)
    flood, few, strange = ids(100), ids(3, 100), ids(2, 200)
    for one in strange:
        waiting.add(one, WHO)
    for one in flood:
        waiting.add(one, BO)
    for one in few:
        waiting.add(one, MIA)
        waiting.add(one, MIA)  # again is harmless
    assert len(waiting) == 105
    first = waiting.take(6)
    assert [one for one in first if one in few] == few
    assert [one for one in first if one in flood] == flood[:3]
    rest = waiting.take(1_000)
    assert rest == [*flood[3:], *strange]
    assert len(waiting) == 0
    assert waiting.take(5) == []


def test_a_full_queue_drops_the_newest_of_whoever_has_most() -> None:
    waiting = Waiting(WHO, 10)
    flood, few = ids(10), ids(5, 100)
    for one in flood:
        waiting.add(one, BO)
    waiting.add(EnvelopeId(b"x" * 32), BO)
    for one in few:
        waiting.add(one, MIA)
    assert len(waiting) == 10
    found = waiting.take(10)
    assert [one for one in found if one in flood] == flood[:5]
    assert [one for one in found if one in few] == few


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([MIA, BO, WHO])), max_size=120))
def test_nothing_waits_twice_and_nothing_is_forgotten(added: list[tuple[int, bytes]]) -> None:
    waiting = Waiting(WHO, 1_000)
    known: dict[EnvelopeId, bytes] = {}
    for number, source in added:
        id_ = EnvelopeId(number.to_bytes(32))
        waiting.add(id_, source)
        known.setdefault(id_, source)
    found = waiting.take(7) + waiting.take(1_000)
    assert sorted(found) == sorted(known)
    for source in (MIA, BO, WHO):
        of = [one for one in found if known[one] == source]
        assert of == [one for one in known if known[one] == source]
    strangers = [number for number, one in enumerate(found) if known[one] == WHO]
    assert strangers == list(range(len(found) - len(strangers), len(found)))
