"""Handshake, frames and messages of links, for the second implementation: link.md."""

import hashlib
import hmac
import os
import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.interop.second_bytes import (
    COUNT,
    Refused,
    between,
    blake,
    digest,
    many,
    pack,
    record,
    refuse_unless,
    sized,
    x25519,
    x25519_public,
)
from tests.interop.second_session import SIZES

PROLOGUE = b"p2pnode link 1"
PAGES = [8 * marks for marks in (64, 128, 256, 512, 1024, 2048)]
STATEMENT = [8, COUNT, COUNT]
ENTRY = [sized(str, 1, 16), many(sized(bytes, 1, 256), 16)]


class Noise:
    """Noise_NN_25519_ChaChaPoly_BLAKE2b, revision 34."""

    NAME = b"Noise_NN_25519_ChaChaPoly_BLAKE2b"

    def __init__(self, private, prologue=PROLOGUE):
        self.private, self.public = private, x25519_public(private)
        self.h = self.ck = self.NAME.ljust(64, b"\0")
        self.mix(prologue)

    def mix(self, part):
        self.h = hashlib.blake2b(self.h + part).digest()

    def expand(self, material):
        temporary = hmac.digest(self.ck, material, "blake2b")
        one = hmac.digest(temporary, b"\1", "blake2b")
        return one, hmac.digest(temporary, one + b"\2", "blake2b")

    def first(self, e):
        refuse_unless(len(e) >= 32, "handshake-too-short")
        x25519(self.private, e[:32])
        self.mix(e[:32])
        self.mix(e[32:])
        refuse_unless(len(e) == 32, "handshake-payload")
        return e

    def second(self, e, tag=None):
        """Frame 2: made by the responder, who has no tag yet, or read by the initiator."""
        self.mix(e)
        self.ck, key = self.expand(x25519(self.private, self.other))
        aead, nonce = ChaCha20Poly1305(key[:32]), bytes(12)
        tag = tag if tag is not None else aead.encrypt(nonce, b"", self.h)
        try:
            payload = aead.decrypt(nonce, tag, self.h)
        except InvalidTag:
            raise Refused("not-authentic") from None
        self.mix(tag)
        refuse_unless(not payload, "handshake-payload")
        self.keys = [key[:32] for key in self.expand(b"")]
        return e + tag

    def answer(self, frame):
        """The responder's part: frame 1 in, frame 2 out."""
        self.other = self.first(frame)
        return self.second(self.public)

    def finish(self, frame):
        """The initiator's part: frame 2 in."""
        refuse_unless(len(frame) >= 48, "handshake-too-short")
        self.other = frame[:32]
        self.second(self.other, frame[32:])


def link_first(secret):
    return blake("p2pnode link 0", 32, key=secret)


def link_step(key):
    return blake("p2pnode lk step", 32, key=key)


class LinkKey:
    """A candidate: its current key, the one before if there is one, and its index.

    steps: False for carry passes and reset marks, whose key stays.
    """

    def __init__(self, key, alice, *, index=0, previous=b"", rank=0, steps=True):
        self.key, self.alice, self.rank = key, alice, rank
        self.index, self.previous, self.steps = index, previous, steps

    def accepted(self):
        keys = {self.index: self.key}
        if self.steps:
            keys[self.index + 1] = link_step(self.key)
        return keys | ({self.index - 1: self.previous} if self.previous else {})

    def step(self, proven):
        while self.steps and self.index < proven + 1:
            self.index, self.previous, self.key = self.index + 1, self.key, link_step(self.key)


def mark(key, letter, side, h):
    return blake("p2pnode mark " + letter, 8, bytes([side]) + h, key)


def proof(key, letter, side, h, pages):
    hashed = digest("p2pnode lk pages", *pages)
    return blake("p2pnode proof " + letter, 32, bytes([side]) + h + hashed, key)


def page_of(marks, size):
    filled = [*marks, *(os.urandom(8) for _ in range(size - len(marks)))]
    secrets.SystemRandom().shuffle(filled)
    return b"".join(filled)


def random_proof():
    return os.urandom(32)


def marks_in(page):
    return {page[i : i + 8] for i in range(0, len(page), 8)}


class Cipher:
    """Frames of one direction, epoch by epoch; a sequence is taken once."""

    def __init__(self, key, sequence=0):
        self.key, self.epoch, self.sequence = key, 0, sequence

    def seal(self, plaintext):
        head = struct.pack(">HHI", self.epoch, self.sequence >> 32, self.sequence & 0xFFFFFFFF)
        self.sequence += 1
        return head + ChaCha20Poly1305(self.key).encrypt(bytes(4) + head, plaintext, head)

    def open(self, frame, sequence=None):
        refuse_unless(len(frame) >= 24, "frame-too-short")
        refuse_unless(len(frame) <= 66560, "frame-too-long")
        epoch, number = struct.unpack(">H", frame[:2])[0], int.from_bytes(frame[2:8], "big")
        if sequence is not None:
            refuse_unless((epoch, number) == (0, sequence), "unexpected-frame")
        try:
            if epoch == self.epoch + 1:
                key = rekey(self.key)
                plain = ChaCha20Poly1305(key).decrypt(bytes(4) + frame[:8], frame[8:], frame[:8])
                self.key, self.epoch = key, epoch
                return plain
            return ChaCha20Poly1305(self.key).decrypt(bytes(4) + frame[:8], frame[8:], frame[:8])
        except InvalidTag:
            raise Refused("not-authentic") from None


def rekey(key):
    return ChaCha20Poly1305(key).encrypt(bytes(4) + b"\xff" * 8, bytes(32), b"")[:32]


class Handshake:
    """Frames 1 to 6, either side; `peer` is the candidate that was proven, or nothing."""

    def __init__(self, candidates, private=None, marks=256):
        self.noise = Noise(private or os.urandom(32))
        self.candidates, self.size, self.peer, self.proven = candidates, marks, None, b""

    def directions(self, initiator):
        keys = [Cipher(blake("p2pnode lk recog", 32, key=k)) for k in self.noise.keys]
        self.out, self.into = keys if initiator else keys[::-1]
        self.own = self.noise.keys if initiator else self.noise.keys[::-1]

    def stand(self):
        """The ciphers of the standing link, out and in."""
        if self.proven:
            keys = [blake("p2pnode lk known", 32, k, self.proven) for k in self.own]
        else:
            keys = [blake("p2pnode lk alone", 32, key=k) for k in self.own]
        return Cipher(keys[0], 2), Cipher(keys[1], 2)

    def initiate(self):
        """Yields frames to send, is sent frames."""
        answer = yield self.noise.public
        self.noise.first(self.noise.public)
        self.noise.finish(answer)
        self.directions(True)
        h = self.noise.h
        page = page_of([mark(c.key, "i", c.alice, h) for c in self.candidates], self.size)
        answer = self.into.open((yield self.out.seal(page)), 0)
        refuse_unless(len(answer) == len(page), "bad-page-size")
        theirs = marks_in(answer)
        found = [c for c in self.candidates if mark(c.key, "r", not c.alice, h) in theirs]
        best = min(found, key=lambda c: (-c.rank, mark(c.key, "r", not c.alice, h)), default=None)
        pages = page, answer
        shown = proof(best.key, "i", best.alice, h, pages) if best else random_proof()
        theirs = self.into.open((yield self.out.seal(shown)), 1)
        refuse_unless(len(theirs) == 32, "bad-proof-size")
        if best and hmac.compare_digest(theirs, proof(best.key, "r", not best.alice, h, pages)):
            self.peer, self.proven = best, best.key
            best.step(best.index)
        yield b""

    def respond(self):
        """Is sent frames (the first one after starting), yields frames to send."""
        frame = yield b""
        frame = yield self.noise.answer(frame)
        self.directions(False)
        h = self.noise.h
        page = self.into.open(frame, 0)
        refuse_unless(len(page) in PAGES, "bad-page-size")
        theirs, found = marks_in(page), []
        for candidate in self.candidates:
            for index, key in candidate.accepted().items():
                if mark(key, "i", not candidate.alice, h) in theirs:
                    found.append((candidate, index, key))
        marks = [mark(key, "r", c.alice, h) for c, _, key in found]
        answer = page_of(marks, len(page) // 8)
        shown = self.into.open((yield self.out.seal(answer)), 1)
        refuse_unless(len(shown) == 32, "bad-proof-size")
        answered = random_proof()
        for candidate, index, key in found:
            if hmac.compare_digest(shown, proof(key, "i", not candidate.alice, h, (page, answer))):
                self.peer, self.proven = candidate, key
                candidate.step(index)
                answered = proof(key, "r", candidate.alice, h, (page, answer))
        yield self.out.seal(answered)


def ids_in(raw):
    refuse_unless(len(raw) % 32 == 0 and 1 <= len(raw) // 32 <= 512, "bad-ids")
    return [raw[i : i + 32] for i in range(0, len(raw), 32)]


def parse_hello(body):
    refuse_unless(len(body) == 1023, "bad-hello-size")
    length = struct.unpack(">H", body[:2])[0]
    refuse_unless(2 + length <= len(body) and not any(body[2 + length :]), "bad-padding")
    shape = [between(1, 65535), between(0, 2**32 - 1), many(STATEMENT, 16)]
    return record(body[2 : 2 + length], shape)


def parse_message(raw):
    """Kind and fields of a link message; an unknown kind has none."""
    refuse_unless(raw, "empty-message")
    kind, body = raw[0], raw[1:]
    if kind in (1, 2):
        refuse_unless(len(body) == 8, "bad-token")
    elif kind == 3:
        return kind, parse_hello(body)
    elif kind == 4:
        refuse_unless(len(body) - 2 in SIZES, "bad-envelope-size")
        return kind, [int.from_bytes(body[:2], "big"), body[2:]]
    elif kind in (5, 6, 7, 9):
        return kind, ids_in(body)
    elif kind == 8:
        refuse_unless(body, "bad-refusal")
        return kind, [body[0], ids_in(body[1:])]
    elif kind in (10, 13):
        reason = "bad-pairing-size" if kind == 10 else "bad-reconcile-size"
        refuse_unless(1 <= len(body) <= 16384, reason)
    elif kind == 11:
        return kind, record(body, [many(ENTRY, 8)])
    elif kind in (12, 14, 16, 18):
        size, reason = {
            12: (1, "bad-bye"),
            14: (16, "bad-work"),
            16: (32, "bad-carry-pass"),
            18: (8, "bad-addresses-kept"),
        }[kind]
        refuse_unless(len(body) == size, reason)
    elif kind == 15:
        refuse_unless(len(body) == 2 and any(body), "bad-credit")
    elif kind == 17:
        refuse_unless(len(body) % 48 == 0 and 1 <= len(body) // 48 <= 512, "bad-delivered")
    elif kind == 19:
        refuse_unless(len(body) == 36 + 4096, "bad-piece-size")
        refuse_unless(body[34] in (4, 16) and body[35] < body[34], "bad-piece")
    elif kind == 20:
        refuse_unless(len(body) == 33 and 1 <= body[32] <= 15, "bad-held")
    return kind, [body]


def hello(statements=(), features=0):
    raw = pack([1, features, [list(s) for s in statements]])
    return (b"\3" + struct.pack(">H", len(raw)) + raw).ljust(1024, b"\0")
