"""Properties of codes, names, fingerprints and pairings that hold for all inputs."""

import unicodedata
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import envelope, fingerprint, identity, names
from p2pnode.protocol.limits import MAX_NAME
from p2pnode.protocol.pairing import code, mutual
from p2pnode.protocol.pairing.agreement import Agreed
from p2pnode.protocol.pairing.confirm import check_confirmation_untrusted
from p2pnode.protocol.pairing.machine import Compare, Failed, Keep
from tests.entropy import SeededEntropy
from tests.pairing_scenes import Scene, assert_complementary, person, shown

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
def test_every_code_survives_the_way_through_a_uri(
    commitment: bytes, secret: bytes, expires: int
) -> None:
    one = code.Code(commitment, secret, expires)
    uri = code.to_uri(one)
    assert code.uri_untrusted(uri) == code.uri_untrusted(uri.lower()) == one


@given(st.text() | st.text("ABCDEFGHabcxyz234567=").map(lambda text: "P2PNODE:" + text))
def test_whatever_is_taken_for_a_code_is_written_in_one_way_only(text: str) -> None:
    with suppress(RemoteError):
        assert code.to_uri(code.uri_untrusted(text)) == text.upper()


@given(st.binary(max_size=300))
def test_foreign_bytes_raise_one_error(raw: bytes) -> None:
    with suppress(RemoteError):
        identity.check_certificate_untrusted(raw)
    with suppress(RemoteError):
        check_confirmation_untrusted(bytes(32), True, raw)


@given(st.text())
def test_petnames_are_stable_and_visible(text: str) -> None:
    try:
        name = names.petname(text)
    except InvalidInput:
        return
    assert names.petname(name) == name
    assert names.suggested_untrusted(name) == name
    assert 1 <= len(name) <= MAX_NAME
    assert not {unicodedata.category(ch) for ch in name} & {"Cc", "Cf", "Co", "Cs", "Cn"}


@given(st.text())
def test_suggestions_can_be_used(text: str) -> None:
    name = names.suggested_untrusted(text)
    assert names.petname(name) == name


@given(st.text())
def test_shown_hints_hide_nothing_and_are_bounded(text: str) -> None:
    shown_text = names.shown_hint_untrusted(text)
    categories = {unicodedata.category(ch) for ch in shown_text}
    assert not categories & {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
    assert not any(ch.isspace() and ch != " " for ch in shown_text)
    # A name of 64 characters grows by composition exclusions and by what is spelled out.
    assert len(shown_text) <= MAX_NAME * 40


@given(st.text())
def test_folding_knows_no_case_and_is_stable(text: str) -> None:
    folded = names.fold(text)
    assert names.fold(folded) == folded
    assert names.fold(text.casefold()) == folded


@given(KEYS, KEYS)
def test_fingerprints_match_themselves_alone(one: bytes, other: bytes) -> None:
    first, second = fingerprint.fingerprint(one), fingerprint.fingerprint(other)
    for typed in (fingerprint.grouped(first), " ".join(fingerprint.words(first))):
        assert fingerprint.matches(first, typed)
        assert fingerprint.matches(second, typed) is (one == other)


@given(st.text(max_size=100))
def test_typed_fingerprints_raise_one_error(typed: str) -> None:
    with suppress(InvalidInput):
        fingerprint.matches(bytes(32), typed)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_whatever_happens_on_the_way_both_end_alike_or_not_at_all(
    seed: int, data: st.DataObject
) -> None:
    """Messages are lost, repeated, damaged and swapped; links break and are made anew.

    No machine raises. Nobody compares before the other side's keys are proven, and whoever
    compares sees the same words and keeps the same keys.
    """
    scene = Scene.of(SeededEntropy(seed))
    sides = [scene.joiner, scene.shower]
    wires: list[list[bytes]] = [[], scene.joiner.take(scene.joiner.machine.start())]
    for _ in range(data.draw(st.integers(5, 30))):
        to = data.draw(st.integers(0, 1))
        what = data.draw(st.sampled_from(["pass"] * 6 + ["lose", "twice", "swap", "link", "junk"]))
        if what == "link":
            wires = [
                sides[1].take(sides[1].machine.resume()),
                sides[0].take(sides[0].machine.resume()),
            ]
        elif what == "junk":
            wires[1 - to] += sides[to].hear(data.draw(st.binary(max_size=40)))
        elif wires[to]:
            at = -1 if what == "swap" else 0
            raw = wires[to].pop(at)
            for _ in range({"lose": 0, "twice": 2}.get(what, 1)):
                wires[1 - to] += sides[to].hear(raw)
    compared = [e for side in sides for e in side.said if isinstance(e, Compare)]
    assert len({tuple(one.words) for one in compared}) <= 1
    kept = []
    for side in sides:
        if side.said and isinstance(side.said[-1], Compare):
            kept += [e.agreed for e in side.machine.answer(yes=True) if isinstance(e, Keep)]
        assert sum(isinstance(e, Failed) for e in side.said) <= 1
    if len(kept) == 2:
        assert_complementary(*kept)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_a_mutual_scan_ends_well_once_everything_has_come(seed: int, data: st.DataObject) -> None:
    """Carriers bring envelopes in any order, often, with junk among them; then all once more."""
    entropy = SeededEntropy(seed)
    codes = [shown(person(name, entropy), entropy) for name in ("ana", "bo")]
    records, sent = [], []
    for own, other in ((codes[0], codes[1]), (codes[1], codes[0])):
        record, first = mutual.begin(own[0], own[1], other[0], entropy)
        records.append(record)
        sent.append(first)
    outcomes: list[Agreed | None] = [None, None]

    def hear(to: int, raw: bytes) -> None:
        before = records[to]
        try:
            outer = envelope.parse_untrusted(raw)
            records[to], new, agreed = mutual.receive_untrusted(before, outer, entropy)
        except RemoteError:
            assert records[to] == before
            return
        sent[to] += new
        outcomes[to] = agreed or outcomes[to]

    for _ in range(data.draw(st.integers(0, 12))):
        to = data.draw(st.integers(0, 1))
        raw = data.draw(st.sampled_from(sent[1 - to]))
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
        hear(to, raw)
    for which in (0, 1):
        for to in (0, 1):
            hear(to, sent[1 - to][which])
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    assert_complementary(outcomes[0], outcomes[1])
    assert len(sent[0]) == len(sent[1]) == 2
