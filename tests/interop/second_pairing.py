"""Pairing over a link and by mutual scan, for the second implementation: pairing.md."""

import base64
import hashlib
import hmac
import os
import struct
import time

from tests.interop.second_bytes import (
    Dice,
    between,
    blake,
    digest,
    fits,
    hkdf,
    kem_open,
    kem_public,
    pack,
    parse_certificate,
    record,
    refuse_unless,
    sized,
    unpack,
    x25519,
    x25519_public,
)
from tests.interop.second_session import make_envelope, open_body, open_header


def parse_code(uri):
    """The payload of a code."""
    body = uri[8:]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567"
    refuse_unless(len(uri) <= 154 and uri[:8].upper() == "P2PNODE:" and body, "not-a-code")
    refuse_unless(all(c in letters for c in body), "not-a-code")
    bits = "".join(f"{letters.index(c.upper()) if c.isalpha() else ord(c) - 24:05b}" for c in body)
    payload = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))
    refuse_unless(payload[:1] == b"\1" and payload[1:2] in b"\0\1", "code-too-new")
    refuse_unless(len(uri) == (151 if payload[1] else 95), "bad-code")
    refuse_unless("1" not in bits[len(payload) * 8 :], "bad-code")
    if payload[1]:
        key, checksum, version = payload[54:86], payload[86:88], payload[88:]
        wanted = hashlib.sha3_256(b".onion checksum" + key + version).digest()[:2]
        refuse_unless(version == b"\3" and checksum == wanted, "bad-onion")
    return payload


def make_code(reveal, secret, expires):
    payload = b"\1\0" + digest("p2pnode code", b"\1", reveal) + secret + struct.pack(">I", expires)
    return payload, "P2PNODE:" + base64.b32encode(payload).decode().rstrip("=")


class Keys:
    """What one side draws for one pairing."""

    def __init__(self, identity, dice):
        self.dh, self.kem = dice.take(32), dice.take(64)
        self.reset_dh, self.reset_kem = dice.take(32), dice.take(64)
        self.public = x25519_public(self.dh) + kem_public(self.kem)
        reset = x25519_public(self.reset_dh), kem_public(self.reset_kem)
        parts = self.public[:32], self.public[32:], *reset
        self.reveal = pack([1, identity.certificate, *parts, identity.hint])


class Reveal:
    def __init__(self, raw, own_account):
        shape = [between(1, 1), bytes, 32, 1184, 32, 1184, sized(str, 0, 64)]
        _, certificate, dh, kem, reset_dh, reset_kem, self.hint = record(raw, shape, 3072)
        self.account, _, self.static = parse_certificate(certificate)
        refuse_unless(self.account != own_account, "own-account")
        for public in (self.static, dh, reset_dh):
            x25519(os.urandom(32), public)
        for public in (kem, reset_kem):
            Dice().encapsulate(public)
        self.public, self.reset = dh + kem, reset_dh + reset_kem


def agreement(identity, keys, theirs, alice):
    """ee, es, se in one row."""
    ee = x25519(keys.dh, theirs.public[:32])
    mixed = x25519(keys.dh, theirs.static), x25519(identity.static, theirs.public[:32])
    return ee + b"".join(mixed if alice else mixed[::-1])


class Pairing:
    """Pairing over a link, either side: a joiner (with the other's code) or a shower."""

    def __init__(self, identity, code="", dice=None, expires=None):
        self.dice, self.identity = dice or Dice(), identity
        self.alice, self.keys = bool(code), Keys(identity, self.dice)
        self.theirs, self.words, self.over, self.paired, self.heard = None, None, False, False, []
        self.confirming = None
        if self.alice:
            self.payload = parse_code(code)
        else:
            expires = int(time.time()) // 60 + 10 if expires is None else expires
            self.payload, self.code = make_code(self.keys.reveal, self.dice.take(16), expires)
        self.secret = self.payload[34:50]
        self.link_secret = digest("p2pnode codelink", self.secret)
        self.nonce = self.dice.take(32)
        self.commitment = digest("p2pnode join", self.keys.reveal, self.nonce)
        self.last = pack([1, self.commitment]) if self.alice else b""

    def receive(self, raw):
        """What to answer; a refusal voids the code."""
        if raw in self.heard:
            return self.last
        kinds = {
            1: [32],
            2: [bytes, 32],
            3: [bytes, 32, 1088],
            4: [1088, 32],
            5: [32],
            6: [],
            7: [between(0, 1), 32],
        }
        value = unpack(raw)
        known = isinstance(value, list) and value and type(value[0]) is int and value[0] in kinds
        refuse_unless(known and fits(value[1:], kinds[value[0]]), "bad-record")
        kind, *fields = value
        refuse_unless(kind != 6, "refused-by-peer")
        if kind == 7 and self.confirming:
            return self.confirmed(*fields)
        refuse_unless(kind == self.awaited(), "unexpected-message")
        answer = getattr(self, f"take_{kind}")(*fields)
        self.heard.append(raw)
        self.last = pack(answer) if answer else b""
        return self.last

    def awaited(self):
        return (2, 4, 7)[len(self.heard)] if self.alice else (1, 3, 5, 7)[len(self.heard)]

    def take_1(self, commitment):
        self.their_commitment = commitment
        return [2, self.keys.reveal, self.nonce]

    def take_2(self, reveal, nonce):
        fit = digest("p2pnode code", b"\1", reveal) == self.payload[2:34]
        refuse_unless(fit, "wrong-commitment")
        self.theirs = Reveal(reveal, self.identity.account)
        self.own_secret, self.own_ciphertext = self.dice.encapsulate(self.theirs.public[32:])
        own = self.commitment, reveal, nonce, self.keys.reveal, self.nonce
        self.opening = digest("p2pnode opening", self.payload, *own)
        return [3, self.keys.reveal, self.nonce, self.own_ciphertext]

    def take_3(self, reveal, nonce, ciphertext):
        fit = digest("p2pnode join", reveal, nonce) == self.their_commitment
        refuse_unless(fit, "wrong-commitment")
        self.theirs = Reveal(reveal, self.identity.account)
        own_secret, own_ciphertext = self.dice.encapsulate(self.theirs.public[32:])
        seen = self.their_commitment, self.keys.reveal, self.nonce, reveal, nonce
        self.opening = digest("p2pnode opening", self.payload, *seen)
        secret = kem_open(self.keys.kem, ciphertext)
        self.agree(ciphertext, own_ciphertext, secret, own_secret)
        return [4, own_ciphertext, self.key("proof bob")]

    def take_4(self, ciphertext, proof):
        secret = kem_open(self.keys.kem, ciphertext)
        self.agree(self.own_ciphertext, ciphertext, self.own_secret, secret)
        refuse_unless(hmac.compare_digest(proof, self.key("proof bob")), "wrong-proof")
        self.words = digest("p2pnode sas", self.opening, size=5)
        return [5, self.key("proof alice")]

    def take_5(self, proof):
        refuse_unless(hmac.compare_digest(proof, self.key("proof alice")), "wrong-proof")
        self.words = digest("p2pnode sas", self.opening, size=5)

    def agree(self, joiners, showers, joiners_secret, showers_secret):
        shared = agreement(self.identity, self.keys, self.theirs, self.alice)
        self.transcript = digest("p2pnode pairing", b"link", self.opening, joiners, showers)
        self.material = shared + joiners_secret + showers_secret + self.secret
        self.confirming = self.key("confirm")

    def key(self, purpose):
        return hkdf(self.transcript, self.material, "p2pnode pairing 1 " + purpose)

    def confirmation(self, alice, has_yours):
        mac = blake("p2pnode confirm", 32, bytes([alice, has_yours]), self.confirming)
        return pack([7, has_yours, mac])

    def confirmed(self, has_yours, mac):
        wanted = unpack(self.confirmation(not self.alice, has_yours))[2]
        refuse_unless(hmac.compare_digest(mac, wanted), "not-authentic")
        self.words = digest("p2pnode sas", self.opening, size=5)
        self.paired = True
        return self.confirmation(self.alice, 1) if not has_yours else b""


class Mutual:
    """One side of a mutual scan; `keys` carry the reveal behind the own code."""

    def __init__(self, identity, keys, own, theirs, dice=None):
        self.identity, self.keys, self.dice = identity, keys, dice or Dice()
        self.alice = own[2:34] < theirs[2:34]
        payloads = (own, theirs) if self.alice else (theirs, own)
        self.own, self.scanned, self.payloads = own, theirs, payloads
        self.root = digest("p2pnode mutual", *payloads)
        self.link_secret = digest("p2pnode mutlink", *payloads)
        self.theirs, self.early, self.done = None, [], False

    def k(self, label, size, alice, flight):
        return blake("p2pnode mut " + label, size, bytes([alice, flight]), self.root)

    def send(self, flight, content):
        tag, token = (self.k(x, 16, self.alice, flight) for x in ("tag", "tokn"))
        head, body = (self.k(x, 32, self.alice, flight) for x in ("head", "body"))
        raw = struct.pack(">H", len(content)) + content
        nonce, header = self.dice.take(24), raw[:2332].ljust(2332, b"\0")
        return make_envelope(tag, 4, token, nonce, head, header, body, raw[2332:])

    def start(self):
        return self.send(1, self.keys.reveal)

    def receive(self, raw):
        """Envelopes to send."""
        flight = {self.k("tag", 16, not self.alice, n): n for n in (1, 2)}.get(raw[1:17])
        refuse_unless(flight, "unknown-tag")
        head, body = (self.k(x, 32, not self.alice, flight) for x in ("head", "body"))
        inside = open_header(raw, head) + open_body(raw, body)
        length = struct.unpack(">H", inside[:2])[0]
        refuse_unless(2 + length <= len(inside) and not any(inside[2 + length :]), "bad-padding")
        return (self.first if flight == 1 else self.second)(inside[2 : 2 + length])

    def first(self, reveal):
        if self.theirs:
            return []
        wanted = digest("p2pnode code", b"\1", reveal)
        refuse_unless(wanted == self.scanned[2:34], "wrong-commitment")
        self.theirs = Reveal(reveal, self.identity.account)
        reveals = (self.keys.reveal, reveal)
        reveals = reveals if self.alice else reveals[::-1]
        self.opening = digest("p2pnode mut open", *self.payloads, *reveals)
        self.shared = agreement(self.identity, self.keys, self.theirs, self.alice)
        self.sent = self.dice.encapsulate(self.theirs.public[32:])
        out = [self.send(2, pack([self.sent[1], self.proof(self.alice, *self.sent)]))]
        for content in self.early:
            self.second(content)
        return out

    def second(self, content):
        ciphertext, proof = record(content, [1088, 32])
        if not self.theirs:
            self.early = [*self.early[-3:], content]
            return []
        secret = kem_open(self.keys.kem, ciphertext)
        refuse_unless(proof == self.proof(not self.alice, secret, ciphertext), "wrong-proof")
        both = [self.sent, (secret, ciphertext)]
        (a, to_b), (b, to_a) = both if self.alice else both[::-1]
        self.transcript = digest("p2pnode pairing", b"mutual", self.opening, to_b, to_a)
        self.material = self.shared + a + b + self.codes()
        self.done = True
        return []

    def codes(self):
        return b"".join(payload[34:50] for payload in self.payloads)

    def proof(self, alice, secret, ciphertext):
        salt = digest("p2pnode mutproof", self.opening, ciphertext)
        info = "p2pnode pairing 1 proof " + ("alice" if alice else "bob")
        return hkdf(salt, self.shared + secret + self.codes(), info)

    def key(self, purpose):
        return hkdf(self.transcript, self.material, "p2pnode pairing 1 " + purpose)
