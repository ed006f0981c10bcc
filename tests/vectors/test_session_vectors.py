"""Frozen bytes of sessions and envelopes, refusals included.

`session.json` is the test: `python -m tests.vectors.test_session_vectors` writes a new one, which
is only right when the protocol's version changes with it. Encapsulations are recorded, since
ML-KEM draws by itself; public keys and decapsulations are the real ML-KEM-768.
"""

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope, limits, primitives
from p2pnode.protocol.session import keys, ratchet, tags
from tests.session_sides import Side

PATH = Path(__file__).with_name("session.json")
VECTORS: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
INDEXES = [0, 1, 63, 64, 255, 256, 257, 511, 512, 24_832]


class Recorded(OsEntropy):
    """Replays draws; once they run out it records new ones (only while writing vectors)."""

    def __init__(self, *, recording: bool = False) -> None:
        self.recording = recording
        self.draws: list[str] = []

    def take(self, n: int) -> bytes:
        if self.recording:
            self.draws.append(super().take(n).hex())
            return bytes.fromhex(self.draws[-1])
        raw = bytes.fromhex(self.draws.pop(0))
        assert len(raw) == n
        return raw

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        if self.recording:
            secret, ciphertext = super().encapsulate(public)
            self.draws.append((secret + ciphertext).hex())
            return secret, ciphertext
        raw = bytes.fromhex(self.draws.pop(0))
        assert len(raw) == 32 + 1088
        return raw[:32], raw[32:]


def begin(setup: dict[str, Any], name: str, entropy: Recorded) -> Side:
    own, their = setup[name], setup["bob" if name == "alice" else "alice"]
    session, rows = ratchet.start(
        secret=bytes.fromhex(setup["secret"]),
        alice=name == "alice",
        own_dh_private=bytes.fromhex(own["dh_private"]),
        own_kem_seed=bytes.fromhex(own["kem_seed"]),
        their_dh_public=primitives.x25519_public(bytes.fromhex(their["dh_private"])),
        their_kem_public=entropy.kem_public(bytes.fromhex(their["kem_seed"])),
        entropy=entropy,
    )
    return Side(session, rows, entropy)


def reached(seed: bytes) -> list[dict[str, Any]]:
    out = []
    for n in INDEXES:
        _, step = tags.walk(0, *keys.open_block(seed), n)
        tag, header_key = keys.header_keys(step)
        out.append({"n": n, "tag": tag.hex(), "header_key": header_key.hex()})
    return out


def derive() -> dict[str, Any]:
    """Return every derivation on fixed inputs."""
    part = [bytes((n,)) * 32 for n in range(8)]
    ratchet_bytes = bytes(range(256)) * 9
    sealed = {
        str(size): envelope.envelope_id(
            envelope.assemble(
                tag=part[1][:16],
                lifetime=2,
                token=part[2][:16],
                nonce=part[3][:24],
                header_key=part[4],
                header=ratchet_bytes + bytes(28),
                body_key=part[5],
                content=b"c" * size,
            )
        ).hex()
        for size in (0, 1, 1670, 1671, 13_958, 13_959, 63_110)
    }
    return {
        "first": [
            out.hex() for out in keys.first(part[1], ratchet_bytes[:1216], ratchet_bytes[1000:2216])
        ],
        "root_step": [
            out.hex()
            for out in keys.root_step(
                part[1], part[2], part[3], ratchet_bytes[:1216], ratchet_bytes
            )
        ],
        "chain_step": [out.hex() for out in keys.chain_step(part[1])],
        "message_keys": [out.hex() for out in keys.message_keys(part[1])],
        "open_block": [out.hex() for out in keys.open_block(part[1])],
        "next_step": keys.next_step(part[1]).hex(),
        "tags_of_seed": reached(part[6]),
        "token_hash": envelope.token_hash(part[1][:16]).hex(),
        "envelope_ids_by_content": sealed,
    }


def test_derivations() -> None:
    assert derive() == VECTORS["derivations"]


def test_a_conversation_byte_for_byte() -> None:
    setup = VECTORS["conversation"]
    entropy = Recorded()
    entropy.draws = list(setup["draws"])
    both = {name: begin(setup, name, entropy) for name in ("alice", "bob")}
    raws: list[bytes] = []
    for step in setup["steps"]:
        side = both[step["who"]]
        if step["do"] == "seal":
            sealed = side.seal(bytes.fromhex(step["content"]), step["lifetime"])
            raws.append(sealed.raw)
            assert sealed.raw == b64decode(step["raw"])
            assert sealed.id.hex() == step["id"]
            assert sealed.token.hex() == step["token"]
            assert sealed.count == step["count"]
            assert side.session.sending_n - 1 == step["n"]
            assert side.session.previous == step["previous"]
        elif step["do"] == "open":
            opened = side.open(raws[step["envelope"]])
            assert opened.content.hex() == step["content"]
            assert (opened.count, opened.token.hex()) == (step["count"], step["token"])
        else:
            row = side.tags[bytes.fromhex(step["tag"])]
            before = entropy.draws.copy()
            assert side.refuses(b64decode(step["raw"]), row) == step["reason"]
            entropy.draws = before
    assert entropy.draws == []
    assert both["alice"].session.handle.hex() == setup["handle"]


@pytest.mark.parametrize("case", VECTORS.get("not_envelopes", []), ids=lambda case: case["name"])
def test_what_is_no_envelope(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["start"]).ljust(case["size"], b"\0")
    with pytest.raises(RemoteError) as caught:
        envelope.parse_untrusted(raw)
    assert caught.value.reason == case["reason"]


class _Writer:
    """Plays a conversation and writes down what happened."""

    def __init__(self) -> None:
        entropy = OsEntropy()
        self.entropy = Recorded(recording=True)
        self.setup: dict[str, Any] = {"secret": entropy.take(32).hex()}
        for name in ("alice", "bob"):
            self.setup[name] = {
                "dh_private": entropy.take(32).hex(),
                "kem_seed": entropy.take(64).hex(),
            }
        self.both = {name: begin(self.setup, name, self.entropy) for name in ("alice", "bob")}
        self.steps: list[dict[str, Any]] = []
        self.raws: list[bytes] = []

    def seal(self, who: str, content: bytes, lifetime: int = 3) -> int:
        side = self.both[who]
        sealed = side.seal(content, lifetime)
        self.raws.append(sealed.raw)
        self.steps.append(
            {
                "do": "seal",
                "who": who,
                "content": content.hex(),
                "lifetime": lifetime,
                "n": side.session.sending_n - 1,
                "previous": side.session.previous,
                "count": sealed.count,
                "token": sealed.token.hex(),
                "id": sealed.id.hex(),
                "raw": b64encode(sealed.raw).decode(),
            }
        )
        return len(self.raws) - 1

    def open(self, who: str, number: int) -> None:
        opened = self.both[who].open(self.raws[number])
        self.steps.append(
            {
                "do": "open",
                "who": who,
                "envelope": number,
                "content": opened.content.hex(),
                "count": opened.count,
                "token": opened.token.hex(),
            }
        )

    def refuse(self, who: str, name: str, raw: bytes) -> None:
        side = self.both[who]
        tag = raw[1:17]
        drawn = len(self.entropy.draws)
        reason = side.refuses(raw, side.tags[tag])
        del self.entropy.draws[drawn:]
        self.steps.append(
            {
                "do": "refuse",
                "who": who,
                "name": name,
                "tag": tag.hex(),
                "reason": reason,
                "raw": b64encode(raw).decode(),
            }
        )

    def forged(self, who: str, **changed: Any) -> bytes:
        """What `who` would seal from a state changed so; its state stays."""
        side, drawn = self.both[who], len(self.entropy.draws)
        session = replace(side.session, **changed)
        raw = ratchet.seal(session, b"lie", lifetime=3, entropy=self.entropy).raw
        del self.entropy.draws[drawn:]
        return raw


def write() -> None:
    one = _Writer()
    early = one.seal("bob", b"bob before alice")
    late = one.seal("bob", b"late")
    first = one.seal("alice", b"", lifetime=0)
    raw = one.raws[first]
    one.refuse("bob", "a byte of the header", raw[:100] + bytes((raw[100] ^ 1,)) + raw[101:])
    one.refuse("bob", "a byte of the body", raw[:-1] + bytes((raw[-1] ^ 1,)))
    one.refuse("bob", "the lifetime class", raw[:17] + b"\x04" + raw[18:])
    one.open("bob", first)
    honest = one.both["alice"].session.ours
    zeroed = honest[: keys.DH_AND_KEM] + bytes(primitives.KEM_CIPHERTEXT)
    one.refuse("bob", "ciphertext changed in a chain", one.forged("alice", ours=zeroed))
    one.refuse("bob", "a count too high", one.forged("alice", sent=7))
    one.refuse("bob", "a wrong index", one.forged("alice", sending_n=9))
    one.refuse("bob", "another chain key", one.forged("alice", sending_key=bytes(32)))
    one.open("alice", early)
    answer = one.seal("bob", b"bob answers")
    one.open("alice", answer)
    one.open("alice", late)
    one.seal("alice", b"skipped, of the second chain")
    skipped = len(one.raws) - 1
    second = one.seal("alice", b"second chain", lifetime=4)
    low = bytes(32) + one.both["alice"].session.ours[32:]
    one.refuse("bob", "a low-order DH key", one.forged("alice", ours=low))
    one.refuse("bob", "fewer sent than before", one.forged("alice", previous=0))
    one.open("bob", second)
    one.open("bob", skipped)
    big = one.seal("bob", b"b" * 1670, lifetime=1)
    one.open("alice", big)
    document = {
        "about": "Sessions and envelopes of p2pnode, protocol version 1; see docs/protocol.",
        "derivations": derive(),
        "not_envelopes": [
            {"name": "empty", "size": 0, "start": "", "reason": "bad-size"},
            {"name": "one short", "size": 4095, "start": "01", "reason": "bad-size"},
            {"name": "one long", "size": 65_537, "start": "01", "reason": "bad-size"},
            {"name": "version 0", "size": 4096, "start": "00", "reason": "unknown-version"},
            {"name": "version 2", "size": 16_384, "start": "02", "reason": "unknown-version"},
            {
                "name": "lifetime class 5",
                "size": 65_536,
                "start": "01" + "00" * 16 + f"{len(limits.LIFETIMES):02x}",
                "reason": "bad-lifetime",
            },
        ],
        "conversation": {
            **one.setup,
            "draws": one.entropy.draws,
            "handle": one.both["alice"].session.handle.hex(),
            "steps": one.steps,
        },
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    write()
