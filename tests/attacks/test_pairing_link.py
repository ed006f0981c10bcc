"""What someone in the middle, a photographer of the code, and a lying partner can do to a pairing.

The argument for 40 bits. Whoever stands between the two runs one pairing with each. On the shower's
side it must commit to its reveal and nonce before the shower's nonce is sent; on the joiner's side
it must show its reveal and nonce while the joiner's nonce is known only by a hash. So whichever of
the two runs ends last, its words are a hash of a value that was random to the attacker when its own
last choice was made: they equal the other run's words with probability 2**-40. What is sent after
the nonces (the KEM ciphertexts) is not hashed into the words, so nothing is left to search through
offline. A failed guess is seen by the persons and voids the code; a machine draws its nonce once,
so a broken link gives no second one.
"""

import msgspec
import pytest

from p2pnode.protocol import identity, primitives, wire
from p2pnode.protocol.limits import MAX_PAIRING
from p2pnode.protocol.pairing import agreement, machine
from p2pnode.protocol.pairing.agreement import Half, Reveal
from p2pnode.protocol.pairing.code import Code, commitment
from p2pnode.protocol.pairing.confirm import Confirm, confirmation
from p2pnode.protocol.pairing.machine import Confirmed, Failed, Keep, LinkPairing, SendPairing
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.pairing_scenes import Scene, Side, person, shown

# Points of small order on Curve25519, and encodings of them that are not reduced.
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def reason(effects: list[machine.Effect]) -> str:
    """The machine told the other side and gave up."""
    told, gave_up = effects
    assert told == SendPairing(wire.encode(machine.Refuse()))
    assert isinstance(gave_up, Failed)
    return gave_up.reason


def changed(half: Half, **fields: object) -> Half:
    reveal = wire.decode_untrusted(half.reveal, Reveal)
    return msgspec.structs.replace(
        half, reveal=wire.encode(msgspec.structs.replace(reveal, **fields))
    )


def heard(raw: bytes, shape: type[wire.Shape]) -> wire.Shape:
    return wire.decode_untrusted(raw, shape)


def with_low_order_device(entropy: SeededEntropy, low: bytes) -> bytes:
    """A certificate that is right in every way but for its X25519 key."""
    account = identity.new_account(entropy)
    sign = primitives.sign_public(entropy.take(32))
    digest = primitives.digest(b"p2pnode cert", b"\x01", account.public, sign, low)
    signature = primitives.sign(account.seed, digest)
    return wire.encode(identity.Certificate(1, account.public, sign, low, signature))


# In the middle ----------------------------------------------------------------------------------


def middle(seed: int) -> tuple[Side, Side, Side, Side]:
    """Ana was handed mallory's code instead of bo's; mallory joins bo's. All proofs are right."""
    entropy = SeededEntropy(seed)
    ana, bo, mallory = (person(name, entropy) for name in ("ana", "bo", "mallory"))
    bos_code, bos_half = shown(bo, entropy)
    false_code, false_half = shown(mallory, entropy)
    bos = Side(LinkPairing.show(bos_code, bos_half, entropy))
    to_bo = Side(LinkPairing.join(bos_code, agreement.new_half(mallory, entropy), entropy))
    anas = Side(LinkPairing.join(false_code, agreement.new_half(ana, entropy), entropy))
    to_ana = Side(LinkPairing.show(false_code, false_half, entropy))
    Scene(mallory, bo, bos_code, to_bo, bos).run()
    Scene(ana, mallory, false_code, anas, to_ana).run()
    return anas, to_ana, to_bo, bos


def test_swapped_keys_give_different_words() -> None:
    seen = set()
    for seed in range(50):
        anas, to_ana, to_bo, bos = middle(seed)
        assert anas.words == to_ana.words
        assert to_bo.words == bos.words
        assert anas.words != bos.words
        seen |= {tuple(anas.words), tuple(bos.words)}
    assert len(seen) == 100


def test_each_side_adds_randomness_after_the_others_keys_are_fixed() -> None:
    """The same attacker, the same keys, other honest nonces: the words are new each time."""
    entropy = SeededEntropy(1)
    bo, mallory = person("bo", entropy), person("mallory", entropy)
    code, half = shown(bo, entropy)
    evil = agreement.new_half(mallory, entropy)
    words = set()
    for _ in range(20):
        joiner = Side(LinkPairing.join(code, evil, SeededEntropy(2)))
        shower = Side(LinkPairing.show(code, half, entropy))
        Scene(mallory, bo, code, joiner, shower).run()
        words.add(tuple(shower.words))
    assert len(words) == 20


def test_ciphertexts_cannot_be_searched_for_words_that_fit() -> None:
    words, proofs = set(), set()
    for seed in range(20):
        entropy = SeededEntropy(3)
        scene = Scene.of(entropy)
        commit = scene.joiner.take(scene.joiner.machine.start())[0]
        show = scene.shower.hear(commit)[0]
        opened = heard(scene.joiner.hear(show)[0], machine.Opened)
        theirs = heard(heard(show, machine.Shown).reveal, Reveal)
        _, other = SeededEntropy(100 + seed).encapsulate(theirs.kem)
        sealed = scene.shower.hear(wire.encode(msgspec.structs.replace(opened, ciphertext=other)))
        proofs.add(heard(sealed[0], machine.Sealed).proof)
        # What the shower would show: its words are fixed by the nonces and reveals alone.
        words.add(scene.shower.machine._opening)
    assert len(words) == 1
    assert len(proofs) == 20


def test_a_changed_ciphertext_is_found_before_anyone_compares() -> None:
    scene = Scene.of(SeededEntropy(4))
    show = scene.shower.hear(scene.joiner.take(scene.joiner.machine.start())[0])[0]
    opened = heard(scene.joiner.hear(show)[0], machine.Opened)
    other = msgspec.structs.replace(opened, ciphertext=bytes(1088))
    sealed = scene.shower.hear(wire.encode(other))[0]
    assert reason(scene.joiner.machine.receive_untrusted(sealed)) == "wrong-proof"
    assert scene.shower.said == []


@pytest.mark.parametrize("field", ["onion", "expires", "secret"])
def test_a_code_that_was_altered_on_its_way_leads_nowhere(field: str) -> None:
    entropy = SeededEntropy(5)
    scene = Scene.of(entropy)
    values = {"onion": bytes(35), "expires": 7, "secret": bytes(16)}
    altered = msgspec.structs.replace(scene.code, **{field: values[field]})
    half = agreement.new_half(scene.ana, entropy)
    scene.joiner = Side(LinkPairing.join(altered, half, entropy))
    scene.run()
    assert scene.joiner.said == [Failed("wrong-proof")]
    assert scene.shower.said == [Failed("refused-by-peer")]


# With the code in hand ----------------------------------------------------------------------------


def test_knowing_the_code_is_not_being_its_shower() -> None:
    entropy = SeededEntropy(6)
    scene = Scene.of(entropy)
    commit = scene.joiner.take(scene.joiner.machine.start())[0]
    mallory = agreement.new_half(person("mallory", entropy), entropy)
    false = LinkPairing.show(scene.code, mallory, entropy)
    show = false.receive_untrusted(commit)[0]
    assert isinstance(show, SendPairing)
    assert reason(scene.joiner.machine.receive_untrusted(show.raw)) == "wrong-commitment"


@pytest.mark.parametrize("field", ["hint", "reset_dh", "reset_kem", "kem", "dh"])
def test_the_code_binds_every_key_and_the_name(field: str) -> None:
    entropy = SeededEntropy(7)
    scene = Scene.of(entropy)
    values = {"hint": "mallory", "reset_dh": b"\x09" + bytes(31), "dh": b"\x09" + bytes(31)}
    value = values.get(field, bytes(1184))
    show = heard(
        scene.shower.hear(scene.joiner.take(scene.joiner.machine.start())[0])[0], machine.Shown
    )
    reveal = msgspec.structs.replace(heard(show.reveal, Reveal), **{field: value})
    false = msgspec.structs.replace(show, reveal=wire.encode(reveal))
    effects = scene.joiner.machine.receive_untrusted(wire.encode(false))
    assert reason(effects) == "wrong-commitment"


def test_a_joiner_cannot_choose_its_keys_after_seeing_the_nonce() -> None:
    entropy = SeededEntropy(8)
    scene = Scene.of(entropy)
    show = scene.shower.hear(scene.joiner.take(scene.joiner.machine.start())[0])[0]
    opened = heard(scene.joiner.hear(show)[0], machine.Opened)
    late = msgspec.structs.replace(opened, nonce=bytes(32))
    assert reason(scene.shower.machine.receive_untrusted(wire.encode(late))) == "wrong-commitment"


def test_a_code_is_for_one_guess() -> None:
    entropy = SeededEntropy(9)
    scene = Scene.of(entropy)
    scene.shower.hear(scene.joiner.take(scene.joiner.machine.start())[0])
    second = LinkPairing.join(scene.code, agreement.new_half(scene.ana, entropy), entropy)
    commit = second.start()[0]
    assert isinstance(commit, SendPairing)
    effects = scene.shower.machine.receive_untrusted(commit.raw)
    assert reason(effects) == "unexpected-message"
    assert scene.shower.machine.receive_untrusted(commit.raw) == []
    assert scene.shower.machine.resume() == []


def test_wrong_words_void_the_code() -> None:
    anas, _, _, bos = middle(1)
    assert reason(bos.machine.answer(yes=False)) == "refused"
    assert reason(anas.machine.answer(yes=False)) == "refused"
    for side in (anas, bos):
        assert side.machine.start() == []
        assert side.machine.receive_untrusted(b"\x92\x01\xc4\x20" + bytes(32)) == []


# Bad keys -----------------------------------------------------------------------------------------


def play(entropy: SeededEntropy, code: Code, joins: Half, shows: Half) -> tuple[Side, Side]:
    joiner = Side(LinkPairing.join(code, joins, entropy))
    shower = Side(LinkPairing.show(code, shows, entropy))
    nobody = person("nobody", entropy)
    Scene(nobody, nobody, code, joiner, shower).run()
    return joiner, shower


@pytest.mark.parametrize("low", LOW_ORDER)
@pytest.mark.parametrize("which", ["dh", "reset_dh", "certificate"])
@pytest.mark.parametrize("liar", ["joiner", "shower"])
def test_keys_of_low_order(low: bytes, which: str, liar: str) -> None:
    entropy = SeededEntropy(10)
    honest = agreement.new_half(person("ana", entropy), entropy)
    value = with_low_order_device(entropy, low) if which == "certificate" else low
    evil = changed(agreement.new_half(person("mallory", entropy), entropy), **{which: value})
    joins, shows = (evil, honest) if liar == "joiner" else (honest, evil)
    code = Code(commitment(shows.reveal), entropy.take(16), 0)
    joiner, shower = play(entropy, code, joins, shows)
    victim = shower if liar == "joiner" else joiner
    assert victim.said == [Failed("bad-dh-key")]


@pytest.mark.parametrize("which", ["kem", "reset_kem"])
@pytest.mark.parametrize("liar", ["joiner", "shower"])
def test_a_kem_key_out_of_range(which: str, liar: str) -> None:
    entropy = RealKemEntropy(11)
    honest = agreement.new_half(person("ana", entropy), entropy)
    half = agreement.new_half(person("mallory", entropy), entropy)
    evil = changed(half, **{which: b"\xff" * 1184})
    joins, shows = (evil, honest) if liar == "joiner" else (honest, evil)
    code = Code(commitment(shows.reveal), entropy.take(16), 0)
    joiner, shower = play(entropy, code, joins, shows)
    victim = shower if liar == "joiner" else joiner
    assert victim.said == [Failed("bad-kem-key")]


def test_a_certificate_of_somebody_else_does_not_prove_its_keys() -> None:
    """Mallory shows bo's certificate: without bo's device key the proof cannot be made."""
    entropy = SeededEntropy(12)
    ana, bo = person("ana", entropy), person("bo", entropy)
    stolen = changed(
        agreement.new_half(person("mallory", entropy), entropy), certificate=bo.device.certificate
    )
    code = Code(commitment(stolen.reveal), entropy.take(16), 0)
    joiner, shower = play(entropy, code, agreement.new_half(ana, entropy), stolen)
    assert joiner.said == [Failed("wrong-proof")]
    assert shower.said == [Failed("refused-by-peer")]


def test_a_forged_certificate() -> None:
    entropy = SeededEntropy(13)
    bo = person("bo", entropy)
    forged = bytearray(bo.device.certificate)
    forged[-1] ^= 1
    evil = changed(agreement.new_half(bo, entropy), certificate=bytes(forged))
    code = Code(commitment(evil.reveal), entropy.take(16), 0)
    joiner, _ = play(entropy, code, agreement.new_half(person("ana", entropy), entropy), evil)
    assert joiner.said == [Failed("bad-signature")]


# Bad messages -------------------------------------------------------------------------------------


def test_reflected_messages_meet_nobody() -> None:
    scene = Scene.of(SeededEntropy(14))
    commit = scene.joiner.take(scene.joiner.machine.start())[0]
    assert reason(scene.joiner.machine.receive_untrusted(commit)) == "unexpected-message"


def test_one_does_not_pair_with_oneself() -> None:
    entropy = SeededEntropy(15)
    bo = person("bo", entropy)
    code, half = shown(bo, entropy)
    joiner, _ = play(entropy, code, agreement.new_half(bo, entropy), half)
    assert joiner.said == [Failed("own-account")]


GARBAGE = [
    b"",
    b"\x00",
    b"\x90",
    b"\x91\x63",
    b"\xc1",
    b"\x92\x01\xc4\x1f" + bytes(31),
    b"\x92\x01\xc4\x20" + bytes(32) + b"\x00",
    b"\x92\x01\xd9\x20" + b"a" * 32,
    b"\x92\x07\x01",
    b"\x93\x07\x02\xc4\x20" + bytes(32),
    b"\x81\x01\x01",
    b"\x91" * 1024,
    bytes(MAX_PAIRING + 1),
]


@pytest.mark.parametrize("raw", GARBAGE)
@pytest.mark.parametrize("after", range(5))
def test_garbage_voids_it_at_every_stage(raw: bytes, after: int) -> None:
    scene = Scene.of(SeededEntropy(16))
    crossed = scene.joiner.take(scene.joiner.machine.start())
    for step in range(after):
        crossed += (scene.joiner if step % 2 else scene.shower).hear(crossed[step])
    for side in (scene.joiner, scene.shower):
        assert reason(side.machine.receive_untrusted(raw)) in {
            "bad-record",
            "record-too-long",
            "unexpected-message",
        }
        assert side.machine.receive_untrusted(crossed[-1]) == []


def test_messages_out_of_order_void_it() -> None:
    straight = Scene.of(SeededEntropy(17)).run()
    for step, raw in enumerate(straight):
        for early in range(5):
            scene = Scene.of(SeededEntropy(17))
            crossed = scene.joiner.take(scene.joiner.machine.start())
            for done in range(early):
                crossed += (scene.joiner if done % 2 else scene.shower).hear(crossed[done])
            to = scene.joiner if step % 2 else scene.shower
            effects = to.machine.receive_untrusted(raw)
            if step in (early, early + 1):
                # The next message for this side, whether or not it was sent to it.
                assert not any(isinstance(effect, Failed) for effect in effects)
            elif step > early + 1:
                assert reason(effects) == "unexpected-message"
            else:
                assert effects == [SendPairing(crossed[step + 1])]


def test_a_false_confirmation_before_the_answer_voids_it() -> None:
    scene = Scene.of(SeededEntropy(18))
    scene.run()
    false = Confirm(1, bytes(32))
    effects = scene.shower.machine.receive_untrusted(wire.encode(false))
    assert reason(effects) == "not-authentic"


def test_the_own_confirmation_reflected_is_not_the_others() -> None:
    scene = Scene.of(SeededEntropy(19))
    scene.run()
    shower = scene.shower.machine
    keep = shower.answer(yes=True)[0]
    assert isinstance(keep, Keep)
    keys = keep.agreed
    assert shower.receive_untrusted(confirmation(keys.confirm_key, keys.alice, True)) == []
    theirs = confirmation(keys.confirm_key, not keys.alice, True)
    assert shower.receive_untrusted(theirs) == [Confirmed(has_yours=True)]
