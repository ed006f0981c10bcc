"""A second implementation of the protocol, written from docs/protocol alone: a node on the LAN.

It shares no code with p2pnode, and is there to keep the documents honest: what these modules do, a
stranger can do who has nothing but the pages and the frozen vectors. Where they must change, a page
must change before. Everything is in memory, blocks, and is not erased: good for nothing but this.

`second_bytes` has notation, records and identities, `second_pairing` codes, pairings and mutual
scans, `second_session` envelopes, sessions, resets, `second_link` handshake, frames and messages,
`second_custody` reconciliation and courier bundles; here are frames over TCP and what is said on
links with a contact.
"""

import os
import socket
import struct
import time
from contextlib import suppress

from tests.interop.second_bytes import (
    Identity,
    Refused,
    blake,
    digest,
    pack,
    refuse_unless,
    split,
    unpack,
)
from tests.interop.second_custody import Exchange
from tests.interop.second_link import Handshake, LinkKey, hello, link_first, parse_message
from tests.interop.second_session import Generation, Session, check_envelope, envelope_id
from tests.patience import PATIENCE


class Link:
    """A link over TCP: dialled with `Link.dial`, or taken from an accepted socket."""

    def __init__(self, wire, candidates, initiator):
        self.wire = wire
        try:
            self.begin(candidates, initiator)
        except BaseException:
            wire.close()
            raise

    def begin(self, candidates, initiator):
        """Frames 1 to 6."""
        shake = Handshake(candidates)
        steps = shake.initiate() if initiator else shake.respond()
        out = next(steps)
        for _ in range(3):
            if out:
                self.put(out)
            out = steps.send(self.get())
        if out:
            self.put(out)
        self.peer, self.hash = shake.peer, shake.noise.h
        self.out, self.into = shake.stand()

    @classmethod
    def dial(cls, place, candidates, patience=PATIENCE):
        return cls(socket.create_connection(place, patience), candidates, True)

    def put(self, frame):
        self.wire.sendall(struct.pack(">I", len(frame)) + frame)

    def get(self):
        length = struct.unpack(">I", self.exactly(4))[0]
        refuse_unless(1 <= length <= 66560, "bad-frame-length")
        return self.exactly(length)

    def exactly(self, size):
        got = b""
        while len(got) < size:
            try:
                more = self.wire.recv(size - len(got))
            except ConnectionError:
                more = b""
            refuse_unless(more, "channel-over")
            got += more
        return got

    def close(self):
        """End the link, and wait until the other side has: else two of them would stand."""
        with suppress(OSError):
            self.wire.shutdown(socket.SHUT_WR)
            while self.wire.recv(65536):
                pass
        self.wire.close()

    def send(self, message):
        self.put(self.out.seal(message))

    def receive(self):
        """The next message but Pings, which are answered."""
        while True:
            kind, fields = parse_message(self.into.open(self.get()))
            if kind != 1:
                return kind, fields
            self.send(b"\2" + fields[0])


class Friend:
    """A contact of a real node at a place on the LAN; what happened to it is in its fields."""

    def __init__(self, place, hint="second"):
        self.place, self.identity = place, Identity(hint)
        self.session = self.link = self.key = self.exchange = None
        self.texts, self.contents, self.clock, self.heads = [], [], 0, []
        self.receipts, self.accepted, self.refused = set(), set(), set()
        self.held, self.outbox, self.begun, self.bye = {}, {}, {}, None
        self.carry_pass = self.last_piece = None

    def pair(self, pairing, link=None):
        """Pair by a code, dialling or on a link that came, saying yes; return the words."""
        candidate = LinkKey(link_first(pairing.link_secret), pairing.alice, rank=2, steps=False)
        link = link or Link.dial(self.place, [candidate])
        refuse_unless(link.peer, "nobody-known")
        link.send(hello())
        if pairing.last:
            link.send(b"\x0a" + pairing.last)
        yes = False
        while not pairing.paired:
            kind, fields = link.receive()
            if kind != 10:
                continue
            answer = pairing.receive(fields[0])
            if answer:
                link.send(b"\x0a" + answer)
            if pairing.words and not yes:
                yes = True
                link.send(b"\x0a" + pairing.confirmation(pairing.alice, 0))
        link.close()
        self.become(pairing)
        return pairing.words

    def become(self, pairing):
        self.account = pairing.theirs.account
        self.key = LinkKey(link_first(pairing.key("link")), pairing.alice, rank=1)
        keys, theirs = pairing.keys, pairing.theirs
        self.session = Session(pairing.key("session"), pairing.alice, keys, theirs.public)
        reset = pairing.key("reset"), pairing.alice, keys.reset_dh, keys.reset_kem, theirs.reset
        self.generation = Generation(*reset)

    def meet(self, candidates=None, statements=None):
        """Dial; be recognised by the link key, or by other candidates."""
        self.part()
        link = Link.dial(self.place, candidates or [self.key])
        refuse_unless(link.peer, "nobody-known")
        self.stand(link, statements)

    def stand(self, link, statements=None):
        """Say hello on a link that stands."""
        own = [(self.session.handle, self.session.sent, self.session.opened)]
        self.link = link
        link.send(hello(own if statements is None else statements))

    def part(self):
        if self.link:
            self.link.close()
            self.link = None

    def write(self, text, span=None, send=True):
        """Seal a text, or one that fades; return the envelope's id."""
        self.clock += 1
        fields = [os.urandom(16), self.clock, self.heads, int(time.time()), text]
        if span is None:
            return self.post(b"\1" + pack(fields), send=send)
        return self.post(b"\3" + pack([*fields, span]), send=send)

    def post(self, content, send=True):
        raw = self.session.seal(content)
        self.outbox[envelope_id(raw)] = raw
        if send:
            self.give(raw)
        return envelope_id(raw)

    def give(self, raw, age=0):
        self.link.send(b"\4" + age.to_bytes(2, "big") + raw)

    def give_piece(self, raw, number):
        part = raw[number * 4096 : (number + 1) * 4096]
        head = envelope_id(raw) + bytes([0, 0, len(raw) // 4096, number])
        self.link.send(b"\x13" + head + part)

    def offer(self, *ids):
        self.link.send(b"\5" + b"".join(ids))

    def reconcile(self):
        self.exchange = Exchange(self.held)
        for piece in self.exchange.open():
            self.link.send(b"\x0d" + piece)

    def until(self, holds, patience=PATIENCE):
        """Answer what comes until something holds."""
        end = time.monotonic() + patience
        while not holds():
            refuse_unless(time.monotonic() < end, "out-of-patience")
            kind, fields = self.link.receive()
            take = getattr(self, f"take_{kind}", None)
            if take:
                take(fields)

    def take_4(self, fields):
        raw = fields[1]
        check_envelope(raw)
        try:
            content = self.session.open(raw)
        except Refused:
            self.held[envelope_id(raw)] = raw
            self.link.send(b"\7" + envelope_id(raw))
            return
        receipted = content[0] in (1, 3, 4, 5, 6)
        self.contents.append(content)
        if content[0] in (1, 3):
            mid, clock, _, _, text, *_ = unpack(content[1:])
            self.clock, self.heads = max(self.clock, clock), [mid]
            self.texts.append(text)
        self.link.send((b"\x09" if receipted else b"\7") + envelope_id(raw))

    def take_5(self, ids):
        self.link.send(b"\6" + b"".join(ids))

    def take_6(self, ids):
        for i in ids:
            raw = self.outbox.get(i) or self.held.get(i)
            if raw:
                self.give(raw)

    def take_7(self, ids):
        self.accepted.update(ids)

    def take_8(self, fields):
        self.refused.update((fields[0], i) for i in fields[1])

    def take_9(self, ids):
        self.receipts.update(ids)

    def take_11(self, fields):
        parts = []
        for name, places in fields[0]:
            parts += [name.encode(), len(places).to_bytes(2, "big"), *places]
        self.link.send(b"\x12" + digest("p2pnode told", *parts, size=8))

    def take_12(self, fields):
        self.bye = fields[0][0]

    def take_13(self, fields):
        head, part = split(fields[0], 7, len(fields[0]) - 7)
        if head[4] == 0:
            self.exchange = Exchange(self.held)
        self.begun[head[5]] = part
        if len(self.begun) < head[6]:
            return
        whole, self.begun = b"".join(self.begun[n] for n in range(head[6])), {}
        for piece in self.exchange.receive(whole):
            self.link.send(b"\x0d" + piece)
        if self.exchange.over and self.exchange.they_lack:
            self.offer(*self.exchange.they_lack)

    def take_16(self, fields):
        key = blake("p2pnode lk pass", 32, key=fields[0])
        self.carry_pass = LinkKey(key, False, steps=False)

    def take_20(self, fields):
        self.last_piece = fields[0][:32], fields[0][32]
