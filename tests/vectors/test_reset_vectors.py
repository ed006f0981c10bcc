"""Frozen bytes of resets, refusals included.

`reset.json` is the test: `python -m tests.vectors.test_reset_vectors` writes a new one, which is
only right when the protocol's version changes with it. Draws are listed in the order
docs/protocol/reset.md gives; a KEM draw is secret ‖ ciphertext, recorded, since ML-KEM draws by
itself; public keys and decapsulations are the real ML-KEM-768.
"""

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from p2pnode.errors import RemoteError
from p2pnode.ids import AccountId
from p2pnode.protocol import envelope, identity, primitives, wire
from p2pnode.protocol.content import Replaced, encode_content
from p2pnode.protocol.session import ratchet, reset
from p2pnode.protocol.session.reset import Begun, Flight, Fresh, ResetKeys
from tests.vectors.test_session_vectors import Recorded

PATH = Path(__file__).with_name("reset.json")
VECTORS: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
RESTORE = bytes(range(16))
NS = [0, 15, 16]


def generation(setup: dict[str, Any], name: str, entropy: Recorded) -> ResetKeys:
    own, their = setup[name], setup["taker" if name == "beginner" else "beginner"]
    return ResetKeys(
        secret=bytes.fromhex(setup["secret"]),
        own_dh_private=bytes.fromhex(own["dh_private"]),
        own_kem_seed=bytes.fromhex(own["kem_seed"]),
        their_dh_public=primitives.x25519_public(bytes.fromhex(their["dh_private"])),
        their_kem_public=entropy.kem_public(bytes.fromhex(their["kem_seed"])),
    )


def outcome(fresh: Fresh) -> dict[str, Any]:
    return {
        "transcript": fresh.transcript.hex(),
        "reset_secret": fresh.keys.secret.hex(),
        "own_dh_private": fresh.keys.own_dh_private.hex(),
        "own_kem_seed": fresh.keys.own_kem_seed.hex(),
        "their_dh_public": fresh.keys.their_dh_public.hex(),
        "link": [fresh.link.index, fresh.link.current.hex(), fresh.link.alice],
        "handle": fresh.session.handle.hex(),
        "first_tag": fresh.tags[0].tag.hex(),
        "tags": len(fresh.tags),
    }


def derive(setup: dict[str, Any]) -> dict[str, Any]:
    """Return what follows from a generation alone."""
    keys = generation(setup, "beginner", Recorded())
    return {
        "tags_of_beginner": [tag.hex() for tag in reset.tags(keys, alice=setup["alice"])],
        "tags_of_taker": [tag.hex() for tag in reset.tags(keys, alice=not setup["alice"])],
        "mark_key": reset.link_key(keys, alice=setup["alice"]).current.hex(),
        "handle": reset.handle(keys).hex(),
    }


def run(setup: dict[str, Any], entropy: Recorded) -> dict[str, Any]:
    """Begin, seal under three tags, take the first, answer; return all that came of it."""
    alice = setup["alice"]
    beginner = generation(setup, "beginner", entropy)
    taker = generation(setup, "taker", entropy)
    account = AccountId(bytes.fromhex(setup["account"]))
    begun, ours = reset.begin(
        beginner,
        alice=alice,
        restore=RESTORE,
        certificate=bytes.fromhex(setup["certificate"]),
        entropy=entropy,
    )
    raws = [reset.seal(begun, beginner, alice=alice, n=n, entropy=entropy) for n in NS]
    outer = envelope.parse_untrusted(raws[0])
    theirs = reset.take_untrusted(taker, outer, alice=not alice, account=account, entropy=entropy)
    said = reset.answer(theirs.keys, RESTORE, clock=7, crossing=b"", entropy=entropy)
    sealed = ratchet.seal(theirs.session, encode_content(said), lifetime=4, entropy=entropy)
    row = next(row for row in ours.tags if row.tag == sealed.raw[1:17])
    opened = ratchet.open_untrusted(
        ours.session, row, envelope.parse_untrusted(sealed.raw), entropy=entropy
    )
    assert opened.content == encode_content(said)
    whole = reset.answered_untrusted(ours.keys, said, entropy)
    assert whole.secret == theirs.keys.secret
    assert whole.their_kem_public == entropy.kem_public(theirs.keys.own_kem_seed)
    assert theirs.restore == RESTORE
    return {
        "begun": {
            "header": begun.header.hex(),
            "content": begun.content.hex(),
            "seed": begun.seed.hex(),
        },
        "envelopes": [b64encode(raw).decode() for raw in raws],
        "beginner": outcome(ours),
        "taker": outcome(theirs),
        "answer": encode_content(said).hex(),
        "answer_envelope": b64encode(sealed.raw).decode(),
        "replaced": encode_content(Replaced(RESTORE)).hex(),
    }


def test_derivations() -> None:
    assert derive(VECTORS["setup"]) == VECTORS["derivations"]


def test_a_reset_byte_for_byte() -> None:
    entropy = Recorded()
    entropy.draws = list(VECTORS["draws"])
    assert run(VECTORS["setup"], entropy) == VECTORS["run"]
    assert entropy.draws == []


def test_envelopes_of_one_reset_share_nothing_a_carrier_sees() -> None:
    raws = [b64decode(raw) for raw in VECTORS["run"]["envelopes"]]
    outer = [envelope.parse_untrusted(raw) for raw in raws]
    assert len({one.nonce for one in outer}) == len({one.token_hash for one in outer}) == 3
    # The third tag is the first again (16 of them): its keys still differ, by the nonce.
    assert outer[0].tag == outer[2].tag != outer[1].tag
    for at in range(58, 4_096 - 16, 16):
        assert len({raw[at : at + 16] for raw in raws}) == 3


@pytest.mark.parametrize("case", VECTORS.get("refused", []), ids=lambda case: case["name"])
def test_what_is_refused(case: dict[str, Any]) -> None:
    setup = VECTORS["setup"]
    keys = generation(setup, "taker", Recorded())
    outer = envelope.parse_untrusted(b64decode(case["raw"]))
    entropy = Recorded(recording=True)
    account = AccountId(bytes.fromhex(setup["account"]))
    with pytest.raises(RemoteError) as caught:
        reset.take_untrusted(
            keys, outer, alice=not setup["alice"], account=account, entropy=entropy
        )
    assert caught.value.reason == case["reason"]


# Writing ----------------------------------------------------------------------------------------


def flawed(setup: dict[str, Any]) -> list[dict[str, str]]:
    """Return resets that are wrong in one thing each, most of them sealed as a true one is."""
    entropy = Recorded(recording=True)
    keys = generation(setup, "beginner", entropy)
    alice = setup["alice"]
    certificate = bytes.fromhex(setup["certificate"])
    found: list[dict[str, str]] = []

    def add(name: str, reason: str, raw: bytes) -> None:
        found.append({"name": name, "reason": reason, "raw": b64encode(raw).decode()})

    def begun(by: ResetKeys = keys, named: bytes = certificate) -> Begun:
        return reset.begin(by, alice=alice, restore=RESTORE, certificate=named, entropy=entropy)[0]

    def sealed(one: Begun, by: ResetKeys = keys) -> bytes:
        return reset.seal(one, by, alice=alice, n=2, entropy=entropy)

    def anew(record: bytes) -> Begun:
        """Return a reset that says something else, authentic all the same."""
        true = begun()
        static = primitives.x25519(keys.own_dh_private, keys.their_dh_public)
        pair = reset._pair(
            reset._own_public(keys, entropy), keys.their_dh_public + keys.their_kem_public, alice
        )
        transcript = primitives.digest(b"p2pnode rst all", pair, true.header, record)
        return replace(true, content=record + reset._mac(static, keys.secret, transcript))

    def record(**changed: Any) -> bytes:
        flight = wire.decode_untrusted(begun().content[:-32], Flight)
        return wire.encode(replace(flight, **changed))

    good = sealed(begun())
    add("another-tag", "unknown-tag", good[:1] + bytes(16) + good[17:])
    own = reset.seal(begun(), keys, alice=not alice, n=2, entropy=entropy)
    add("reflected", "unknown-tag", own)
    for name, at in (("nonce", 40), ("header", 70), ("body", 2_500), ("end", 4_095)):
        flipped = bytearray(good)
        flipped[at] ^= 1
        add(f"flipped-{name}", "not-authentic", bytes(flipped))
    add("lifetime", "not-authentic", good[:17] + b"\x03" + good[18:])
    add("token-outside", "not-authentic", good[:18] + bytes(16) + good[34:])
    true, nonce = begun(), entropy.take(24)
    untold = envelope.assemble(
        tag=reset.tags(keys, alice=alice)[2],
        lifetime=4,
        token=bytes(16),
        nonce=nonce,
        header_key=reset._header_key(keys.secret, alice, 2, nonce),
        header=true.header,
        body_key=reset._body_keys(true.seed, nonce)[0],
        content=true.content,
    )
    add("token-inside", "bad-token", untold)
    padded = begun()
    add("header-padding", "bad-header", sealed(replace(padded, header=padded.header[:-1] + b"\1")))
    add("other-seed", "not-authentic", sealed(replace(begun(), seed=bytes(32))))
    low = begun()
    add("low-order-dh", "bad-dh-key", sealed(replace(low, header=bytes(32) + low.header[32:])))
    other = replace(keys, own_dh_private=bytes(range(32)))
    add("other-static-key", "not-authentic", sealed(begun(other), other))
    changed = begun()
    wrong = changed.content[:-1] + bytes([changed.content[-1] ^ 1])
    add("wrong-mac", "wrong-proof", sealed(replace(changed, content=wrong)))
    add("no-mac", "wrong-proof", sealed(replace(begun(), content=b"")))
    add("not-a-record", "bad-record", sealed(anew(b"\x95")))
    add("version-2", "bad-record", sealed(anew(record(version=2))))
    add("short-restore-id", "bad-record", sealed(anew(record(restore=bytes(15)))))
    forged = certificate[:-1] + bytes([certificate[-1] ^ 1])
    add("forged-certificate", "bad-signature", sealed(anew(record(certificate=forged))))
    stranger = identity.new_account(entropy)
    foreign = identity.new_device(stranger, entropy).certificate
    add("foreign-certificate", "foreign-account", sealed(begun(named=foreign)))
    add("low-order-reset-key", "bad-dh-key", sealed(anew(record(reset_dh=bytes(32)))))
    add("bad-reset-kem-key", "bad-kem-key", sealed(anew(record(reset_kem=b"\xff" * 1184))))
    kem = begun()
    header = kem.header[:32] + b"\xff" * 1184 + kem.header[1216:]
    add("header-changed", "not-authentic", sealed(replace(kem, header=header)))
    return found


def main() -> None:
    """Write new vectors."""
    entropy = Recorded(recording=True)
    account = identity.new_account(entropy)
    setup = {
        "alice": True,
        "secret": entropy.take(32).hex(),
        "account": account.public.hex(),
        "certificate": identity.new_device(account, entropy).certificate.hex(),
        **{
            name: {"dh_private": entropy.take(32).hex(), "kem_seed": entropy.take(64).hex()}
            for name in ("beginner", "taker")
        },
    }
    recording = Recorded(recording=True)
    done = run(setup, recording)
    written = {
        "about": "docs/protocol/reset.md",
        "setup": setup,
        "derivations": derive(setup),
        "draws": recording.draws,
        "run": done,
        "refused": flawed(setup),
    }
    PATH.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
