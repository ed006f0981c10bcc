"""What a pairing takes: codes from a camera or a keyboard, and the other side's words."""

import json

from p2pnode.engine.entropy import OsEntropy
from p2pnode.engine.pairings import code_untrusted
from p2pnode.errors import PairingFailed
from p2pnode.protocol import envelope, identity
from p2pnode.protocol.pairing import agreement, code, confirm, machine, mutual
from p2pnode.protocol.wire import encode
from tests.entropy import SeededEntropy
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.moments import chosen, moments
from tests.fuzz.samples import ROOT, vectors
from tests.pairing_scenes import EXPIRES, Scene, person, shown


def _codes() -> Prepared:
    told = json.loads((ROOT / "tests/vectors/pairing.json").read_text())
    uris = [one["uri"] for one in told["codes"] + told["not_codes"]]

    def scan(raw: bytes) -> None:
        code.uri_untrusted(raw.decode(errors="replace"))

    return [uri.encode() for uri in uris], scan


def _pasted_codes() -> Prepared:
    samples, _ = _codes()
    return samples, lambda raw: code_untrusted(raw.decode(errors="replace"))


def _pairing() -> Prepared:
    """Messages of a pairing over a link, for either side, at any moment."""
    entropy = SeededEntropy(5)
    ana, bo = person("ana", entropy), person("bo", entropy)
    shown_code, bos_half = shown(bo, entropy)
    anas_half = agreement.new_half(ana, entropy)

    def both() -> tuple[machine.LinkPairing, machine.LinkPairing]:
        return (
            machine.LinkPairing.join(shown_code, anas_half, SeededEntropy(8)),
            machine.LinkPairing.show(shown_code, bos_half, SeededEntropy(9)),
        )

    def sent(effects: list[machine.Effect]) -> list[bytes]:
        return [one.raw for one in effects if isinstance(one, machine.SendPairing)]

    here, there = both()
    crossed = sent(here.start())
    for at in range(5):
        to, here, there = there, there, here
        crossed += sent(to.receive_untrusted(crossed[at]))
    kept = [one for side in (here, there) for one in side.answer(True)]
    agreed = [one.agreed for one in kept if isinstance(one, machine.Keep)]
    confirmations = [
        confirm.confirmation(one.confirm_key, one.alice, yours)
        for one in agreed
        for yours in (False, True)
    ]
    refusal = encode(machine.Refuse())

    def receive(raw: bytes) -> None:
        joiner, shower = both()
        joiner.start()
        moment, message = chosen(raw)
        side = shower if moment % 2 else joiner
        for before in crossed[1 - moment % 2 :: 2][: moment // 2 % 4]:
            side.receive_untrusted(before)
        if moment & 0x80 and side._phase is machine._Phase.COMPARING:
            side.answer(True)
        for _ in range(2):
            side.receive_untrusted(message)

    every = [*crossed, *confirmations, refusal]
    return moments(*[every] * 8) + [
        bytes((one,)) + raw for one in (0x86, 0x87) for raw in every
    ], receive


def _chosen_reveals() -> Prepared:
    """A joiner reveals whatever it likes, having committed itself to that; the KEM is real."""
    entropy = OsEntropy()
    scene = Scene.of(entropy)
    half = agreement.new_half(scene.ana, entropy)
    bos_half = agreement.new_half(scene.bo, entropy)
    shown_code = agreement.new_code(bos_half, entropy, expires=EXPIRES)
    nonce = bytes(machine.NONCE)
    ciphertext = entropy.encapsulate(entropy.kem_public(bos_half.kem_seed))[1]

    def reveal(raw: bytes) -> None:
        shower = machine.LinkPairing.show(shown_code, bos_half, entropy)
        shower.receive_untrusted(encode(machine.Commit(machine._committed(raw, nonce))))
        shower.receive_untrusted(encode(machine.Opened(raw, nonce, ciphertext)))

    return _reveals(half), reveal


def _reveals(half: agreement.Half) -> list[bytes]:
    """Return a reveal, and others whose keys cannot be used."""
    found, certificate = [half.reveal], half.reveal.index(b"\xc5")
    for start in range(certificate, len(half.reveal) - 32, 200):
        for fill in (b"\0", b"\xff"):
            found.append(half.reveal[:start] + fill * 32 + half.reveal[start + 32 :])
    return found


def _checked_reveals() -> Prepared:
    entropy = SeededEntropy(6)
    ana, bo = person("ana", entropy), person("bo", entropy)
    half = agreement.new_half(ana, entropy)
    theirs = agreement.new_half(bo, entropy)
    return _reveals(theirs) + vectors(
        "pairing", "link"
    ), lambda raw: agreement.check_reveal_untrusted(half, raw)


def _certificates() -> Prepared:
    certificate = person("ana", SeededEntropy(6)).device.certificate
    found = [certificate, *vectors("pairing", "not_certificates")]
    return found, identity.check_certificate_untrusted


def _confirmations() -> Prepared:
    key = bytes(range(32))
    found = [confirm.confirmation(key, True, yours) for yours in (False, True)]
    found += vectors("pairing", "derivations", "confirmations")
    return found, lambda raw: confirm.check_confirmation_untrusted(key, True, raw)


def _mutual_scans() -> Prepared:
    """Envelopes of a mutual scan: as they come, or sealed by the other side with any content."""
    entropy = SeededEntropy(11)
    ana, bo = person("ana", entropy), person("bo", entropy)
    anas_code, anas_half = shown(ana, entropy)
    bos_code, bos_half = shown(bo, entropy)
    anas, from_ana = mutual.begin(anas_code, anas_half, bos_code, entropy)
    bos, from_bo = mutual.begin(bos_code, bos_half, anas_code, entropy)
    half_way, second_of_ana, _ = mutual.receive_untrusted(
        anas, envelope.parse_untrusted(from_bo[0]), entropy
    )
    _, second_of_bo, _ = mutual.receive_untrusted(
        bos, envelope.parse_untrusted(from_ana[0]), entropy
    )
    flights = [*from_bo, *second_of_bo, *second_of_ana]
    contents = [
        mutual._open_untrusted(anas, flight, envelope.parse_untrusted(raw))
        for flight, raw in ((1, from_bo[0]), (2, second_of_bo[0]))
    ]

    def receive(raw: bytes) -> None:
        place, raw = chosen(raw)
        moment, state = place % 4, half_way if place & 4 else anas
        if moment == 0:
            mutual.receive_untrusted(state, envelope.parse_untrusted(raw), entropy)
            return
        sealer, inside = bos, raw[:30_000]
        if moment == 3:  # its code was made for this content
            bound = code.Code(code.commitment(inside), bos_code.secret, EXPIRES)
            state = mutual.Mutual(anas_code, anas_half, bound)
            sealer = mutual.Mutual(bound, bos_half, anas_code)
        sealed = mutual._envelope(sealer, 2 if moment == 2 else 1, inside, entropy)
        mutual.receive_untrusted(state, envelope.parse_untrusted(sealed), entropy)

    by_moment = (flights, contents, contents, [*contents, *_reveals(bos_half)])
    return moments(*by_moment, *by_moment), receive


TARGETS = [
    Target("pairing.code", _codes, most=2_000),
    Target("pairing.pasted", _pasted_codes, allowed=(PairingFailed,), most=2_000),
    Target("pairing.link", _pairing, allowed=(), most=20_000),
    Target("pairing.chosen", _chosen_reveals, allowed=(), most=3_000),
    Target("pairing.reveal", _checked_reveals, most=4_000),
    Target("pairing.certificate", _certificates, most=500),
    Target("pairing.confirm", _confirmations, most=20_000),
    Target("pairing.mutual", _mutual_scans),
]
