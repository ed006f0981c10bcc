"""Reconciliation by lists, and courier bundles: reconciliation.md, courier.md."""

import os
import struct

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
)

SIZES = many(between(1, 120_000), 7)
BITMAP, GROUPS, SKETCH = sized(bytes, 1, 128), sized(bytes, 1, 2048), sized(bytes, 128, 1024)
SHIFT = between(0, 32)
KINDS = {
    1: [between(1, 1), 16, bool, 8, COUNT, 16],
    2: [16],
    3: [16, bool, COUNT, GROUPS],
    4: [16, bool, SHIFT, bytes],
    5: [BITMAP, 8, COUNT, SKETCH, SIZES, bytes],
    6: [BITMAP, 8, SHIFT, bytes],
    7: [SHIFT, SIZES],
    8: [],
    9: [bytes],
    10: [SHIFT, bytes],
    11: [bool, COUNT, bytes],
}


def parse_reconcile(raw):
    refuse_unless(raw and raw[0] in KINDS, "unknown-reconcile-kind")
    kind, fields = raw[0], record(raw[1:], KINDS[raw[0]], 2**20)
    if kind == 3:
        groups = len(fields[3]) / 2
        refuse_unless(groups in [2**n for n in range(11)], "bad-group-digests")
    if kind in (4, 6, 10, 11):
        refuse_unless(len(fields[-1]) % 6 == 0, "bad-short-ids")
    if kind == 5:
        refuse_unless(len(fields[3]) in (128, 1024), "bad-sketch")
        refuse_unless(len(fields[5]) == 8 * sum(fields[4]), "bad-cells")
    if kind == 7:
        refuse_unless(fields[1], "bad-cells")
    return kind, fields


def shorts_in(raw):
    return {raw[i : i + 6] for i in range(0, len(raw), 6)}


class IdSet:
    """A set of envelope ids by leaves."""

    def __init__(self, ids):
        self.ids = set(ids)
        self.leaves = [[] for _ in range(1024)]
        for i in sorted(self.ids):
            self.leaves[int.from_bytes(i[:2], "big") >> 6].append(i)
        self.digests = [blake("p2pnode rc leaf", 32, b"".join(leaf)) for leaf in self.leaves]

    def root(self, salt):
        return digest("p2pnode rc root", salt, b"".join(self.digests), size=16)


class Exchange:
    """One exchange, either side. `they_lack` and `we_lack` are right once it is `over`."""

    def __init__(self, ids, salt=None):
        self.set, self.salt, self.over = IdSet(ids), salt or os.urandom(16), False
        self.they_lack, self.we_lack, self.turn = set(), set(), 0

    def keyed(self, person, size, content=b""):
        return blake(person, size, content, self.key)

    def meet(self, theirs, initiator):
        both = (self.salt, theirs) if initiator else (theirs, self.salt)
        self.key = digest("p2pnode rc salt", *both)
        self.short = {self.keyed("p2pnode rc short", 6, i): i for i in self.set.ids}

    def say(self, kind, *fields):
        raw = bytes([kind]) + pack(list(fields))
        parts = [raw[i : i + 16000] for i in range(0, len(raw), 16000)]
        head = self.exchange + bytes([self.turn])
        self.turn += 1
        return [head + bytes([n, len(parts)]) + part for n, part in enumerate(parts)]

    def open(self):
        self.exchange = self.salt[:4]
        root = self.set.root(self.salt)
        return self.say(1, 1, self.salt, False, bytes(8), len(self.set.ids), root)

    def compare(self, shorts, own=None):
        own = self.short if own is None else own
        self.they_lack = {i for s, i in own.items() if s not in shorts}
        self.we_lack = {s for s in shorts if s not in own}

    def receive(self, raw):
        """The pieces to answer to a whole message of the other side's."""
        kind, fields = parse_reconcile(raw)
        awaited = {0: (1,), 1: (2, 3, 4), 2: (11,), 3: (11,)}[self.turn]
        refuse_unless(kind in awaited, "unexpected-reconcile-kind")
        self.turn += 1
        return getattr(self, f"take_{kind}")(*fields)

    def take_1(self, _version, salt, _recent, _token, _count, root):
        self.exchange = salt[:4]
        self.meet(salt, False)
        if root == self.set.root(salt):
            self.over = True
            return self.say(2, self.salt)
        return self.say(4, self.salt, False, 0, b"".join(self.short))

    def take_2(self, salt):
        self.meet(salt, True)
        self.over = True
        return []

    def take_3(self, salt, recent, _count, digests):
        refuse_unless(not recent, "bad-reconcile-set")
        self.meet(salt, True)
        groups = len(digests) // 2
        width = 1024 // groups
        bits, scope, rest = 0, [], b""
        for group in range(groups):
            part = b"".join(self.set.digests[group * width : (group + 1) * width])
            differs = self.keyed("p2pnode rc group", 2, part) != digests[2 * group :][:2]
            bits = bits << 1 | differs
            if differs:
                for leaf in self.set.leaves[group * width : (group + 1) * width]:
                    scope += leaf
            else:
                rest += part
        size = -(-groups // 8)
        bitmap = (bits << size * 8 - groups).to_bytes(size, "big")
        shorts = b"".join(self.keyed("p2pnode rc short", 6, i) for i in scope)
        return self.say(6, bitmap, self.keyed("p2pnode rc rest", 8, rest), 0, shorts)

    def take_4(self, salt, recent, _shift, shorts):
        refuse_unless(not recent, "bad-reconcile-set")
        self.meet(salt, True)
        self.compare(shorts_in(shorts))
        self.over = True
        return self.say(11, _shift == 0, len(self.they_lack), b"".join(self.we_lack))

    def take_11(self, _complete, _offered, shorts):
        self.they_lack = {self.short[s] for s in shorts_in(shorts) if s in self.short}
        self.over = True
        return []


SLOT = 4128


def courier_record(envelope, age):
    slots = len(envelope) // 4096
    head = b"p2p\1" + struct.pack(">HH", age, slots)
    checksum = blake("p2pnode courier", 24, head + envelope)
    return (head + checksum + envelope).ljust(slots * SLOT, b"\0")


def write_bundle(envelopes):
    """A bundle of pairs of envelope and age."""
    ordered = sorted(envelopes, key=lambda pair: blake("p2pnode order", 16, pair[0]))
    raw = b"".join(courier_record(*pair) for pair in ordered)
    return raw.ljust(next(n * SLOT for n in (4, 16, 64, 256) if n * SLOT >= len(raw)), b"\0")


def read_record(raw):
    refuse_unless(len(raw) >= 32, "too-short")
    refuse_unless(raw[:3] == b"p2p", "bad-mark")
    refuse_unless(raw[3] == 1, "unknown-version")
    age, slots = struct.unpack(">HH", raw[4:8])
    refuse_unless(slots in (1, 4, 16), "bad-size")
    envelope = raw[32 : 32 + slots * 4096]
    refuse_unless(len(envelope) == slots * 4096, "too-short")
    wanted = blake("p2pnode courier", 24, raw[:8] + envelope)
    refuse_unless(wanted == raw[8:32], "bad-checksum")
    return envelope, age


def read_bundle(raw):
    """Pairs of envelope and age, and the reasons of what is damaged, in their order."""
    found, at = [], 0
    while at < len(raw):
        try:
            found.append(read_record(raw[at:]))
            at += len(found[-1][0]) // 4096 * SLOT
        except Refused as refusal:
            if any(raw[at : at + SLOT]):
                found.append((at, str(refusal)))
            at += SLOT
    return found
