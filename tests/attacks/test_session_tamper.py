"""What a carrier, a thief of header keys, and a lying contact can do to a session: nothing lasting.

Every refusal is checked to leave session and rows as they were (`Side.refuses`).
"""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope, limits, primitives
from p2pnode.protocol.session import keys, ratchet
from p2pnode.protocol.session.records import Session, TagRow
from tests.entropy import RealKemEntropy
from tests.session_sides import Side, sides


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes((raw[at] ^ (1 << at % 8),)) + raw[at + 1 :]


def row_of(side: Side, raw: bytes) -> TagRow:
    return side.tags[envelope.parse_untrusted(raw).tag]


def test_every_byte_flipped_is_refused() -> None:
    alice, bob = sides(1)
    raw = alice.write(b"true")
    row = row_of(bob, raw)
    reasons = {bob.refuses(flipped(raw, at), row) for at in range(len(raw))}
    assert reasons <= {"unknown-version", "bad-lifetime", "not-authentic"}
    assert bob.read(raw) == b"true"


def test_every_byte_flipped_is_refused_under_a_skipped_key() -> None:
    alice, bob = sides(2)
    raw = alice.write(b"true")
    bob.read(alice.write())
    row = row_of(bob, raw)
    assert row.message_key
    for at in [*range(58), *range(58, 4096, 37), 4095]:
        bob.refuses(flipped(raw, at), row)
    assert bob.read(raw) == b"true"


@given(st.sampled_from(limits.BUCKETS), st.integers(0, 2**32))
def test_junk_under_a_copied_tag_leaves_the_row_for_the_true_envelope(size: int, seed: int) -> None:
    alice, bob = sides(3)
    chance = random.Random(seed)
    for _ in range(2):
        raw = alice.write(b"true")
        junk = raw[:18] + chance.randbytes(size - 18)
        assert bob.refuses(junk) == "not-authentic"
        copied = raw[:58] + chance.randbytes(len(raw) - 58)
        assert bob.refuses(copied) == "not-authentic"
        assert bob.read(raw) == b"true"
        alice.read(bob.write())


def test_parts_of_two_true_envelopes_do_not_mix() -> None:
    alice, bob = sides(4)
    one, two = alice.write(b"one"), alice.write(b"two")
    for cut in (1, 17, 18, 34, 58, 58 + 2348):
        assert bob.refuses(one[:cut] + two[cut:], row_of(bob, one)) == "not-authentic"
        assert bob.refuses(two[:cut] + one[cut:], row_of(bob, two)) == "not-authentic"
    assert bob.refuses(one, row_of(bob, two)) == "not-authentic"
    assert bob.read(one) + bob.read(two) == b"onetwo"


def resealed(raw: bytes, header_key: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """What one with the header key, and nothing else, can make of an envelope."""
    outer = envelope.parse_untrusted(raw)
    header = change(envelope.open_header(outer, header_key))
    sealed = primitives.seal(header_key, raw[34:58], header, raw[:58])
    return raw[:58] + sealed + raw[58 + 2348 :]


def put(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda header: header[:at] + value + header[at + len(value) :]


CHANGES = {
    "dh": put(0, primitives.x25519_public(bytes(range(32)))),
    "low-order dh": put(0, bytes(32)),
    "kem key": put(32, bytes(1184)),
    "kem ciphertext zeroed": put(1216, bytes(1088)),
    "kem ciphertext bit": lambda header: flipped(header, 1300),
    "kem ciphertext and key exchanged": lambda h: h[:32] + h[1216:2304] + h[32:1216] + h[2304:],
    "n": put(2304, (7).to_bytes(4, "big")),
    "previous": put(2308, (1).to_bytes(4, "big")),
    "count": put(2312, (9).to_bytes(8, "big")),
    "padding": put(2320, b"\x01"),
    "end of padding": put(2331, b"\x01"),
    "nothing": lambda header: header,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_thief_of_header_keys_changes_nothing(change: str) -> None:
    alice, bob = sides(5, RealKemEntropy)
    raw = alice.write(b"true")
    forged = resealed(raw, row_of(bob, raw).header_key, CHANGES[change])
    if change == "nothing":
        assert forged == raw
    else:
        bob.refuses(forged)
    assert bob.read(raw) == b"true"
    # The same inside a running chain.
    raw = alice.write(b"second")
    forged = resealed(raw, row_of(bob, raw).header_key, CHANGES[change])
    if change != "nothing":
        bob.refuses(forged)
    assert bob.read(raw) == b"second"


def lying(change: Callable[[Session], Session], *, running: bool) -> tuple[Side, bytes]:
    """Return (bob, envelope) where alice herself seals from a state she changed."""
    alice, bob = sides(6, RealKemEntropy)
    if running:
        bob.read(alice.write())
    alice.session = change(alice.session)
    return bob, alice.write()


def ours(at: int, value: bytes) -> Callable[[Session], Session]:
    return lambda session: replace(session, ours=put(at, value)(session.ours))


@pytest.mark.parametrize(
    ("change", "first", "running"),
    [
        (ours(1216, bytes(1088)), "not-authentic", "chain-changed"),
        (ours(1216, bytes(range(64)) * 17), "not-authentic", "chain-changed"),
        (ours(32, bytes(1184)), "not-authentic", "chain-changed"),
        (ours(0, bytes(32)), "bad-dh-key", "chain-changed"),
        (ours(0, primitives.x25519_public(bytes(32))), "not-authentic", "chain-changed"),
        (lambda s: replace(s, sent=s.sent + 1), "bad-count", "bad-count"),
        (lambda s: replace(s, previous=1), "bad-previous", "chain-changed"),
        (lambda s: replace(s, sending_n=s.sending_n + 2), "wrong-index", "wrong-index"),
        (lambda s: replace(s, sending_key=bytes(32)), "not-authentic", "not-authentic"),
    ],
)
def test_a_lying_contact_is_refused(
    change: Callable[[Session], Session], first: str, running: str
) -> None:
    bob, raw = lying(change, running=False)
    assert bob.refuses(raw) == first
    bob, raw = lying(change, running=True)
    assert bob.refuses(raw) == running


def test_a_step_without_an_answer_is_out_of_turn() -> None:
    alice, bob = sides(7)
    bob_keys = bob.session.ours[: keys.DH_AND_KEM]
    bob.read(alice.write())
    alice.session = replace(alice.session, theirs=bob_keys)
    raw = alice.write()
    assert row_of(bob, raw).chain == bob.session.coming.chain
    assert bob.refuses(raw) == "out-of-turn"


def test_a_lower_previous_than_was_opened_is_refused() -> None:
    alice, bob = sides(8)
    for _ in range(3):
        bob.read(alice.write())
    alice.read(bob.write())
    honest = alice.copy(alice.entropy)
    stepped = ratchet.seal(alice.session, b"", lifetime=0, entropy=alice.entropy).session
    alice.session = replace(stepped, previous=2, sending_n=0, sent=2)
    block, step = keys.open_block(honest.session.sending_next)
    alice.session = replace(alice.session, sending_block=block, sending_step=step)
    assert bob.refuses(alice.write()) == "bad-previous"
    assert bob.read(honest.write(b"honest")) == b"honest"


class BadKem(RealKemEntropy):
    """A contact that shows a KEM key nobody can encapsulate to."""

    def kem_public(self, seed: bytes) -> bytes:
        return b"\xff" * 1184


def test_a_kem_key_that_cannot_be_answered_is_refused_when_it_arrives() -> None:
    alice, bob = sides(9, RealKemEntropy)
    bob.read(alice.write())
    alice.read(bob.write())
    alice.entropy = BadKem(1)
    assert bob.refuses(alice.write()) == "bad-kem-key"
    assert bob.write()


def test_a_wrong_token_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = sides(10)
    with monkeypatch.context() as patch:
        patch.setattr(envelope, "token_hash", lambda _token: bytes(16))
        raw = alice.write()
    assert bob.refuses(raw) == "bad-token"


def test_a_skipped_envelope_cannot_claim_to_be_newer() -> None:
    alice, bob = sides(11)
    honest = alice.session
    alice.session = replace(honest, sent=5)
    late = alice.write()
    alice.session = replace(alice.session, sent=honest.sent + 1)
    bob.read(alice.write())
    assert bob.refuses(late) == "bad-count"


def test_refusals_are_remote_errors_for_any_bytes_in_the_header() -> None:
    alice, bob = sides(12)
    raw = alice.write()
    row = row_of(bob, raw)

    @given(st.binary(min_size=2332, max_size=2332))
    def check(header: bytes) -> None:
        forged = resealed(raw, row.header_key, lambda _: header)
        with pytest.raises(RemoteError):
            ratchet.open_untrusted(
                bob.session, row, envelope.parse_untrusted(forged), entropy=bob.entropy
            )

    check()
