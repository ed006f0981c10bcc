"""Pairing over a link, when things go as they should, and when links do not."""

import pytest

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol.limits import MAX_PAIRING
from p2pnode.protocol.pairing import agreement
from p2pnode.protocol.pairing.confirm import check_confirmation_untrusted, confirmation
from p2pnode.protocol.pairing.machine import (
    Compare,
    Confirmed,
    Effect,
    Failed,
    Keep,
    LinkPairing,
    SendPairing,
)
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.pairing_scenes import (
    Scene,
    Side,
    assert_complementary,
    assert_kem_complementary,
    person,
    shown,
)


def kept(effects: list[Effect]) -> agreement.Agreed:
    assert len(effects) == 1
    assert isinstance(effects[0], Keep)
    return effects[0].agreed


def failed(effects: list[Effect]) -> str:
    assert len(effects) == 1
    assert isinstance(effects[0], Failed)
    return effects[0].reason


@pytest.mark.parametrize("kind", [SeededEntropy, RealKemEntropy])
def test_two_people_pair(kind: type[SeededEntropy]) -> None:
    entropy = kind(1)
    scene = Scene.of(entropy)
    crossed = scene.run()
    assert len(crossed) == 5
    assert max(map(len, crossed)) <= MAX_PAIRING
    assert scene.joiner.words == scene.shower.words
    anas = kept(scene.joiner.machine.answer(yes=True))
    bos = kept(scene.shower.machine.answer(yes=True))
    assert anas.alice
    assert_complementary(anas, bos)
    assert_kem_complementary(anas, bos, entropy)
    assert (anas.account, anas.device, anas.hint) == (
        scene.bo.account.public,
        scene.bo.device.id,
        "bo",
    )
    assert anas.certificate == scene.bo.device.certificate
    assert (bos.account, bos.device, bos.hint) == (
        scene.ana.account.public,
        scene.ana.device.id,
        "ana",
    )


def test_words_come_with_their_emoji_and_only_after_both_proved_their_keys() -> None:
    scene = Scene.of(SeededEntropy(2))
    scene.run()
    compare = scene.joiner.said[0]
    assert isinstance(compare, Compare)
    assert len(compare.words) == len(compare.emoji) == 5


def test_same_entropy_same_bytes_same_words() -> None:
    first, second = Scene.of(SeededEntropy(3)), Scene.of(SeededEntropy(3))
    assert first.run() == second.run()
    assert first.joiner.said == second.joiner.said
    assert first.shower.said == second.shower.said
    assert first.joiner.machine.answer(yes=True) == second.joiner.machine.answer(yes=True)


def test_two_pairings_of_the_same_people_share_no_secret() -> None:
    entropy = SeededEntropy(4)
    ana, bo = person("ana", entropy), person("bo", entropy)
    outcomes = []
    for _ in range(2):
        code, half = shown(bo, entropy)
        shower = Side(LinkPairing.show(code, half, entropy))
        joiner = Side(LinkPairing.join(code, agreement.new_half(ana, entropy), entropy))
        scene = Scene(ana, bo, code, joiner, shower)
        scene.run()
        outcomes.append(kept(joiner.machine.answer(yes=True)))
    one, two = outcomes
    assert one.account == two.account
    for name in ("session_secret", "link_secret", "reset_secret", "confirm_key"):
        assert getattr(one, name) != getattr(two, name)


def test_a_no_voids_it_on_both_sides() -> None:
    for no in ("joiner", "shower"):
        scene = Scene.of(SeededEntropy(5))
        scene.run()
        sayer, hearer = scene.joiner, scene.shower
        if no == "shower":
            sayer, hearer = hearer, sayer
        effects = sayer.machine.answer(yes=False)
        assert isinstance(effects[0], SendPairing)
        assert failed(effects[1:]) == "refused"
        assert failed(hearer.machine.receive_untrusted(effects[0].raw)) == "refused-by-peer"
        for side in (sayer, hearer):
            with pytest.raises(InvalidInput):
                side.machine.answer(yes=True)
            assert side.machine.resume() == []
            assert side.machine.cancel() == []


def test_a_no_after_the_others_yes_undoes_the_pending_contact() -> None:
    scene = Scene.of(SeededEntropy(6))
    scene.run()
    kept(scene.joiner.machine.answer(yes=True))
    refusal = scene.shower.machine.answer(yes=False)[0]
    assert isinstance(refusal, SendPairing)
    assert failed(scene.joiner.machine.receive_untrusted(refusal.raw)) == "refused-by-peer"


def test_a_refusal_after_both_said_yes_undoes_nothing() -> None:
    scene = Scene.of(SeededEntropy(6))
    scene.run()
    bos = kept(scene.shower.machine.answer(yes=True))
    kept(scene.joiner.machine.answer(yes=True))
    joiner = scene.joiner.machine
    yes = confirmation(bos.confirm_key, bos.alice, has_yours=False)
    assert joiner.receive_untrusted(yes) == [Confirmed(has_yours=False)]
    assert joiner.receive_untrusted(b"\x91\x06") == []
    assert joiner.receive_untrusted(b"garbage") == []
    assert joiner.cancel() == []


def test_cancelling_tells_the_other_side() -> None:
    scene = Scene.of(SeededEntropy(7))
    raw = scene.joiner.take(scene.joiner.machine.start())[0]
    scene.shower.hear(raw)
    effects = scene.shower.machine.cancel("expired")
    assert isinstance(effects[0], SendPairing)
    assert failed(effects[1:]) == "expired"
    assert failed(scene.joiner.machine.receive_untrusted(effects[0].raw)) == "refused-by-peer"


def test_an_answer_needs_words_to_compare() -> None:
    scene = Scene.of(SeededEntropy(8))
    with pytest.raises(InvalidInput):
        scene.joiner.machine.answer(yes=True)


def test_a_yes_that_comes_early_is_remembered() -> None:
    scene = Scene.of(SeededEntropy(9))
    scene.run()
    anas = kept(scene.joiner.machine.answer(yes=True))
    early = confirmation(anas.confirm_key, anas.alice, has_yours=False)
    assert scene.shower.machine.receive_untrusted(early) == []
    assert scene.shower.machine.receive_untrusted(early) == []
    keep = scene.shower.machine.answer(yes=True)[0]
    assert isinstance(keep, Keep)
    assert keep.theirs_confirmed


def test_a_yes_that_overtakes_the_proof_proves_as_much() -> None:
    scene = Scene.of(SeededEntropy(10))
    joiner, shower = scene.joiner, scene.shower
    opened = joiner.hear(shower.hear(joiner.take(joiner.machine.start())[0])[0])[0]
    proof = joiner.hear(shower.hear(opened)[0])[0]
    anas = kept(joiner.machine.answer(yes=True))
    shower.hear(confirmation(anas.confirm_key, anas.alice, has_yours=False))
    assert shower.words == joiner.words
    assert shower.hear(proof) == []
    assert kept(shower.machine.answer(yes=True)).confirm_key == anas.confirm_key


def test_a_lost_link_is_no_new_guess_and_no_lost_pairing() -> None:
    """Each of the five messages is lost once; both sides resume on a new link."""
    calm = Scene.of(SeededEntropy(11))
    expected = calm.run()
    for lost in range(5):
        scene = Scene.of(SeededEntropy(11))
        wires = [(scene.shower, raw) for raw in scene.joiner.take(scene.joiner.machine.start())]
        seen = 0
        while wires:
            to, raw = wires.pop(0)
            seen += 1
            if seen - 1 == lost:
                wires = [
                    (scene.shower, r) for r in scene.joiner.take(scene.joiner.machine.resume())
                ]
                wires += [
                    (scene.joiner, r) for r in scene.shower.take(scene.shower.machine.resume())
                ]
                continue
            assert raw in expected
            back = scene.joiner if to is scene.shower else scene.shower
            wires += [(back, answer) for answer in to.hear(raw)]
        assert scene.joiner.words == scene.shower.words == calm.joiner.words
        one = kept(scene.joiner.machine.answer(yes=True))
        assert_complementary(one, kept(scene.shower.machine.answer(yes=True)))


def test_a_lost_proof_is_repaired_after_the_joiners_yes() -> None:
    scene = Scene.of(SeededEntropy(12))
    joiner, shower = scene.joiner, scene.shower
    opened = joiner.hear(shower.hear(joiner.take(joiner.machine.start())[0])[0])[0]
    joiner.hear(shower.hear(opened)[0])
    kept(joiner.machine.answer(yes=True))
    again = shower.take(shower.machine.resume())[0]
    shower.hear(joiner.hear(again)[0])
    assert shower.words == joiner.words


def test_every_message_twice_and_old_ones_again() -> None:
    scene = Scene.of(SeededEntropy(13))
    log = scene.joiner.take(scene.joiner.machine.start())
    for step in range(5):
        to = scene.joiner if step % 2 else scene.shower
        answers = to.hear(log[step])
        assert to.hear(log[step]) == answers
        log += answers
    assert scene.joiner.words == scene.shower.words
    for step, raw in enumerate(log):
        # Whatever is heard again is answered with what comes next, never with anything new.
        to = scene.joiner if step % 2 else scene.shower
        assert to.hear(raw) == log[step + 1 : step + 2]
    kept(scene.joiner.machine.answer(yes=True))
    kept(scene.shower.machine.answer(yes=True))


def test_confirmations_say_whose_and_whether_heard() -> None:
    key = bytes(range(32))
    for alice in (True, False):
        for has_yours in (True, False):
            raw = confirmation(key, alice, has_yours)
            assert check_confirmation_untrusted(key, alice, raw) is has_yours
            with pytest.raises(RemoteError, match="not-authentic"):
                check_confirmation_untrusted(key, not alice, raw)
            with pytest.raises(RemoteError, match="not-authentic"):
                check_confirmation_untrusted(bytes(32), alice, raw)
            flipped = raw[:2] + bytes([raw[2] ^ 1]) + raw[3:]
            with pytest.raises(RemoteError, match="not-authentic"):
                check_confirmation_untrusted(key, alice, flipped)


def test_a_lost_last_confirmation_is_repaired_by_repeats() -> None:
    """Both repeat until they have heard the other's yes; whatever is lost, both end whole."""
    entropy = SeededEntropy(14)
    for pattern in range(64):
        scene = Scene.of(entropy)
        scene.run()
        keys = [
            kept(scene.joiner.machine.answer(yes=True)),
            kept(scene.shower.machine.answer(yes=True)),
        ]
        heard = [False, False]

        def send(sender: int, lost: bool, keys=keys, heard=heard) -> None:  # type: ignore[no-untyped-def]
            me, them = keys[sender], keys[1 - sender]
            if lost:
                return
            raw = confirmation(me.confirm_key, me.alice, heard[sender])
            has_yours = check_confirmation_untrusted(them.confirm_key, me.alice, raw)
            heard[1 - sender] = True
            if not has_yours:
                send(1 - sender, lost=False)

        for step in range(6):
            for sender in (0, 1):
                if not heard[sender]:
                    send(sender, lost=bool(pattern >> step & 1))
        send(0, lost=False) if not all(heard) else None
        assert all(heard)
