"""The second implementation against all frozen vectors: what they leave out, a page must say."""

import json
import re
from base64 import b64decode
from hashlib import blake2b, shake_256
from struct import pack as packed
from struct import unpack as unpacked
from types import SimpleNamespace

import pytest

from tests.interop import second_link
from tests.interop.second_bytes import (
    Dice,
    Identity,
    Refused,
    blake,
    digest,
    kem_public,
    pack,
    parse_certificate,
    x25519_public,
)
from tests.interop.second_custody import (
    Exchange,
    courier_record,
    parse_reconcile,
    read_bundle,
    read_record,
    shorts_in,
    write_bundle,
)
from tests.interop.second_link import Cipher, Handshake, LinkKey, Noise, link_first, link_step
from tests.interop.second_pairing import Keys, Mutual, Pairing, parse_code
from tests.interop.second_session import Generation, Reset, Session, check_envelope, envelope_id
from tests.walls import ROOT

raw_of = bytes.fromhex


def vectors(name):
    return json.loads((ROOT / "tests/vectors" / f"{name}.json").read_text())


def reason(take, *arguments):
    try:
        take(*arguments)
    except Refused as refusal:
        return str(refusal)
    return None


def keys_of(dh, kem):
    dh, kem = raw_of(dh), raw_of(kem)
    return SimpleNamespace(dh=dh, kem=kem, public=x25519_public(dh) + kem_public(kem))


# Sessions and envelopes --------------------------------------------------------------------------


def test_a_conversation():
    case = vectors("session")["conversation"]
    dice, secret = Dice(list(case["draws"])), raw_of(case["secret"])
    alice, bob = (keys_of(*case[name].values()) for name in ("alice", "bob"))
    sides = {"alice": Session(secret, True, alice, bob.public, dice)}
    sides["bob"] = Session(secret, False, bob, alice.public, dice)
    assert {side.handle.hex() for side in sides.values()} == {case["handle"]}
    sealed = []
    for step in case["steps"]:
        side = sides[step["who"]]
        match step["do"]:
            case "seal":
                sealed.append(side.seal(raw_of(step["content"]), step["lifetime"]))
                assert sealed[-1] == b64decode(step["raw"])
                assert envelope_id(sealed[-1]).hex() == step["id"]
            case "open":
                assert side.open(sealed[step["envelope"]]).hex() == step["content"]
            case "refuse":
                assert reason(side.open, b64decode(step["raw"])) == step["reason"], step["name"]
    assert dice.draws == []


@pytest.mark.parametrize("case", vectors("session")["not_envelopes"], ids=lambda c: c["name"])
def test_what_is_no_envelope(case):
    raw = raw_of(case["start"]).ljust(case["size"], b"\0")
    assert reason(check_envelope, raw) == case["reason"]


# Pairings ----------------------------------------------------------------------------------------

PAIRING = vectors("pairing")


def test_codes():
    for case in PAIRING["codes"]:
        assert parse_code(case["uri"]).hex() == case["payload"]
    for case in PAIRING["not_codes"]:
        assert reason(parse_code, case["uri"]) == case["reason"], case["name"]


def test_certificates():
    for case in PAIRING["not_certificates"]:
        assert reason(parse_certificate, raw_of(case["raw"])) == case["reason"], case["name"]


def over_a_link():
    """A joiner, ana, and a shower, bo, and the draws both were made with."""
    case = PAIRING["link"]
    anas, bos = Dice(list(case["ana"])), Dice(list(case["bo"]))
    [expires] = unpacked(">I", parse_code(case["uri"])[50:54])
    shower = Pairing(Identity("bo", bos), dice=bos, expires=expires)
    ana = Identity("ana", anas) if shower.code == case["uri"] else None
    return [Pairing(ana, case["uri"], anas), shower]


def agrees(side, outcome):
    assert side.theirs.account.hex() == outcome["account"]
    assert side.theirs.hint == outcome["hint"]
    assert side.transcript.hex() == outcome["transcript"]
    for purpose in ("session", "link", "reset"):
        assert side.key(purpose).hex() == outcome[f"{purpose}_secret"]
    assert side.key("confirm").hex() == outcome["confirm_key"]


def test_a_pairing_over_a_link():
    case = PAIRING["link"]
    joiner, shower = over_a_link()
    said = [joiner.last]
    while said[-1]:
        said.append((shower if len(said) % 2 else joiner).receive(said[-1]))
    assert said[:-1] == [b64decode(raw) for raw in case["messages"]]
    agrees(joiner, case["joiner"])
    agrees(shower, case["shower"])
    assert joiner.words == shower.words
    assert [WORDS[byte][0] for byte in joiner.words] == case["words"]


# As docs/protocol/words.md lists them: word and emoji.
WORDS = re.findall(r"([a-z]+) (\S)", (ROOT / "docs/protocol/words.md").read_text().split("```")[1])


def test_words_are_those_that_everybody_has():
    words, emoji = zip(*WORDS, strict=True)
    listed = f"{' '.join(words)}|{''.join(emoji)}".encode()
    told = (ROOT / "docs/protocol/identity.md").read_text()
    assert digest("p2pnode words", listed).hex() in told


@pytest.mark.parametrize("case", PAIRING["link"]["refusals"], ids=lambda c: c["name"])
def test_what_a_pairing_refuses(case):
    sides = over_a_link()
    raw = sides[0].last
    for turn in range(case["after"]):
        raw = sides[1 - turn % 2].receive(raw)
    reader = sides[1 - case["after"] % 2]
    assert reason(reader.receive, b64decode(case["raw"])) == case["reason"]


def scans():
    case = PAIRING["mutual"]
    payloads = {name: parse_code(uri) for name, uri in case["uris"].items()}
    found = []
    for own, other in (("ana", "bo"), ("bo", "ana")):
        dice = Dice(list(case[own]))
        identity = Identity(own, dice)
        keys = Keys(identity, dice)
        assert payloads[own][34:50] == dice.take(16)
        found.append(Mutual(identity, keys, payloads[own], payloads[other], dice))
    return found


def test_a_mutual_scan():
    case = PAIRING["mutual"]
    ana, bo = scans()
    assert ana.link_secret.hex() == case["link_secret"]
    anas, bos = [ana.start()], [bo.start()]
    anas += ana.receive(bos[0])
    bos += bo.receive(anas[0])
    assert bo.receive(anas[1]) == ana.receive(bos[1]) == []
    for name, side, sent in (("ana", ana, anas), ("bo", bo, bos)):
        assert sent == [b64decode(raw) for raw in case["envelopes"][name]]
        assert side.alice == case["outcomes"][name]["alice"]
        agrees(side, case["outcomes"][name])


@pytest.mark.parametrize("case", PAIRING["mutual"]["refusals"], ids=lambda c: c["name"])
def test_what_a_mutual_scan_refuses(case):
    ana, _ = scans()
    ana.start()
    for raw in PAIRING["mutual"]["envelopes"]["bo"][: case["after"]]:
        ana.receive(b64decode(raw))
    assert reason(ana.receive, b64decode(case["raw"])) == case["reason"]


# Resets ------------------------------------------------------------------------------------------

RESET = vectors("reset")


def generations():
    setup = RESET["setup"]
    secret, alice = raw_of(setup["secret"]), setup["alice"]
    begins, takes = (keys_of(*setup[name].values()) for name in ("beginner", "taker"))
    return (
        Generation(secret, alice, begins.dh, begins.kem, takes.public),
        Generation(secret, not alice, takes.dh, takes.kem, begins.public),
    )


def test_a_reset():
    begins, takes = generations()
    known, run = RESET["derivations"], RESET["run"]
    tags = [begins.tag(begins.alice, n) for n in range(16)]
    assert [tag.hex() for tag in tags] == known["tags_of_beginner"]
    assert [begins.tag(takes.alice, n).hex() for n in range(16)] == known["tags_of_taker"]
    assert begins.k("mark", b"", 32).hex() == known["mark_key"]
    assert begins.k("hand", b"", 8).hex() == known["handle"]
    dice = Dice(list(RESET["draws"]))
    begun = Reset.begin(begins, raw_of(RESET["setup"]["certificate"]), bytes(range(16)), dice)
    assert begun.header.hex() == run["begun"]["header"]
    assert begun.content.hex() == run["begun"]["content"]
    for raw in map(b64decode, run["envelopes"]):
        assert begun.envelope(tags.index(raw[1:17]), dice) == raw
        taken = Reset.take(takes, raw_of(RESET["setup"]["account"]), raw)
    next_dh, next_kem = dice.take(32), dice.take(64)
    dice.take(32 + 1088)  # whether the next reset key can be used
    taker = Session(taken.key("session"), True, takes, begun.public, dice)
    beginner = Session(begun.key("session"), False, begun, takes.public, dice)
    for side, session, name in ((begun, beginner, "beginner"), (taken, taker, "taker")):
        assert side.transcript.hex() == run[name]["transcript"]
        assert side.key("reset").hex() == run[name]["reset_secret"]
        assert link_first(side.key("link")).hex() == run[name]["link"][1]
        assert session.handle.hex() == run[name]["handle"]
        assert len(session.listed_tags()) == run[name]["tags"]
    fields = [bytes(range(16)), x25519_public(next_dh), kem_public(next_kem), 7, b""]
    answer = b"\x0a" + pack(fields)
    assert answer.hex() == run["answer"]
    assert taker.seal(answer, 4) == b64decode(run["answer_envelope"])
    assert beginner.open(b64decode(run["answer_envelope"])) == answer


@pytest.mark.parametrize("case", RESET["refused"], ids=lambda c: c["name"])
def test_what_is_refused_as_a_reset(case):
    _, takes = generations()
    account = raw_of(RESET["setup"]["account"])
    assert reason(Reset.take, takes, account, b64decode(case["raw"])) == case["reason"]


# Links -------------------------------------------------------------------------------------------

LINK = vectors("link")


def test_noise():
    case, *_ = vectors("noise_nn")["cases"]
    sides = [
        Noise(raw_of(case[f"{role}_ephemeral"]), raw_of(case[f"{role}_prologue"]))
        for role in ("init", "resp")
    ]
    first = sides[0].first(sides[0].public)
    second = sides[1].answer(first)
    sides[0].finish(second)
    assert [first.hex(), second.hex()] == [one["ciphertext"] for one in case["messages"]]
    for side in sides:
        assert side.h.hex() == case["handshake_hash"]
        assert [key.hex() for key in side.keys] == case["split"]
        assert [second_link.rekey(key).hex() for key in side.keys] == case["rekeyed"]


def test_what_noise_refuses():
    case, *_ = vectors("noise_nn")["cases"]
    for refused in vectors("noise_nn")["refused"]:
        side = Noise(raw_of(case[f"{refused['reader'][:4]}_ephemeral"]))
        if refused["reader"] == "initiator":
            side.first(side.public)
            assert reason(side.finish, raw_of(refused["message"])) == refused["reason"]
        else:
            assert reason(side.answer, raw_of(refused["message"])) == refused["reason"]


def test_the_chain_of_link_keys():
    key = link_first(raw_of(LINK["chain"]["secret"]))
    for wanted in LINK["chain"]["keys"]:
        assert key.hex() == wanted
        key = link_step(key)


def pages_of(case):
    """The two pages that crossed; what is random on them and their order is nobody's to guess."""
    frames = [raw_of(frame) for frame in case["frames"]]
    noise = Noise(raw_of(case["initiator"]["entropy"][0]))
    noise.first(noise.public)
    noise.finish(frames[1])
    keys = [Cipher(blake("p2pnode lk recog", 32, key=key)) for key in noise.keys]
    return [key.open(frame, 0) for key, frame in zip(keys, frames[2:4], strict=True)]


def candidate(one):
    key, previous = raw_of(one["current"]), raw_of(one["previous"])
    index, rank = one["index"], one["rank"]
    return LinkKey(key, one["alice"], index=index, previous=previous, rank=rank)


def played(case, role, monkeypatch, instead=None):
    """Play one role against the frames of the other; instead: another frame in some place."""
    frames = [raw_of(frame) for frame in case["frames"]]
    place = 0 if role == "initiator" else 1
    page, drawn = pages_of(case)[place], raw_of(case[role]["entropy"][-1])

    def shown(marks, size):
        assert len(page) == 8 * size
        assert set(marks) <= second_link.marks_in(page)
        return page

    monkeypatch.setattr(second_link, "page_of", shown)
    monkeypatch.setattr(second_link, "random_proof", lambda: drawn)
    candidates = [candidate(one) for one in case[role]["candidates"]]
    shake = Handshake(candidates, raw_of(case[role]["entropy"][0]), case["marks"])
    steps = shake.initiate() if role == "initiator" else shake.respond()
    said = [next(steps)]
    heard = list(enumerate(frames))[1 - place :: 2]
    for number, frame in heard:
        said.append(steps.send(instead[1] if instead and instead[0] == number else frame))
    assert [frame for frame in said if frame] == frames[place::2]
    return shake, candidates


@pytest.mark.parametrize("role", ["initiator", "responder"])
@pytest.mark.parametrize("case", LINK["links"], ids=lambda c: c["name"])
def test_a_handshake(case, role, monkeypatch):
    shake, candidates = played(case, role, monkeypatch)
    assert shake.noise.h.hex() == case["handshake_hash"]
    names = {
        id(key): one["ref"] for key, one in zip(candidates, case[role]["candidates"], strict=True)
    }
    assert names.get(id(shake.peer)) == case[role]["peer"]
    out, _ = shake.stand()
    assert out.seal(b"\x0c\0").hex() == case[role]["bye"][0]
    out.key, out.epoch = second_link.rekey(out.key), 1
    assert out.seal(b"\x0c\0").hex() == case[role]["bye"][1]


@pytest.mark.parametrize("case", LINK["refused_frames"], ids=lambda c: c["name"])
def test_what_a_handshake_refuses(case, monkeypatch):
    role = "responder" if case["place"] % 2 == 0 else "initiator"
    instead = case["place"], raw_of(case["frame"])
    assert reason(played, LINK["links"][0], role, monkeypatch, instead) == case["reason"]


def test_messages_of_links():
    for case in LINK["messages"]:
        assert second_link.parse_message(raw_of(case["raw"]))[0] == raw_of(case["raw"])[0]
    for case in LINK["refused_messages"]:
        found = reason(second_link.parse_message, raw_of(case["raw"]))
        assert found == case["reason"], case["name"]


# Reconciliation and courier files ----------------------------------------------------------------

RECONCILE = vectors("reconcile")


def ids_of(ranges):
    """Ids as tests/vectors/README.md says they are made."""
    found = set()
    for one, end in ranges:
        if isinstance(one, list):
            for number in range(end):
                made = blake2b(packed(">Q", number), digest_size=30).digest()
                found.add(packed(">H", one[0] << 6 | number % 64) + made)
        else:
            found |= {blake2b(packed(">Q", n), digest_size=32).digest() for n in range(one, end)}
    return found


def message_of(pieces):
    return b"".join(raw_of(piece)[7:] for piece in pieces)


# This implementation never proposes what is recent.
FULL = [case for case in RECONCILE["exchanges"] if not case["initiator"]["recent"]]


@pytest.mark.parametrize("case", FULL, ids=lambda c: c["name"])
def test_an_exchange_as_initiator(case):
    """As far as lists go: where the other asks for cells, this one lists what is in the scope."""
    side, turns = case["initiator"], case["turns"]
    ids = ids_of(side["ids"])
    lacks = ids - ids_of(case["responder"]["ids"])
    assert sorted(one.hex() for one in lacks) == sorted(side["they_lack"])
    exchange = Exchange(ids, raw_of(side["salt"]))
    assert [piece.hex() for piece in exchange.open()] == turns[0]
    answer = b"".join(piece[7:] for piece in exchange.receive(message_of(turns[1])))
    assert exchange.keyed("p2pnode rc token", 8).hex() == side["token"]
    assert bool(answer) == (len(turns) > 2)
    if exchange.turn == 2:
        return  # both have the same
    kind, fields = parse_reconcile(answer)
    wanted, theirs = parse_reconcile(message_of(turns[2]))
    if wanted == kind:
        assert fields[:-1] == theirs[:-1]
        assert shorts_in(fields[-1]) == shorts_in(theirs[-1])
    else:
        assert (kind, wanted) == (6, 5)
        assert fields[:2] == theirs[:2]
        assert len(fields[3]) // 6 == theirs[2]


def test_messages_of_exchanges():
    for case in RECONCILE["messages"]:
        assert parse_reconcile(raw_of(case["raw"]))[0] == raw_of(case["raw"])[0]
    for case in RECONCILE["refused_messages"]:
        assert reason(parse_reconcile, raw_of(case["raw"])) == case["reason"], case["name"]


COURIER = json.loads((ROOT / "transports/courier/tests/courier_vectors.json").read_text())


def content(number, size):
    return shake_256(packed(">Q", number)).digest(size)


@pytest.mark.parametrize("case", COURIER["bundles"], ids=lambda c: c["name"])
def test_bundles(case):
    parcels = [(content(number, size), age) for number, size, age in case["parcels"]]
    raw = write_bundle(parcels)
    assert (len(raw), blake2b(raw, digest_size=32).hexdigest()) == (
        case["size"],
        case["blake2b_256"],
    )
    ages = {number: (content(number, size), age) for number, size, age in case["parcels"]}
    assert read_bundle(raw) == [ages[number] for number in case["order"]]


def test_damaged_bundles():
    whole = courier_record(content(1, 4096), 0)
    for case in COURIER["rejections"]:
        raw = whole[: case.get("cut", len(whole))]
        there = raw_of(case.get("bytes", ""))
        if there:
            raw = raw[: case["at"]] + there + raw[case["at"] + len(there) :]
        assert reason(read_record, raw) == case["reason"], case["name"]
