"""Noise NN against the published vectors, where they lie beside the repository, and our own."""

import json
from pathlib import Path

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.link.noise import NN, rekeyed
from p2pnode.protocol.primitives import ChaChaPoly

OWN = json.loads((Path(__file__).parent / "noise_nn.json").read_text())
PUBLISHED = (
    Path(__file__).parents[2].parent / "shared/vectors/noise_cacophony_25519_chachapoly.json"
)


def cases():
    """Return our own frozen cases and, where they are present, the published ones."""
    found = list(OWN["cases"])
    if PUBLISHED.exists():
        vectors = json.loads(PUBLISHED.read_text())
        vectors = vectors["vectors"] if isinstance(vectors, dict) else vectors
        found += [
            one for one in vectors if one["protocol_name"] == "Noise_NN_25519_ChaChaPoly_BLAKE2b"
        ]
        assert len(found) > len(OWN["cases"])
    return found


def sides(case):
    return [
        NN(
            initiator=role == "init",
            prologue=bytes.fromhex(case[f"{role}_prologue"]),
            ephemeral=bytes.fromhex(case[f"{role}_ephemeral"]),
        )
        for role in ("init", "resp")
    ]


@pytest.mark.parametrize("case", cases())
def test_handshake_and_transport_messages(case):
    initiator, responder = sides(case)
    first, second, *rest = [
        (bytes.fromhex(one["payload"]), bytes.fromhex(one["ciphertext"]))
        for one in case["messages"]
    ]
    assert initiator.write(first[0]) == first[1]
    assert responder.read_untrusted(first[1]) == first[0]
    assert responder.write(second[0]) == second[1]
    assert initiator.read_untrusted(second[1]) == second[0]
    assert initiator.handshake_hash == responder.handshake_hash
    assert initiator.handshake_hash.hex() == case["handshake_hash"]
    assert initiator.split() == responder.split()
    ciphers = [ChaChaPoly(key) for key in initiator.split()]
    for n, (payload, ciphertext) in enumerate(rest):
        nonce = bytes(4) + (n // 2).to_bytes(8, "little")
        assert ciphers[n % 2].seal(nonce, payload, b"") == ciphertext
        assert ciphers[n % 2].open_untrusted(nonce, ciphertext, b"") == payload
    if "split" in case:
        assert [key.hex() for key in initiator.split()] == case["split"]
        assert [rekeyed(key).hex() for key in initiator.split()] == case["rekeyed"]


@pytest.mark.parametrize("case", OWN["refused"], ids=lambda case: case["name"])
def test_refused(case):
    initiator, responder = sides(OWN["cases"][0])
    reader = responder if case["reader"] == "responder" else initiator
    first = initiator.write()
    if reader is initiator:
        responder.read_untrusted(first)

    def read():
        reader.read_untrusted(bytes.fromhex(case["message"]))
        if reader is responder:
            responder.write()

    with pytest.raises(RemoteError) as caught:
        read()
    assert caught.value.reason == case["reason"]
