"""What carriers, photographers of one or both codes, and liars can do to a mutual scan."""

import msgspec
import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope, wire
from p2pnode.protocol.pairing import agreement, mutual
from p2pnode.protocol.pairing.agreement import Agreed, Half, Reveal
from p2pnode.protocol.pairing.code import Code, commitment
from p2pnode.protocol.pairing.mutual import Mutual
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.pairing_scenes import assert_complementary, person, shown


class Stage:
    """Ana and bo have scanned each other's codes."""

    def __init__(self, seed: int, **bo_lies: object) -> None:
        self.entropy = SeededEntropy(seed)
        self.ana_code, self.ana_half = shown(person("ana", self.entropy), self.entropy)
        self.bo_half = agreement.new_half(person("bo", self.entropy), self.entropy)
        if bo_lies:
            self.bo_half = lying(self.bo_half, **bo_lies)
        self.bo_code = Code(commitment(self.bo_half.reveal), self.entropy.take(16), 0)
        self.ana, anas = mutual.begin(self.ana_code, self.ana_half, self.bo_code, self.entropy)
        self.bo, bos = mutual.begin(self.bo_code, self.bo_half, self.ana_code, self.entropy)
        self.from_ana, self.from_bo = anas, bos

    def ana_hears(self, raw: bytes) -> Agreed | None:
        outer = envelope.parse_untrusted(raw)
        self.ana, sent, agreed = mutual.receive_untrusted(self.ana, outer, self.entropy)
        self.from_ana += sent
        return agreed

    def bo_hears(self, raw: bytes) -> Agreed | None:
        outer = envelope.parse_untrusted(raw)
        self.bo, sent, agreed = mutual.receive_untrusted(self.bo, outer, self.entropy)
        self.from_bo += sent
        return agreed

    def ana_refuses(self, raw: bytes) -> str:
        before = self.ana
        with pytest.raises(RemoteError) as caught:
            self.ana_hears(raw)
        assert self.ana == before
        return caught.value.reason

    def forged(self, flight: int, content: bytes) -> bytes:
        """An envelope of bo's, by someone who has photographed both codes."""
        return mutual._envelope(self.bo, flight, content, self.entropy)

    def finish(self) -> None:
        """After whatever happened the true envelopes still do their work."""
        self.bo_hears(self.from_ana[0])
        first = self.ana_hears(self.from_bo[0])
        second = self.ana_hears(self.from_bo[1])
        anas, bos = first or second, self.bo_hears(self.from_ana[1])
        assert anas is not None
        assert bos is not None
        assert_complementary(anas, bos)


def lying(half: Half, **fields: object) -> Half:
    reveal = wire.decode_untrusted(half.reveal, Reveal)
    return msgspec.structs.replace(
        half, reveal=wire.encode(msgspec.structs.replace(reveal, **fields))
    )


def test_every_flipped_byte_is_refused_and_the_true_envelope_still_counts() -> None:
    stage = Stage(1)
    raw, reasons = stage.from_bo[0], set()
    for at in [*range(60), 2000, 2405, 2406, 2407, 3000, 4095]:
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        reasons.add(stage.ana_refuses(flipped))
    assert reasons == {"not-authentic", "unknown-tag", "unknown-version", "bad-lifetime"}
    stage.finish()


def test_junk_under_the_right_tag_does_not_kill_it() -> None:
    stage = Stage(2)
    for raw in stage.from_bo:
        tag = envelope.parse_untrusted(raw).tag
        for size in (4096, 16384, 65536):
            junk = b"\x01" + tag + b"\x04" + stage.entropy.take(size - 18)
            assert stage.ana_refuses(junk) == "not-authentic"
    stage.finish()


def test_one_code_alone_neither_finds_nor_opens_the_envelopes() -> None:
    stage = Stage(3)
    guess = msgspec.structs.replace(stage.bo_code, secret=bytes(16))
    spy = Mutual(stage.ana_code, stage.ana_half, guess)
    tags = {envelope.parse_untrusted(raw).tag for raw in stage.from_bo}
    assert tags.isdisjoint(mutual.tags(spy))


def test_both_codes_do_not_make_another_partner() -> None:
    """The photographer sends its own keys in time: they do not fit, and bo's still do."""
    stage = Stage(4)
    mallory = agreement.new_half(person("mallory", stage.entropy), stage.entropy)
    assert stage.ana_refuses(stage.forged(1, mallory.reveal)) == "wrong-commitment"
    for field, value in (("hint", "mallory"), ("reset_dh", b"\x09" + bytes(31))):
        near = lying(stage.bo_half, **{field: value})
        assert stage.ana_refuses(stage.forged(1, near.reveal)) == "wrong-commitment"
    stage.finish()


def test_a_forged_second_flight_before_the_first_is_forgotten() -> None:
    stage = Stage(5)
    stage.bo_hears(stage.from_ana[0])
    true = stage.from_bo[1]
    for _ in range(2 * mutual.MAX_EARLY):
        false = wire.encode(mutual.Second(stage.entropy.take(1088), stage.entropy.take(32)))
        assert stage.ana_hears(stage.forged(2, false)) is None
        assert len(stage.ana.early) <= mutual.MAX_EARLY
    assert stage.ana_hears(true) is None
    anas = stage.ana_hears(stage.from_bo[0])
    assert anas is not None
    assert stage.ana.early == ()
    bos = stage.bo_hears(stage.from_ana[1])
    assert bos is not None
    assert_complementary(anas, bos)


def test_a_true_second_flight_crowded_out_counts_when_it_comes_again() -> None:
    stage = Stage(6)
    stage.bo_hears(stage.from_ana[0])
    stage.ana_hears(stage.from_bo[1])
    for _ in range(mutual.MAX_EARLY):
        false = wire.encode(mutual.Second(stage.entropy.take(1088), stage.entropy.take(32)))
        stage.ana_hears(stage.forged(2, false))
    assert stage.ana_hears(stage.from_bo[0]) is None
    assert stage.ana_hears(stage.from_bo[1]) is not None


def test_a_forged_second_flight_after_the_first_is_refused() -> None:
    stage = Stage(7)
    stage.ana_hears(stage.from_bo[0])
    false = wire.encode(mutual.Second(bytes(1088), bytes(32)))
    assert stage.ana_refuses(stage.forged(2, false)) == "wrong-proof"
    stage.finish()


def test_the_own_envelopes_reflected_are_unknown() -> None:
    stage = Stage(8)
    stage.ana_hears(stage.from_bo[0])
    assert {stage.ana_refuses(raw) for raw in stage.from_ana} == {"unknown-tag"}
    # Nor does one's own flight pass for the other's when its secrets are known.
    second = wire.encode(mutual.Second(stage.ana.ciphertext, bytes(32)))
    assert stage.ana_refuses(stage.forged(2, second)) == "wrong-proof"
    stage.finish()


@pytest.mark.parametrize(
    "content", [b"", b"\x90", bytes(2), b"\x92\xc4\x01a\xc4\x01b", bytes(3000), b"\x92" * 2000]
)
def test_garbage_under_the_right_keys(content: bytes) -> None:
    stage = Stage(9)
    assert stage.ana_refuses(stage.forged(1, content)) == "wrong-commitment"
    stage.ana_hears(stage.from_bo[0])
    assert stage.ana_refuses(stage.forged(2, content)) == "bad-record"
    stage.finish()


@pytest.mark.parametrize("length", [0, 1, 100, 2330, 2331, 4000, 65535])
def test_a_length_that_does_not_fit(length: int) -> None:
    stage = Stage(10)
    content = stage.bo_half.reveal
    whole = len(content).to_bytes(2, "big") + content
    false = length.to_bytes(2, "big") + whole[2:]
    raw = envelope.assemble(
        tag=mutual._tag(stage.bo, stage.bo.alice, 1),
        lifetime=4,
        token=bytes(16),
        nonce=bytes(24),
        header_key=mutual._key(stage.bo, b"p2pnode mut head", stage.bo.alice, 1),
        header=false[: envelope.HEADER],
        body_key=mutual._key(stage.bo, b"p2pnode mut body", stage.bo.alice, 1),
        content=false[envelope.HEADER :],
    )
    assert stage.ana_refuses(raw) == "bad-padding"
    stage.finish()


@pytest.mark.parametrize("field", ["dh", "reset_dh"])
def test_keys_of_low_order(field: str) -> None:
    stage = Stage(11, **{field: bytes(32)})
    assert stage.ana_refuses(stage.from_bo[0]) == "bad-dh-key"


@pytest.mark.parametrize("which", ["kem", "reset_kem"])
def test_a_kem_key_out_of_range(which: str) -> None:
    stage = Stage(12, **{which: b"\xff" * 1184})
    stage.entropy = RealKemEntropy(12)
    assert stage.ana_refuses(stage.from_bo[0]) == "bad-kem-key"


def test_after_the_end_nothing_counts() -> None:
    stage = Stage(13)
    stage.finish()
    done = stage.ana
    for raw in stage.from_bo:
        assert stage.ana_hears(raw) is None
    assert stage.ana == done
    assert mutual.tags(stage.ana) == []


def test_someone_who_only_saw_the_codes_cannot_finish() -> None:
    """Both codes and all four envelopes are not enough: the private keys are missing."""
    stage = Stage(14)
    stage.bo_hears(stage.from_ana[0])
    stage.ana_hears(stage.from_bo[0])
    spy_half = agreement.new_half(person("mallory", stage.entropy), stage.entropy)
    spy = msgspec.structs.replace(stage.bo, half=spy_half, reveal=b"", ciphertext=b"")
    outer = envelope.parse_untrusted(stage.from_ana[0])
    _, sent, _ = mutual.receive_untrusted(spy, outer, stage.entropy)
    assert stage.ana_refuses(sent[0]) == "wrong-proof"
    stage.finish()
