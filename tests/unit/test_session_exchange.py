"""Two sides write to each other: who may write when, what headers say, and that nothing drifts."""

import msgspec
import pytest

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import envelope, limits, primitives
from p2pnode.protocol.session import keys, ratchet
from p2pnode.protocol.session.records import Session
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.session_sides import sides

KINDS = [SeededEntropy, RealKemEntropy]


@pytest.mark.parametrize("kind", KINDS)
def test_either_may_write_first_and_both_at_once(kind: type[SeededEntropy]) -> None:
    for order in ("ab", "ba"):
        alice, bob = sides(1, kind)
        first = {"a": alice.write(b"from alice"), "b": bob.write(b"from bob")}
        for who in order:
            reader = bob if who == "a" else alice
            assert reader.read(first[who]) == (b"from alice" if who == "a" else b"from bob")
        for turn in range(3):
            assert alice.read(bob.write(b"b%d" % turn)) == b"b%d" % turn
            assert bob.read(alice.write(b"a%d" % turn)) == b"a%d" % turn


@pytest.mark.parametrize("kind", KINDS)
def test_bob_may_write_much_before_alice_is_heard(kind: type[SeededEntropy]) -> None:
    alice, bob = sides(2, kind)
    early = [bob.write(b"%d" % n) for n in range(100)]
    assert [alice.read(raw) for raw in early[:40]] == [b"%d" % n for n in range(40)]
    assert bob.read(alice.write(b"hi")) == b"hi"
    assert alice.read(bob.write(b"now healed")) == b"now healed"
    assert bob.session.previous == 100
    assert [alice.read(raw) for raw in early[40:]] == [b"%d" % n for n in range(40, 100)]


@pytest.mark.parametrize("kind", KINDS)
def test_ping_pong(kind: type[SeededEntropy]) -> None:
    alice, bob = sides(3, kind)
    for turn in range(60):
        writer, reader = (alice, bob) if turn % 2 == 0 else (bob, alice)
        for n in range(turn % 3 + 1):
            text = b"%d.%d" % (turn, n)
            assert reader.read(writer.write(text)) == text
    assert alice.session.current.chain == bob.session.current.chain == 30


def test_a_long_run_one_way_crosses_blocks() -> None:
    alice, bob = sides(4)
    seen = set()
    for n in range(3 * limits.BLOCK + 10):
        raw = alice.write(b"%d" % n)
        seen.add(envelope.parse_untrusted(raw).tag)
        assert bob.read(raw) == b"%d" % n
        assert len(bob.rows) < 2 * (2 * limits.WINDOW + limits.MAX_JUMP // limits.BLOCK + 1)
    assert len(seen) == 3 * limits.BLOCK + 10
    assert bob.session.current.next == 3 * limits.BLOCK + 10


def test_counts_and_handles_are_what_index_statements_need() -> None:
    alice, bob = sides(5)
    assert alice.session.handle == bob.session.handle
    assert len(alice.session.handle) == 8
    assert alice.session.handle != sides(6)[0].session.handle
    sealed = [alice.seal() for _ in range(4)]
    assert [one.count for one in sealed] == [1, 2, 3, 4]
    assert bob.open(sealed[2].raw).count == 3
    assert bob.session.received == 3
    assert bob.open(sealed[0].raw).count == 1
    assert bob.session.received == 3
    alice.read(bob.write())
    assert bob.open(alice.write()).count == 5
    assert (alice.session.sent, bob.session.received) == (5, 5)
    assert (bob.session.sent, alice.session.received) == (1, 1)


def test_both_ends_derive_the_same_token_and_only_its_hash_is_outside() -> None:
    alice, bob = sides(7)
    sealed = alice.seal(b"x")
    outer = envelope.parse_untrusted(sealed.raw)
    assert bob.open(sealed.raw).token == sealed.token
    assert outer.token_hash == envelope.token_hash(sealed.token)
    assert sealed.token not in sealed.raw
    assert sealed.id == envelope.envelope_id(sealed.raw)


def test_headers_of_a_chain_repeat_one_key_and_ciphertext() -> None:
    alice, bob = sides(8)
    bob_rows = dict(bob.tags)
    headers = []
    for _ in range(3):
        outer = envelope.parse_untrusted(alice.write())
        headers.append(envelope.open_header(outer, bob_rows[outer.tag].header_key))
    assert len({header[: keys.RATCHET] for header in headers}) == 1
    assert headers[0][:32] == primitives.x25519_public(alice.session.dh_private)
    alice_rows = dict(alice.tags)
    outer = envelope.parse_untrusted(bob.write())
    header = envelope.open_header(outer, alice_rows[outer.tag].header_key)
    assert header[1216:2304] == bytes(1088)
    assert header[2304:] == bytes(4) + bytes(4) + (1).to_bytes(8, "big") + bytes(12)


def test_bucket_sizes_and_lifetimes_through_a_session() -> None:
    alice, bob = sides(9)
    edges = {0: 4096, 1: 4096, 1670: 4096, 1671: 16384, 13958: 16384, 13959: 65536, 63110: 65536}
    for size, total in edges.items():
        raw = alice.write(b"z" * size, lifetime=size % 5)
        assert len(raw) == total
        assert envelope.parse_untrusted(raw).lifetime == size % 5
        assert bob.read(raw) == b"z" * size
    before = alice.session
    with pytest.raises(InvalidInput):
        alice.write(bytes(63_111))
    assert alice.session == before


def test_the_same_entropy_gives_the_same_bytes() -> None:
    runs = []
    for _ in range(2):
        alice, bob = sides(10)
        raws = [alice.write(b"1"), alice.write(b"2"), bob.write(b"3")]
        bob.read(raws[1])
        raws.append(bob.write(b"4"))
        alice.read(raws[3])
        raws.append(alice.write(b"5"))
        runs.append((raws, alice.session, alice.rows, bob.session, bob.rows))
    assert runs[0] == runs[1]


def test_nonces_differ_even_when_a_copied_state_seals_again() -> None:
    alice, bob = sides(11)
    clone = alice.copy(SeededEntropy(99))
    one, two = alice.write(b"same"), clone.write(b"same")
    assert envelope.parse_untrusted(one).tag == envelope.parse_untrusted(two).tag
    assert one[34:58] != two[34:58]
    assert one[58:] != two[58:]
    assert bob.read(one) == b"same"
    assert not bob.hears(two)


def test_a_session_is_small_and_keeps_nothing_it_does_not_need() -> None:
    alice, bob = sides(12)
    bob.read(alice.write())
    waiting = bob.session
    assert (waiting.ours, waiting.dh_private, waiting.kem_seed) == (b"", b"", b"")
    assert (waiting.sending_key, waiting.sending_step, waiting.sending_block) == (b"", b"", b"")
    bob.write()
    assert bob.session.theirs == b""
    for session in (waiting, bob.session, alice.session):
        assert len(msgspec.msgpack.encode(session)) < 3_200
        with pytest.raises(AttributeError):
            session.root = b""  # type: ignore[misc]
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(session), type=Session)
        assert again == session


def test_sides_that_saw_different_keys_do_not_understand_each_other() -> None:
    keys_of = [(SeededEntropy(n).take(32), SeededEntropy(n).take(64)) for n in range(3)]
    entropy = SeededEntropy(5)
    dh = [primitives.x25519_public(private) for private, _ in keys_of]
    kem = [entropy.kem_public(seed) for _, seed in keys_of]

    def begin(own: int, their: int, *, alice: bool) -> list[bytes]:
        session, rows = ratchet.start(
            secret=bytes(32),
            alice=alice,
            own_dh_private=keys_of[own][0],
            own_kem_seed=keys_of[own][1],
            their_dh_public=dh[their],
            their_kem_public=kem[their],
            entropy=entropy,
        )
        sealed = ratchet.seal(session, b"", lifetime=0, entropy=entropy)
        return [row.tag for row in rows] + [session.handle, sealed.raw[1:17]]

    assert not set(begin(0, 1, alice=True)) & set(begin(1, 2, alice=False))


def test_unusable_first_keys_are_refused() -> None:
    def begin(dh: bytes, kem: bytes) -> None:
        ratchet.start(
            secret=bytes(32),
            alice=True,
            own_dh_private=bytes(range(32)),
            own_kem_seed=bytes(64),
            their_dh_public=dh,
            their_kem_public=kem,
            entropy=RealKemEntropy(1),
        )

    good = RealKemEntropy(1).kem_public(bytes(64))
    with pytest.raises(RemoteError, match="bad-dh-key"):
        begin(bytes(32), good)
    with pytest.raises(RemoteError, match="bad-kem-key"):
        begin(primitives.x25519_public(bytes(range(32))), b"\xff" * 1184)
