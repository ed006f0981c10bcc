"""Frozen bytes of identities, codes and pairings, refusals included.

`pairing.json` is the test: `python -m tests.vectors.test_pairing_vectors` writes a new one, which
is only right when the protocol's version changes with it. Each person's draws are listed in the
order docs/protocol/pairing.md gives; a KEM draw is secret ‖ ciphertext, recorded, since ML-KEM
draws by itself; public keys and decapsulations are the real ML-KEM-768.
"""

import json
from base64 import b32decode, b32encode, b64decode, b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope, fingerprint, identity, wire
from p2pnode.protocol.pairing import agreement, code, confirm, machine, mutual, sas
from tests.pairing_scenes import EXPIRES, Side, person
from tests.vectors.test_session_vectors import Recorded

PATH = Path(__file__).with_name("pairing.json")
VECTORS: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
KEY = bytes(range(32))


def reason_of(untrusted: Any, *args: Any) -> str:
    with pytest.raises(RemoteError) as caught:
        untrusted(*args)
    return caught.value.reason


def outcome(agreed: agreement.Agreed) -> dict[str, Any]:
    plain = msgspec.structs.asdict(agreed)
    return {name: v.hex() if isinstance(v, bytes) else v for name, v in plain.items()}


def derive() -> dict[str, Any]:
    """Return every derivation on fixed inputs."""
    print_ = fingerprint.fingerprint(KEY)
    shown = code.Code(KEY, KEY[:16], EXPIRES)
    return {
        "device_id": identity.device_id(KEY, bytes(32)).hex(),
        "fingerprint": print_.hex(),
        "grouped": fingerprint.grouped(print_),
        "words": fingerprint.words(print_),
        "code_payload": shown.payload.hex(),
        "code_uri": code.to_uri(shown),
        "code_commitment": code.commitment(KEY).hex(),
        "code_link_secret": code.code_link_secret(KEY[:16]).hex(),
        "sas": [word for word, _ in sas.sas(KEY)],
        "confirmations": [
            confirm.confirmation(KEY, alice, has_yours).hex()
            for alice in (True, False)
            for has_yours in (True, False)
        ],
    }


def test_derivations() -> None:
    assert derive() == VECTORS["derivations"]


@pytest.mark.parametrize("case", VECTORS.get("codes", []), ids=lambda case: case["uri"][:12])
def test_codes(case: dict[str, Any]) -> None:
    found = code.uri_untrusted(case["uri"])
    assert found.payload.hex() == case["payload"]
    assert (found.expires, found.onion is not None) == (case["expires"], case["onion"])


@pytest.mark.parametrize("case", VECTORS.get("not_codes", []), ids=lambda case: case["name"])
def test_what_is_no_code(case: dict[str, Any]) -> None:
    assert reason_of(code.uri_untrusted, case["uri"]) == case["reason"]


@pytest.mark.parametrize("case", VECTORS.get("not_certificates", []), ids=lambda case: case["name"])
def test_what_is_no_certificate(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["raw"])
    assert reason_of(identity.check_certificate_untrusted, raw) == case["reason"]


class LinkRun:
    """Ana joins by bo's code, each with draws of their own."""

    def __init__(self, ana: Recorded, bo: Recorded) -> None:
        bos = agreement.new_half(person("bo", bo), bo)
        self.code = agreement.new_code(bos, bo, expires=EXPIRES)
        self.shower = Side(machine.LinkPairing.show(self.code, bos, bo))
        half = agreement.new_half(person("ana", ana), ana)
        self.joiner = Side(machine.LinkPairing.join(self.code, half, ana))
        self.crossed = self.joiner.take(self.joiner.machine.start())

    def hear(self, upto: int) -> None:
        """Carry the next messages until `upto` have been heard."""
        for step in range(len(self.crossed) - 1, upto):
            self.crossed += self.side(step).hear(self.crossed[step])

    def side(self, step: int) -> Side:
        """Who hears the message of a step."""
        return self.joiner if step % 2 else self.shower

    def outcomes(self) -> dict[str, Any]:
        found = {}
        for name, side in (("joiner", self.joiner), ("shower", self.shower)):
            keep = side.machine.answer(yes=True)[0]
            assert isinstance(keep, machine.Keep)
            found[name] = outcome(keep.agreed)
        return found


def replay(run: dict[str, Any]) -> tuple[Recorded, Recorded]:
    """Return the recorded draws of ana and bo."""
    entropies = Recorded(), Recorded()
    for entropy, name in zip(entropies, ("ana", "bo"), strict=True):
        entropy.draws = list(run[name])
    return entropies


def test_a_pairing_over_a_link_byte_for_byte() -> None:
    run = VECTORS["link"]
    entropies = replay(run)
    link = LinkRun(*entropies)
    assert code.to_uri(link.code) == run["uri"]
    link.hear(5)
    assert link.crossed == [b64decode(raw) for raw in run["messages"]]
    assert link.joiner.words == link.shower.words == run["words"]
    assert link.outcomes() == {"joiner": run["joiner"], "shower": run["shower"]}
    assert [entropy.draws for entropy in entropies] == [[], []]


@pytest.mark.parametrize(
    "case", VECTORS.get("link", {}).get("refusals", []), ids=lambda case: case["name"]
)
def test_what_a_pairing_refuses(case: dict[str, Any]) -> None:
    link = LinkRun(*replay(VECTORS["link"]))
    link.hear(case["after"])
    link.side(case["after"]).hear(b64decode(case["raw"]))
    assert link.side(case["after"]).said == [machine.Failed(case["reason"])]


class MutualRun:
    """Ana and bo have scanned each other's codes."""

    def __init__(self, ana: Recorded, bo: Recorded) -> None:
        self.entropies = {"ana": ana, "bo": bo}
        halves = {}
        self.codes = {}
        for name, entropy in self.entropies.items():
            halves[name] = agreement.new_half(person(name, entropy), entropy)
            self.codes[name] = agreement.new_code(halves[name], entropy, expires=EXPIRES)
        self.records: dict[str, mutual.Mutual] = {}
        self.sent: dict[str, list[bytes]] = {}
        self.agreed: dict[str, Any] = {}
        for name, other in (("ana", "bo"), ("bo", "ana")):
            self.records[name], self.sent[name] = mutual.begin(
                self.codes[name], halves[name], self.codes[other], self.entropies[name]
            )

    def hear(self, name: str, raw: bytes) -> None:
        outer = envelope.parse_untrusted(raw)
        self.records[name], sent, agreed = mutual.receive_untrusted(
            self.records[name], outer, self.entropies[name]
        )
        self.sent[name] += sent
        if agreed is not None:
            self.agreed[name] = outcome(agreed)


def test_a_mutual_scan_byte_for_byte() -> None:
    run = VECTORS["mutual"]
    scan = MutualRun(*replay(run))
    assert {name: code.to_uri(one) for name, one in scan.codes.items()} == run["uris"]
    assert mutual.link_secret(scan.records["ana"]).hex() == run["link_secret"]
    assert [tag.hex() for tag in mutual.tags(scan.records["ana"])] == run["tags_for_ana"]
    for case in run["refusals"]:
        if case["after"] == 0:
            refuse(scan, case)
    scan.hear("ana", scan.sent["bo"][0])
    scan.hear("bo", scan.sent["ana"][0])
    for case in run["refusals"]:
        if case["after"] == 1:
            refuse(scan, case)
    scan.hear("ana", scan.sent["bo"][1])
    scan.hear("bo", scan.sent["ana"][1])
    for name in ("ana", "bo"):
        assert scan.sent[name] == [b64decode(raw) for raw in run["envelopes"][name]]
        assert scan.agreed[name] == run["outcomes"][name]
        assert scan.entropies[name].draws == []


def refuse(scan: MutualRun, case: dict[str, Any]) -> None:
    """Ana refuses an envelope and stays as she was."""
    before = scan.records["ana"]
    outer = envelope.parse_untrusted(b64decode(case["raw"]))
    found = reason_of(mutual.receive_untrusted, before, outer, scan.entropies["ana"])
    assert found == case["reason"], case["name"]


# Writing -----------------------------------------------------------------------------------------


def text(raw: bytes) -> str:
    return b64encode(raw).decode()


def uri_of(raw: bytes) -> str:
    return "P2PNODE:" + b32encode(raw).decode().rstrip("=")


def written_codes() -> dict[str, Any]:
    # The address of Tor's own rend-spec-v3 example, as 35 bytes: key, checksum, version.
    host = "PG6MMJIYJMCRSSLVYKFWNNTLARU7P5SVN6Y2YMMJU6NUBXNDF4PSCRYD"
    plain = code.Code(KEY, KEY[:16], EXPIRES)
    full = msgspec.structs.replace(plain, onion=b32decode(host))
    accepted = [code.to_uri(plain), code.to_uri(plain).lower(), code.to_uri(full)]
    broken_onion = full.payload[:-3] + b"\0\0\3"
    refused = {
        "empty": "",
        "scheme only": "P2PNODE:",
        "another scheme": "OTHER:" + code.to_uri(plain)[8:],
        "a space before": " " + code.to_uri(plain),
        "a digit outside the alphabet": code.to_uri(plain)[:-1] + "1",
        "padding": code.to_uri(plain) + "=",
        "a letter that is upper-cased into the alphabet": code.to_uri(plain)[:-1] + "\u0131",
        "too long": code.to_uri(full) + "AAAA",
        "one character missing": code.to_uri(plain)[:-1],
        "one character more": code.to_uri(plain) + "A",
        "the onion cut off": code.to_uri(full)[:95],
        "an onion announced, none there": uri_of(b"\x01\x01" + plain.payload[2:]),
        "an onion there, none announced": uri_of(b"\x01\x00" + full.payload[2:]),
        "spare bits set": code.to_uri(plain)[:-1] + chr(ord(code.to_uri(plain)[-1]) + 1),
        "version 0": uri_of(b"\x00" + plain.payload[1:]),
        "version 2": uri_of(b"\x02" + plain.payload[1:]),
        "version 2 and longer": uri_of(b"\x02" + full.payload[1:] + b"\0"),
        "unknown contents": uri_of(b"\x01\x02" + plain.payload[2:]),
        "a wrong onion checksum": uri_of(broken_onion),
    }
    return {
        "codes": [
            {
                "uri": uri,
                "payload": code.uri_untrusted(uri).payload.hex(),
                "expires": EXPIRES,
                "onion": len(uri) > 100,
            }
            for uri in accepted
        ],
        "not_codes": [
            {"name": name, "uri": uri, "reason": reason_of(code.uri_untrusted, uri)}
            for name, uri in refused.items()
        ],
    }


def written_certificates(raw: bytes) -> list[dict[str, Any]]:
    wrong = {
        "empty": b"",
        "one byte short": raw[:-1],
        "one byte long": raw + b"\0",
        "version 2": raw[:1] + b"\x02" + raw[2:],
        "a longer encoding": raw[:1] + b"\xcc\x01" + raw[2:],
        "a field as text": raw[:2] + b"\xd9\x20" + b"a" * 32 + raw[36:],
        "another account": raw[:5] + bytes([raw[5] ^ 1]) + raw[6:],
        "another X25519 key": raw[:80] + bytes([raw[80] ^ 1]) + raw[81:],
        "another signature": raw[:-1] + bytes([raw[-1] ^ 1]),
    }
    return [
        {
            "name": name,
            "raw": value.hex(),
            "reason": reason_of(identity.check_certificate_untrusted, value),
        }
        for name, value in wrong.items()
    ]


def written_link() -> dict[str, Any]:
    ana, bo = Recorded(recording=True), Recorded(recording=True)
    link = LinkRun(ana, bo)
    link.hear(5)
    run: dict[str, Any] = {
        "uri": code.to_uri(link.code),
        "messages": [text(raw) for raw in link.crossed],
        "words": link.joiner.words,
        **link.outcomes(),
        "ana": ana.draws,
        "bo": bo.draws,
    }
    commit, show, opened, sealed, _ = link.crossed
    shown = wire.decode_untrusted(show, machine.Shown)
    open_ = wire.decode_untrusted(opened, machine.Opened)
    seal = wire.decode_untrusted(sealed, machine.Sealed)
    renamed = wire.encode(
        msgspec.structs.replace(wire.decode_untrusted(shown.reveal, agreement.Reveal), hint="eve")
    )
    replace = msgspec.structs.replace
    wrong = [
        (0, "garbage", b"\xff"),
        (0, "a message with a byte more", commit + b"\0"),
        (0, "an unknown kind", b"\x91\x08"),
        (0, "the second message first", show),
        (0, "a proof at once", wire.encode(machine.Proof(bytes(32)))),
        (1, "another reveal", wire.encode(replace(shown, reveal=renamed))),
        (1, "the own commitment back", commit),
        (2, "another nonce", wire.encode(replace(open_, nonce=bytes(32)))),
        (2, "another commitment", wire.encode(machine.Commit(bytes(32)))),
        (2, "a ciphertext too short", wire.encode(replace(open_, ciphertext=bytes(1087)))),
        (3, "another ciphertext", wire.encode(replace(seal, ciphertext=bytes(1088)))),
        (3, "another proof", wire.encode(replace(seal, proof=bytes(32)))),
        (4, "a wrong last proof", wire.encode(machine.Proof(seal.proof))),
        (4, "a false confirmation", wire.encode(confirm.Confirm(0, bytes(32)))),
        (3, "a refusal", wire.encode(machine.Refuse())),
    ]
    run["refusals"] = []
    for after, name, raw in wrong:
        again = LinkRun(*replay(run))
        again.hear(after)
        again.side(after).hear(raw)
        (failed,) = again.side(after).said
        assert isinstance(failed, machine.Failed)
        case = {"after": after, "name": name, "reason": failed.reason, "raw": text(raw)}
        run["refusals"].append(case)
    return run


def written_mutual() -> dict[str, Any]:
    scan = MutualRun(Recorded(recording=True), Recorded(recording=True))
    run: dict[str, Any] = {
        "uris": {name: code.to_uri(one) for name, one in scan.codes.items()},
        "link_secret": mutual.link_secret(scan.records["ana"]).hex(),
        "tags_for_ana": [tag.hex() for tag in mutual.tags(scan.records["ana"])],
        "refusals": [],
    }

    def refused(after: int, name: str, raw: bytes) -> None:
        drawn = len(scan.entropies["ana"].draws)
        outer = envelope.parse_untrusted(raw)
        reason = reason_of(
            mutual.receive_untrusted, scan.records["ana"], outer, scan.entropies["ana"]
        )
        assert len(scan.entropies["ana"].draws) == drawn
        case = {"after": after, "name": name, "reason": reason, "raw": text(raw)}
        run["refusals"].append(case)

    def forged(flight: int, content: bytes) -> bytes:
        spare = Recorded(recording=True)
        return mutual._envelope(scan.records["bo"], flight, content, spare)

    first = scan.sent["bo"][0]
    refused(0, "a byte of the header", first[:100] + bytes([first[100] ^ 1]) + first[101:])
    refused(0, "a byte of the body", first[:-1] + bytes([first[-1] ^ 1]))
    refused(0, "an unknown tag", first[:1] + bytes(16) + first[17:])
    refused(0, "her own first flight", scan.sent["ana"][0])
    refused(0, "another reveal", forged(1, scan.records["ana"].half.reveal))
    refused(0, "a second flight that is none", forged(2, b"\x90"))
    scan.hear("ana", first)
    scan.hear("bo", scan.sent["ana"][0])
    refused(1, "another proof", forged(2, wire.encode(mutual.Second(bytes(1088), bytes(32)))))
    refused(1, "her own second flight", scan.sent["ana"][1])
    scan.hear("ana", scan.sent["bo"][1])
    scan.hear("bo", scan.sent["ana"][1])
    run["envelopes"] = {name: [text(raw) for raw in sent] for name, sent in scan.sent.items()}
    run["outcomes"] = scan.agreed
    return {**run, **{name: entropy.draws for name, entropy in scan.entropies.items()}}


def write() -> None:
    link = written_link()
    document = {
        "about": "Identities, codes and pairings of p2pnode, version 1; see docs/protocol.",
        "derivations": derive(),
        **written_codes(),
        "not_certificates": written_certificates(bytes.fromhex(link["joiner"]["certificate"])),
        "link": link,
        "mutual": written_mutual(),
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    write()
