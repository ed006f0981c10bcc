"""Custody keeps envelopes, counts their age, and knows nothing of its owner."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pnode.errors import StoreCorrupt, StoreError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.custody import SEEN_COST, Usage
from p2pnode.protocol.reconcile.buckets import leaves
from p2pnode.protocol.reconcile.limits import LEAVES
from p2pnode.store.custody import Custody
from p2pnode.store.database import Database
from p2pnode.store.vault import SCHEMA as VAULT
from tests.store_rows import Rows

DAY, HOUR = 86_400, 3_600
MIA, BO = b"slot mia", b"slot bo "


@pytest.fixture(params=["memory", "file"])
def custody(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Custody]:
    memory = request.param == "memory"
    found = Custody.memory() if memory else Custody.create(tmp_path / "custody.db")
    yield found
    found.close()


def put(
    custody: Custody,
    id_: bytes,
    *,
    tag: bytes = b"t" * 16,
    age: int = 0,
    lifetime: int = 0,
    now: int = 1000,
    source: bytes = MIA,
    raw: bytes = b"sealed",
) -> None:
    with custody.transaction():
        custody.put(EnvelopeId(id_), tag, raw, lifetime, age, source, now)


def used(custody: Custody, source: bytes) -> int:
    return custody.usage(source, b"strangers").source


def expire(custody: Custody, now: int) -> int:
    with custody.transaction():
        return custody.expire(now)


def test_store_custody_keeps_and_lets_go(custody: Custody) -> None:
    a, b = EnvelopeId(b"a" * 32), EnvelopeId(b"b" * 32)
    assert not custody.has(a)
    assert custody.get(a) is None
    put(custody, a, raw=b"1234")
    put(custody, b, raw=b"56", tag=b"u" * 16, source=BO, age=3)
    assert custody.has(a)
    assert custody.get(b) == (b"56", 3)
    assert custody.by_tag(b"t" * 16) == [(a, b"1234")]
    assert custody.by_tags([b"u" * 16, b"x" * 16, b"t" * 16]) == [(b, b"56"), (a, b"1234")]
    assert custody.count_bytes() == (2, 6)
    assert used(custody, MIA) == 4 + SEEN_COST
    assert used(custody, BO) == 2 + SEEN_COST
    assert used(custody, b"") == 0
    (first, _), (second, _) = custody.ids(0, 10)
    assert custody.ids(0, 10) == [(first, a), (second, b)]
    assert custody.ids(first, 10) == [(second, b)]
    with custody.transaction():
        custody.remove([a, EnvelopeId(bytes(32)), a])
    assert not custody.has(a)
    assert custody.get(a) is None
    assert custody.by_tag(b"t" * 16) == []
    assert custody.count_bytes() == (1, 2)
    put(custody, a, raw=b"1234", source=BO)
    assert custody.get(a) == (b"1234", 0)
    assert used(custody, MIA) == 0
    assert used(custody, BO) == 6 + 2 * SEEN_COST


def test_store_custody_age_grows_with_time_told_forwards_alone(custody: Custody) -> None:
    a = EnvelopeId(b"a" * 32)
    put(custody, a, age=2, now=100 * DAY)
    for now, age in ((100 * DAY + 5 * HOUR, 7), (90 * DAY, 7), (90 * DAY + HOUR, 8)):
        expire(custody, now)
        assert custody.get(a) == (b"sealed", age)


def test_store_custody_expires_at_the_lifetime(custody: Custody) -> None:
    for lifetime, seconds in enumerate(limits.LIFETIMES):
        put(custody, bytes([lifetime]) * 32, lifetime=lifetime, age=6)
        put(custody, bytes([lifetime + 100]) * 32, lifetime=lifetime)
        assert seconds % HOUR == 0
    for number, seconds in enumerate(limits.LIFETIMES):
        assert expire(custody, 1000 + seconds - 6 * HOUR - 1) == 0
        assert expire(custody, 1000 + seconds - 6 * HOUR) == 1
        assert expire(custody, 1000 + seconds) == 1
        assert custody.count_bytes()[0] == 2 * (len(limits.LIFETIMES) - number - 1)


def test_store_custody_lowest_claim_of_age_wins(custody: Custody) -> None:
    a = EnvelopeId(b"a" * 32)
    put(custody, a, age=10)
    put(custody, a, age=20)  # older does nothing: nobody censors by it
    assert custody.get(a) == (b"sealed", 10)
    put(custody, a, age=4, now=1000 + HOUR)
    assert custody.get(a) == (b"sealed", 4)
    assert custody.count_bytes() == (1, 6)


def test_store_custody_no_claim_makes_an_envelope_immortal(custody: Custody) -> None:
    a = EnvelopeId(b"a" * 32)
    for hours in range(24):
        put(custody, a, age=0, now=1000 + hours * HOUR)
    assert custody.get(a) == (b"sealed", 23)
    assert expire(custody, 1000 + DAY) == 1
    # Dead, it is refused for another lifetime, by whichever link it comes.
    assert custody.has(a)
    put(custody, a, age=0, now=1000 + DAY + 1)
    assert custody.get(a) is None
    assert custody.count_bytes() == (0, 0)
    expire(custody, 1000 + 2 * DAY)
    assert not custody.has(a)


def test_store_custody_evicted_envelope_may_return_but_not_start_anew(custody: Custody) -> None:
    a = EnvelopeId(b"a" * 32)
    put(custody, a)
    with custody.transaction():
        custody.remove([a])
    put(custody, a, age=0, now=1000 + 20 * HOUR)
    assert custody.get(a) == (b"sealed", 20)
    assert expire(custody, 1000 + DAY) == 1


def test_store_custody_candidates_are_the_oldest(custody: Custody) -> None:
    for number, (lifetime, age) in enumerate([(0, 5), (3, 9), (0, 7), (4, 1), (3, 8)]):
        put(custody, bytes([number]) * 32, lifetime=lifetime, age=age, raw=b"x" * number)
    put(custody, b"o" * 32, age=20, source=BO)
    found = custody.candidates(MIA, 3)
    assert [(row.id[0], row.age, row.size) for row in found] == [
        (1, 9 * HOUR, 1),
        (4, 8 * HOUR, 4),
        (2, 7 * HOUR, 2),
    ]


def test_store_custody_usage_counts_rows_until_they_are_forgotten(custody: Custody) -> None:
    strangers = b"strangrs"
    for number, source in enumerate((MIA, MIA, BO, strangers, strangers, strangers)):
        put(custody, bytes([number]) * 32, source=source, raw=bytes(100))
    each = 100 + SEEN_COST
    usage = custody.usage(BO, strangers)
    assert usage == Usage(6 * each, each, 3 * each, 2 * each, MIA)
    assert expire(custody, 1000 + DAY) == 6
    assert custody.usage(MIA, strangers) == Usage(
        6 * SEEN_COST, 2 * SEEN_COST, 3 * SEEN_COST, 2 * SEEN_COST, MIA
    )
    expire(custody, 1000 + 2 * DAY)
    assert custody.usage(MIA, strangers).total == 0


def test_store_custody_forged_twin_under_a_tag_hides_nothing(custody: Custody) -> None:
    put(custody, b"f" * 32, raw=b"forged")
    put(custody, b"g" * 32, raw=b"genuine")
    assert {raw for _, raw in custody.by_tag(b"t" * 16)} == {b"forged", b"genuine"}


def test_store_custody_forgets_nothing_it_committed(tmp_path: Path) -> None:
    path = tmp_path / "custody.db"
    custody = Custody.create(path)
    put(custody, b"a" * 32, now=50 * DAY)
    expire(custody, 50 * DAY + 3 * HOUR)
    custody.close()
    custody = Custody.open(path)
    assert custody.get(EnvelopeId(b"a" * 32)) == (b"sealed", 3)
    expire(custody, 50 * DAY + 5 * HOUR)  # five hours, two of them powered off
    assert custody.get(EnvelopeId(b"a" * 32)) == (b"sealed", 5)
    custody.close()


def test_store_custody_and_vault_are_never_taken_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Database.create(path, VAULT).close()
    with pytest.raises(StoreCorrupt):
        Custody.open(path)


def test_store_custody_schema_has_no_word_of_its_owner() -> None:
    schema = Custody.memory().database.rows("SELECT sql FROM sqlite_schema WHERE sql NOT NULL")
    for (sql,) in schema:
        for word in ("own", "sender", "recipient", "peer", "contact", "device", "account"):
            assert word not in sql.lower().replace("unknown", "")


def test_store_custody_transaction_is_all_or_nothing(custody: Custody) -> None:
    with pytest.raises(StoreError):
        custody.put(EnvelopeId(b"a" * 32), b"t" * 16, b"", 0, 0, MIA, 1)
    with pytest.raises(KeyError), custody.transaction():
        custody.put(EnvelopeId(b"a" * 32), b"t" * 16, b"1", 0, 0, MIA, 1)
        raise KeyError
    with custody.transaction(), pytest.raises(KeyError), custody.savepoint():
        custody.put(EnvelopeId(b"b" * 32), b"t" * 16, b"1", 0, 0, MIA, 1)
        raise KeyError
    assert custody.count_bytes() == (0, 0)
    assert custody.ids(0, 10) == []


def test_store_custody_statements_use_indexes(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, tuple[object, ...]]] = []
    for name in ("rows", "row", "value", "run"):
        real = getattr(Database, name)

        def call(
            self: Database, sql: str, bindings: tuple[object, ...] = (), real: object = real
        ) -> object:
            seen.append((sql, bindings))
            return real(self, sql, bindings)  # type: ignore[operator]

        monkeypatch.setattr(Database, name, call)
    rows = Rows()
    id_ = EnvelopeId(rows.take(32))
    put(custody, id_)
    put(custody, id_, now=9999)
    custody.has(id_)
    custody.get(id_)
    custody.by_tag(b"t" * 16)
    custody.usage(MIA, BO)
    custody.ids(0, 10)
    custody.candidates(MIA, 10)
    with custody.transaction():
        custody.remove([id_])
    expire(custody, 10 * DAY)
    monkeypatch.undo()
    assert len(seen) > 20
    for sql, bindings in seen:
        plan = custody.database.explain(sql, bindings)
        one_row = "SCAN clock" in plan or "SCAN sources" in plan  # one for each contact
        assert one_row or "SCAN" not in plan, f"{sql}\n{plan}"
        assert "TEMP B-TREE" not in plan, f"{sql}\n{plan}"


# Reconciling -----------------------------------------------------------------------------------


def ids_of(custody: Custody) -> set[bytes]:
    found = {id_ for ids in custody.leaf_ids(range(LEAVES)) for id_ in ids}
    assert custody.leaves() == leaves(found)
    return found


def test_store_custody_leaves_follow_every_change(custody: Custody) -> None:
    assert ids_of(custody) == set()
    numbers = [bytes([number, number, number]) + bytes(29) for number in range(0, 256, 5)]
    for id_ in numbers:
        put(custody, id_)
    assert ids_of(custody) == set(numbers)
    with custody.transaction():
        custody.remove([EnvelopeId(numbers[3])])
    assert ids_of(custody) == set(numbers)  # it had to make room: it need not come again
    expire(custody, 1000 + DAY)
    assert ids_of(custody) == set(numbers)  # they have lived their time here
    expire(custody, 1000 + 2 * DAY)
    assert ids_of(custody) == set()


def test_store_custody_what_died_of_a_claim_may_come_again(custody: Custody) -> None:
    a = b"a" * 32
    put(custody, a, age=23)
    assert expire(custody, 1000 + HOUR) == 1
    assert ids_of(custody) == set()
    put(custody, a, age=1, now=1000 + HOUR)
    assert custody.get(EnvelopeId(a)) == (b"sealed", 1)
    assert ids_of(custody) == {a}


def test_store_custody_leaves_survive_an_undone_transaction(custody: Custody) -> None:
    put(custody, b"a" * 32)
    with pytest.raises(ZeroDivisionError), custody.transaction():
        custody.put(EnvelopeId(b"b" * 32), b"t" * 16, b"x", 0, 0, MIA, 1000)
        assert len(ids_of(custody)) == 2
        raise ZeroDivisionError
    custody.forget_leaves()
    assert ids_of(custody) == {b"a" * 32}


def test_store_custody_what_has_come_is_refused_and_no_difference(custody: Custody) -> None:
    a, b = EnvelopeId(b"a" * 32), EnvelopeId(b"b" * 32)
    put(custody, a, raw=b"1234")
    before = custody.leaves()
    with custody.transaction():
        custody.deliver(a, b"token of a      ")
        custody.deliver(b, b"never seen      ")
    assert custody.get(a) is None
    assert custody.has(a)
    assert custody.token(a) == b"token of a      "
    assert custody.token(b) is None
    assert not custody.has(b)
    put(custody, a, raw=b"1234")
    assert custody.get(a) is None
    assert custody.count_bytes() == (0, 0)
    assert custody.leaves() != before
    assert custody.leaves() == leaves([])
    with custody.transaction():
        custody.deliver(a, b"again           ")
    expire(custody, 1000 + 2 * DAY)
    assert not custody.has(a)


def test_store_custody_recent_ids_are_those_that_count(custody: Custody) -> None:
    names = [EnvelopeId(bytes([97 + number]) * 32) for number in range(5)]
    for name in names[:2]:
        put(custody, name)
    position = custody.newest()
    for name in names[2:]:
        put(custody, name)
    with custody.transaction():
        custody.remove([names[3]])  # made room: it need not come again
        custody.deliver(names[4], b"t" * 16)
    assert custody.recent(position, 10) == names[2:4]
    assert custody.recent(position, 1) == names[2:3]
    assert custody.recent(0, 10) == names[:4]
    assert custody.newest() == position + 3


def test_store_custody_walks_tags_and_sources_in_the_order_they_came(custody: Custody) -> None:
    put(custody, b"b" * 32, tag=b"1" * 16)
    put(custody, b"a" * 32, tag=b"2" * 16, source=BO)
    put(custody, b"c" * 32, tag=b"3" * 16)
    with custody.transaction():
        custody.remove([EnvelopeId(b"c" * 32)])
    assert [tag for _, tag in custody.tags(0, 10)] == [b"1" * 16, b"2" * 16]
    assert [tag for _, tag in custody.tags(1, 10)] == [b"2" * 16]
    asked = [EnvelopeId(bytes([one]) * 32) for one in b"abcd"]
    assert custody.ordered(asked) == [(b"b" * 32, MIA), (b"a" * 32, BO)]
    assert custody.used() == {
        MIA: (1, len(b"sealed") + 2 * SEEN_COST),
        BO: (1, len(b"sealed") + SEEN_COST),
    }


def test_store_custody_some_from_a_start_and_around(custody: Custody) -> None:
    for one in b"adgj":
        put(custody, bytes([one]) * 32, now=1_000)
    put(custody, b"h" * 32, now=5_000)
    expire(custody, 5_000)
    found = custody.from_start(b"e" * 32, 3_600, 10)
    assert [one[:1] for one in found] == [b"g", b"j", b"a", b"d"]
    assert custody.from_start(b"e" * 32, 3_600, 2) == found[:2]
    assert len(custody.from_start(b"e" * 32, 0, 10)) == 5


def test_store_custody_keeps_the_clock_it_was_told(custody: Custody) -> None:
    assert custody.kept_clock() is None
    with custody.transaction():
        custody.expire(5_000, 1_790_000_000)
    assert custody.kept_clock() == (5_000, 1_790_000_000)
