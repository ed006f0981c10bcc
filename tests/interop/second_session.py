"""Envelopes, sessions and resets: envelope.md, session.md, reset.md."""

import os
import struct

from tests.interop.second_bytes import (
    Dice,
    Refused,
    between,
    blake,
    digest,
    hkdf,
    kem_open,
    kem_public,
    pack,
    parse_certificate,
    record,
    refuse_unless,
    seal,
    split,
    unseal,
    x25519,
    x25519_public,
)

SIZES = (4096, 16384, 65536)
RUN, REACH = 64, 25_000


def check_envelope(raw):
    refuse_unless(len(raw) in SIZES, "bad-size")
    refuse_unless(raw[0] == 1, "unknown-version")
    refuse_unless(raw[17] <= 4, "bad-lifetime")


def envelope_id(raw):
    return blake("p2pnode envelope", 32, raw)


def token_hash(token):
    return digest("p2pnode token#", token, size=16)


def make_envelope(tag, lifetime, token, nonce, header_key, header, body_key, content):
    size = next(s for s in SIZES if len(content) <= s - 2426)
    outside = b"\1" + tag + bytes([lifetime]) + token_hash(token) + nonce
    front = outside + seal(header_key, nonce, header, outside)
    body = (struct.pack(">I", len(content)) + content).ljust(size - 2422, b"\0")
    return front + seal(body_key, nonce, body, front)


def open_header(raw, header_key):
    return unseal(header_key, raw[34:58], raw[58:2406], raw[:58])


def open_body(raw, body_key):
    body = unseal(body_key, raw[34:58], raw[2406:], raw[:2406])
    length = struct.unpack(">I", body[:4])[0]
    refuse_unless(4 + length <= len(body) and not any(body[4 + length :]), "bad-padding")
    return body[4 : 4 + length]


def first(secret, a, b):
    raw = hkdf(digest("p2pnode first", a, b), secret, "p2pnode session 1", 168)
    return split(raw, 32, 32, 32, 32, 32, 8)


def root_step(root, dh, kem, k, r):
    context = digest("p2pnode ratchet", k, r)
    return split(hkdf(root, dh + kem + context, "p2pnode root step 1", 96), 32, 32, 32)


def chain_step(key):
    return split(blake("p2pnode chain", 64, key=key), 32, 32)


def message_keys(key):
    return split(blake("p2pnode body", 48, key=key), 32, 16)


def start_digest(r, pn):
    return digest("p2pnode chain 0", r, struct.pack(">I", pn))


class Tags:
    """Tag and header key of each index of a chain."""

    def __init__(self, seed):
        self.block, self.steps = seed, []

    def at(self, n):
        while len(self.steps) <= n:
            if len(self.steps) % 256 == 0:
                self.block, step = split(blake("p2pnode block", 64, key=self.block), 32, 32)
            else:
                step = blake("p2pnode step", 32, key=self.steps[-1])
            self.steps.append(step)
        return split(blake("p2pnode header", 48, key=self.steps[n]), 16, 32)


class Chain:
    """A chain of the other side's, as far as it was opened."""

    def __init__(self, tags, key=None, start=None):
        self.tags, self.key, self.start, self.next = Tags(tags), key, start, 0
        self.skipped, self.listed, self.run = {}, {}, 0
        self.extend()

    def extend(self):
        while self.run - self.next < RUN:
            self.run += RUN
        blocks = range(256 * (-(-self.run // 256)), self.next + REACH + 1, 256)
        for n in (*range(self.next, self.run), *blocks):
            self.listed.setdefault(self.tags.at(n)[0], n)

    def walk(self, n):
        """Message key of index n, chain key after it, and the message keys passed over."""
        key, passed = self.key, {}
        for index in range(self.next, n + 1):
            key, message = chain_step(key)
            passed[index] = message
        return passed.pop(n), key, passed

    def skip(self, key, passed, upto):
        self.skipped.update(passed)
        for n in passed:
            self.listed[self.tags.at(n)[0]] = n
        self.key, self.next = key, upto


class Session:
    """One session; `own` has dh and kem (the seed), `theirs` is 1,216 bytes."""

    def __init__(self, secret, alice, own, theirs, dice=None):
        self.dice = dice or Dice()
        public = x25519_public(own.dh) + kem_public(own.kem)
        names = (public, theirs) if alice else (theirs, public)
        self.root, alices, bobs, bob_key, bob_next, self.handle = first(secret, *names)
        self.sent = self.opened = self.before = self.n = self.pn = 0
        self.own, self.unanswered, self.old = None, None, []
        if alice:
            start = start_digest(theirs + bytes(1088), 0)
            self.current, self.coming = Chain(bobs, bob_key, start), Chain(bob_next)
            self.unanswered, self.next_tags = theirs, alices
            self.turn()
        else:
            self.current, self.coming = None, Chain(alices)
            self.own, self.r = (own.dh, own.kem), public + bytes(1088)
            self.key, self.tags, self.next_tags = bob_key, Tags(bobs), bob_next

    def turn(self):
        """Our half of a turn."""
        theirs = self.unanswered
        dh, kem = self.dice.take(32), self.dice.take(64)
        secret, ciphertext = self.dice.encapsulate(theirs[32:])
        self.own, self.r = (dh, kem), x25519_public(dh) + kem_public(kem) + ciphertext
        self.tags, self.pn, self.n = Tags(self.next_tags), self.n, 0
        stepped = root_step(self.root, x25519(dh, theirs[:32]), secret, theirs, self.r)
        self.root, self.key, self.next_tags = stepped
        self.unanswered = None

    def seal(self, content, lifetime=3):
        if self.unanswered:
            self.turn()
        tag, header_key = self.tags.at(self.n)
        self.key, message = chain_step(self.key)
        body_key, token = message_keys(message)
        self.sent += 1
        header = self.r + struct.pack(">IIQ12x", self.n, self.pn, self.sent)
        self.n += 1
        nonce = self.dice.take(24)
        return make_envelope(tag, lifetime, token, nonce, header_key, header, body_key, content)

    def listed_tags(self):
        """All tags that are listed."""
        chains = (*self.old, self.current, self.coming)
        return [tag for chain in chains if chain for tag in chain.listed]

    def open(self, raw):
        """The content; unknown-tag when it is not for this session."""
        check_envelope(raw)
        for chain in (self.coming, self.current, *self.old):
            if chain and raw[1:17] in chain.listed:
                return self.open_in(chain, chain.listed[raw[1:17]], raw)
        raise Refused("unknown-tag")

    def open_in(self, chain, row, raw):
        header = open_header(raw, chain.tags.at(row)[1])
        refuse_unless(not any(header[-12:]), "bad-header")
        r, (n, pn, count) = header[:2304], struct.unpack(">IIQ", header[2304:2320])
        refuse_unless(n == row, "wrong-index")
        if n in chain.skipped:
            refuse_unless(0 < count < self.opened, "bad-count")
            content = self.body(raw, chain.skipped[n])
            del chain.skipped[n]
        elif chain is self.coming:
            content = self.open_turn(chain, n, pn, count, r, raw)
        else:
            refuse_unless(chain is self.current and n >= chain.next, "key-gone")
            refuse_unless(start_digest(r, pn) == chain.start, "chain-changed")
            refuse_unless(count == self.before + n + 1, "bad-count")
            refuse_unless(n - chain.next <= REACH, "jump-too-far")
            message, key, passed = chain.walk(n)
            content = self.body(raw, message)
            chain.skip(key, passed, n + 1)
            chain.extend()
        del chain.listed[raw[1:17]]
        self.opened = max(self.opened, count)
        return content

    def open_turn(self, chain, n, pn, count, r, raw):
        refuse_unless(self.own, "out-of-turn")
        ended = self.current
        refuse_unless(pn >= ended.next if ended else pn == 0, "bad-previous")
        refuse_unless(count == self.before + pn + n + 1, "bad-count")
        refuse_unless(n <= REACH, "jump-too-far")
        shared = x25519(self.own[0], r[:32]), kem_open(self.own[1], r[1216:])
        root, chain.key, tags = root_step(self.root, *shared, self.r[:1216], r)
        message, key, passed = chain.walk(n)
        content = self.body(raw, message)
        self.dice.encapsulate(r[32:1216])
        if ended:
            if pn > ended.next:
                last, skip_key, skipped = ended.walk(min(pn, ended.next + REACH) - 1)
                ended.skip(skip_key, {**skipped, ended.next + len(skipped): last}, pn)
            ended.listed = {t: i for t, i in ended.listed.items() if i in ended.skipped}
            self.old.append(ended)
        chain.skip(key, passed, n + 1)
        chain.start = start_digest(r, pn)
        chain.extend()
        self.before += pn
        self.root, self.current, self.coming = root, chain, Chain(tags)
        self.own, self.unanswered = None, r[:1216]
        return content

    def body(self, raw, message):
        body_key, token = message_keys(message)
        content = open_body(raw, body_key)
        refuse_unless(token_hash(token) == raw[18:34], "bad-token")
        return content


class Generation:
    """Reset keys of a pair: the secret, our X25519 key and KEM seed, their 1,216 bytes."""

    def __init__(self, secret, alice, dh, kem, theirs):
        self.secret, self.alice, self.dh, self.kem, self.theirs = secret, alice, dh, kem, theirs
        self.public = x25519_public(dh) + kem_public(kem)

    def k(self, label, content, size):
        return blake("p2pnode rst " + label, size, content, self.secret)

    def tag(self, alice, n):
        return self.k("tag", bytes([alice, n]), 16)

    def head(self, alice, n, nonce):
        return self.k("head", bytes([alice, n]) + nonce, 32)


class Reset:
    """One reset, as the one who begins or the one who takes it."""

    def __init__(self, generation, begins):
        self.generation = generation
        self.role = generation.alice if begins else not generation.alice
        keys = (generation.public, generation.theirs)
        pair = keys if begins else keys[::-1]
        self.pair = digest("p2pnode rst pair", *pair, bytes([self.role]))

    @classmethod
    def begin(cls, generation, certificate, restore, dice=None):
        self, dice = cls(generation, True), dice or Dice()
        self.dh, self.kem = dice.take(32), dice.take(64)
        self.next_dh, self.next_kem = dice.take(32), dice.take(64)
        secret, ciphertext = dice.encapsulate(generation.theirs[32:])
        self.public = x25519_public(self.dh) + kem_public(self.kem)
        self.header = (self.public + ciphertext).ljust(2332, b"\0")
        following = x25519_public(self.next_dh), kem_public(self.next_kem)
        self.record = pack([1, restore, certificate, *following])
        static = x25519(generation.dh, generation.theirs[:32])
        self.agree(x25519(self.dh, generation.theirs[:32]), static, secret)
        self.content = self.record + self.mac()
        return self

    def agree(self, ephemeral, static, secret):
        self.static = static
        self.material = ephemeral + static + secret + self.generation.secret
        salt = digest("p2pnode rst seed", self.pair, self.header)
        self.seed = hkdf(salt, self.material, "p2pnode reset 1 body")

    def mac(self):
        self.transcript = digest("p2pnode rst all", self.pair, self.header, self.record)
        key = hkdf(self.generation.secret, self.static, "p2pnode reset 1 mac")
        return blake("p2pnode rst mac", 32, self.transcript, key)

    def keys(self, nonce):
        return split(blake("p2pnode rst body", 48, nonce, self.seed), 32, 16)

    def key(self, purpose):
        return hkdf(self.transcript, self.material, "p2pnode reset 1 " + purpose)

    def envelope(self, n, dice=None):
        nonce, side = (dice or Dice()).take(24), self.role
        body, token = self.keys(nonce)
        head = self.generation.head(side, n, nonce)
        tag = self.generation.tag(side, n)
        return make_envelope(tag, 4, token, nonce, head, self.header, body, self.content)

    @classmethod
    def take(cls, generation, account, raw):
        check_envelope(raw)
        self = cls(generation, False)
        tags = {generation.tag(self.role, n): n for n in range(16)}
        refuse_unless(raw[1:17] in tags, "unknown-tag")
        nonce = raw[34:58]
        head = generation.head(self.role, tags[raw[1:17]], nonce)
        self.header = open_header(raw, head)
        refuse_unless(not any(self.header[-28:]), "bad-header")
        self.public = self.header[:1216]
        ephemeral = x25519(generation.dh, self.public[:32])
        static = x25519(generation.dh, generation.theirs[:32])
        self.agree(ephemeral, static, kem_open(generation.kem, self.header[1216:2304]))
        body, token = self.keys(nonce)
        content = open_body(raw, body)
        refuse_unless(token_hash(token) == raw[18:34], "bad-token")
        self.record = content[:-32]
        refuse_unless(content[-32:] == self.mac(), "wrong-proof")
        fields = record(self.record, [between(1, 1), 16, bytes, 32, 1184])
        _, self.restore, certificate, dh, kem = fields
        refuse_unless(parse_certificate(certificate)[0] == account, "foreign-account")
        x25519(os.urandom(32), dh)
        Dice().encapsulate(kem)
        self.following = dh + kem
        return self
