"""Frozen bytes that an implementation made which shares no code with this one, refusals included.

`second.json` is the test; `python -m tests.interop.second_vectors` made it.
"""

import json
from pathlib import Path

import pytest

from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol import content, envelope, identity, pieces, primitives
from p2pnode.protocol.link import keys, layout, messages, work
from p2pnode.protocol.pairing import agreement

MADE = json.loads(Path(__file__).with_name("second.json").read_text())


def raw_of(case):
    value, count = case.get("run", (0, 0))
    return bytes.fromhex(case["raw"]) + bytes([value]) * count


def refused(take, case):
    with pytest.raises(RemoteError) as caught:
        take(raw_of(case))
    return caught.value.reason


@pytest.mark.parametrize("case", MADE["contents"], ids=lambda c: c["name"])
def test_contents(case):
    raw = raw_of(case)
    assert content.encode_content(content.content_untrusted(raw)) == raw


@pytest.mark.parametrize("case", MADE["refused_contents"], ids=lambda c: c["name"])
def test_refused_contents(case):
    assert refused(content.content_untrusted, case) == case["reason"]


@pytest.mark.parametrize("case", MADE["messages"], ids=lambda c: c["name"])
def test_messages(case):
    raw = raw_of(case)
    found = layout.decode_message_untrusted(raw)
    assert type(found).__name__ == case["name"]
    if case["name"] != "Unknown":
        assert layout.encode_message(found) == raw


@pytest.mark.parametrize("case", MADE["refused_messages"], ids=lambda c: c["name"])
def test_refused_messages(case):
    assert refused(layout.decode_message_untrusted, case) == case["reason"]


def met(raw):
    """Take a foreign reveal as a pairing does."""
    entropy = OsEntropy()
    account = identity.new_account(entropy)
    own = identity.Own(account, identity.new_device(account, entropy), "")
    mine = bytes.fromhex(MADE["reveals"]["own"])
    half = agreement.new_half(own, entropy)
    half = agreement.Half(
        half.static, half.dh, half.kem_seed, half.reset_dh, half.reset_kem_seed, mine
    )
    peer = agreement.check_reveal_untrusted(half, raw)
    agreement.exchange(half, peer, alice=True)
    agreement.encapsulate_untrusted(peer, entropy)
    return peer


def test_a_reveal():
    assert met(bytes.fromhex(MADE["reveals"]["good"])).reveal.hint == "b"


@pytest.mark.parametrize("case", MADE["reveals"]["refused"], ids=lambda c: c["name"])
def test_refused_reveals(case):
    assert refused(met, case) == case["reason"]


@pytest.mark.parametrize("case", MADE["carry_pass"]["shown"])
def test_who_shows_a_carry_pass(case):
    made = MADE["carry_pass"]
    key = keys.of_pass(bytes.fromhex(made["secret"]), holder=case["holder"])
    role = {
        "initiator": case["role"] == "i",
        "alice": key.alice,
        "handshake": bytes.fromhex(made["handshake_hash"]),
    }
    pages = keys.pages_digest(*map(bytes.fromhex, made["pages"]))
    assert keys.mark(key.current, **role).hex() == case["mark"]
    assert keys.proof(key.current, **role, pages=pages).hex() == case["proof"]


def test_a_proof_of_work():
    nonce, h = (bytes.fromhex(MADE["work"][name]) for name in ("nonce", "handshake_hash"))
    assert work.proves(nonce, handshake=h, initiator=True)
    assert not work.proves(nonce, handshake=h, initiator=False)


def test_addresses_are_acknowledged_by_one_digest():
    told = layout.decode_message_untrusted(bytes.fromhex(MADE["addresses"]["raw"]))
    assert messages.addresses_digest(told).hex() == MADE["addresses"]["kept"]


def made_envelope(n):
    return envelope.assemble(
        tag=bytes([n]) * 16,
        lifetime=3,
        token=b"t" * 16,
        nonce=b"n" * 24,
        header_key=bytes(32),
        header=bytes(2332),
        body_key=b"\1" * 32,
        content=bytes(MADE["pieces"]["lengths"][n]),
    )


@pytest.mark.parametrize("case", MADE["pieces"]["runs"], ids=lambda c: c["name"])
def test_pieces(case):
    raws = [made_envelope(n) for n in range(3)]
    assert [envelope.envelope_id(raw).hex() for raw in raws] == MADE["pieces"]["ids"]
    held, outcome = None, ""
    for (which, number, *changed), digest in zip(case["run"], case["digests"], strict=True):
        cut = list(pieces.cut(EnvelopeId(envelope.envelope_id(raws[which])), 5, raws[which]))
        raw = layout.encode_message(cut[number])
        raw = raw[:-4096] + bytes(4096) if changed else raw
        assert primitives.digest(b"piece", raw[1:]).hex() == digest
        piece = layout.decode_message_untrusted(raw)
        try:
            held = pieces.joined_untrusted(held, piece)
            outcome = "whole" if pieces.whole_untrusted(held) else f"held {held.held.pieces}"
        except RemoteError as refusal:
            outcome = refusal.reason
    assert outcome == case["outcome"]
