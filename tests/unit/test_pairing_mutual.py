"""Mutual scan: the keys follow in envelopes, in any order, over any path."""

from dataclasses import dataclass
from itertools import permutations

import msgspec
import pytest

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import envelope
from p2pnode.protocol.pairing import agreement, mutual
from p2pnode.protocol.pairing.agreement import Agreed
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.pairing_scenes import (
    assert_complementary,
    assert_kem_complementary,
    person,
    shown,
)


@dataclass
class End:
    """One side: its record as the vault keeps it, what it sent, and the outcome."""

    record: bytes
    sent: list[bytes]
    entropy: SeededEntropy
    agreed: Agreed | None = None

    @property
    def mutual(self) -> mutual.Mutual:
        return msgspec.msgpack.decode(self.record, type=mutual.Mutual)

    def hear(self, raw: bytes) -> None:
        outer = envelope.parse_untrusted(raw)
        after, sent, agreed = mutual.receive_untrusted(self.mutual, outer, self.entropy)
        self.record = msgspec.msgpack.encode(after)
        self.sent += sent
        if agreed is not None:
            assert self.agreed is None
            self.agreed = agreed


def ends(entropy: SeededEntropy) -> tuple[End, End]:
    ana_code, ana_half = shown(person("ana", entropy), entropy)
    bo_code, bo_half = shown(person("bo", entropy), entropy)
    pair = []
    for own, half, theirs in ((ana_code, ana_half, bo_code), (bo_code, bo_half, ana_code)):
        record, sent = mutual.begin(own, half, theirs, entropy)
        pair.append(End(msgspec.msgpack.encode(record), sent, entropy))
    return pair[0], pair[1]


def assert_whole(one: End, other: End, entropy: SeededEntropy) -> None:
    assert one.agreed is not None
    assert other.agreed is not None
    assert_complementary(one.agreed, other.agreed)
    assert_kem_complementary(one.agreed, other.agreed, entropy)
    assert {one.agreed.hint, other.agreed.hint} == {"ana", "bo"}
    assert mutual.tags(one.mutual) == mutual.tags(other.mutual) == []


@pytest.mark.parametrize("kind", [SeededEntropy, RealKemEntropy])
def test_four_envelopes_and_both_have_agreed(kind: type[SeededEntropy]) -> None:
    entropy = kind(1)
    ana, bo = ends(entropy)
    assert ana.mutual.alice is not bo.mutual.alice
    assert mutual.peer_account(ana.mutual) == b""
    bo.hear(ana.sent[0])
    ana.hear(bo.sent[0])
    assert (ana.agreed, bo.agreed) == (None, None)
    bo.hear(ana.sent[1])
    ana.hear(bo.sent[1])
    assert_whole(ana, bo, entropy)
    assert ana.agreed is not None
    assert mutual.peer_account(ana.mutual) == ana.agreed.account
    assert len(ana.sent) == len(bo.sent) == 2
    assert {len(raw) for raw in ana.sent + bo.sent} == {4096}


def test_a_name_of_the_longest_kind_still_fits() -> None:
    entropy = SeededEntropy(2)
    own, half = shown(person("\U0001f43b" * 64, entropy), entropy)
    theirs, _ = shown(person("bo", entropy), entropy)
    assert len(half.reveal) <= agreement.MAX_REVEAL
    _, sent = mutual.begin(own, half, theirs, entropy)
    assert len(sent[0]) == 4096


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order_of_arrival(order: tuple[int, ...]) -> None:
    """Envelopes wait until they exist; each comes twice, and all of them again at the end."""
    entropy = SeededEntropy(3)
    ana, bo = ends(entropy)
    waiting = list(order)
    while waiting:
        for which in waiting:
            to, of = (bo, ana) if which < 2 else (ana, bo)
            if which % 2 < len(of.sent):
                to.hear(of.sent[which % 2])
                to.hear(of.sent[which % 2])
                waiting.remove(which)
                break
        else:
            pytest.fail("nothing can be sent any more")
    for raw in ana.sent:
        bo.hear(raw)
    for raw in bo.sent:
        ana.hear(raw)
    assert_whole(ana, bo, entropy)


def test_the_second_flight_may_overtake_the_first() -> None:
    entropy = SeededEntropy(4)
    ana, bo = ends(entropy)
    bo.hear(ana.sent[0])
    ana.hear(bo.sent[1])
    ana.hear(bo.sent[1])
    assert len(ana.mutual.early) == 1
    assert ana.agreed is None
    ana.hear(bo.sent[0])
    assert ana.agreed is not None
    bo.hear(ana.sent[1])
    assert_whole(ana, bo, entropy)


def test_same_entropy_same_envelopes() -> None:
    runs = []
    for _ in range(2):
        ana, bo = ends(SeededEntropy(5))
        bo.hear(ana.sent[0])
        ana.hear(bo.sent[0])
        bo.hear(ana.sent[1])
        runs.append((ana.sent, bo.sent, ana.record, bo.record, bo.agreed))
    assert runs[0] == runs[1]


def test_tags_are_four_and_meet() -> None:
    ana, bo = ends(SeededEntropy(6))
    bo.hear(ana.sent[0])
    ana.hear(bo.sent[0])
    found = [[envelope.parse_untrusted(raw).tag for raw in end.sent] for end in (ana, bo)]
    assert mutual.tags(bo.mutual) == found[0]
    assert mutual.tags(ana.mutual) == found[1]
    assert len(set(found[0] + found[1])) == 4


def test_both_ends_know_the_link_by_the_same_secret() -> None:
    ana, bo = ends(SeededEntropy(7))
    other, _ = ends(SeededEntropy(8))
    assert mutual.link_secret(ana.mutual) == mutual.link_secret(bo.mutual)
    assert mutual.link_secret(ana.mutual) != mutual.link_secret(other.mutual)
    assert len(mutual.link_secret(ana.mutual)) == 32


def test_the_own_code_is_no_partner() -> None:
    entropy = SeededEntropy(9)
    code, half = shown(person("ana", entropy), entropy)
    with pytest.raises(InvalidInput):
        mutual.begin(code, half, code, entropy)


def test_another_device_of_the_own_account_is_no_contact() -> None:
    entropy = SeededEntropy(10)
    ana = person("ana", entropy)
    one, one_half = shown(ana, entropy)
    two, two_half = shown(ana, entropy)
    record, _ = mutual.begin(one, one_half, two, entropy)
    _, sent = mutual.begin(two, two_half, one, entropy)
    with pytest.raises(RemoteError, match="own-account"):
        mutual.receive_untrusted(record, envelope.parse_untrusted(sent[0]), entropy)
