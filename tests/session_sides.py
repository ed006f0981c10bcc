"""Two devices with a session each and the table of tags a vault would keep, for tests."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope, limits, primitives
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.session import ratchet
from p2pnode.protocol.session.records import Opened, Sealed, Session, TagRow
from tests.entropy import SeededEntropy

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Session).decode


class Side:
    """One device: saves its session after each step, finds rows by tag, uses each row once."""

    def __init__(self, session: Session, rows: Iterable[TagRow], entropy: Entropy) -> None:
        self.session = session
        self.rows = {(row.chain, row.n): row for row in rows}
        self.tags = {row.tag: row for row in self.rows.values()}
        self.entropy = entropy
        self.aside: list[bytes] = []

    def copy(self, entropy: Entropy) -> Side:
        """Return what a thief of the whole vault holds."""
        return Side(self.session, self.rows.values(), entropy)

    def write(self, content: bytes = b"", lifetime: int = limits.DEFAULT_LIFETIME) -> bytes:
        return self.seal(content, lifetime).raw

    def seal(self, content: bytes = b"", lifetime: int = limits.DEFAULT_LIFETIME) -> Sealed:
        sealed = ratchet.seal(self.session, content, lifetime=lifetime, entropy=self.entropy)
        self.save(sealed.session)
        return sealed

    def save(self, session: Session) -> None:
        self.session = _decode(_encode(session))
        assert self.session == session

    def hears(self, raw: bytes) -> bool:
        return envelope.parse_untrusted(raw).tag in self.tags

    def open(self, raw: bytes) -> Opened:
        """Open and apply. Raises KeyError when the tag is not listed, RemoteError as the core."""
        outer = envelope.parse_untrusted(raw)
        row = self.tags[outer.tag]
        opened = ratchet.open_untrusted(self.session, row, outer, entropy=self.entropy)
        self.save(opened.session)
        self._remove(row)
        # Either order is allowed; taking turns shows it.
        if opened.count % 2:
            self._forget(opened)
            self._list(opened)
        else:
            self._list(opened)
            self._forget(opened)
        if opened.skipped:
            kept = sorted(key for key, row in self.rows.items() if row.message_key)
            for key in kept[: -limits.MAX_SKIPPED]:
                self._remove(self.rows[key])
        return opened

    def read(self, raw: bytes) -> bytes:
        return self.open(raw).content

    def take(self, raw: bytes) -> list[bytes]:
        """Read what can be read: this one, and all kept aside that it makes readable."""
        self.aside.append(raw)
        out = []
        waiting = True
        while waiting:
            waiting = [raw for raw in self.aside if self.hears(raw)]
            self.aside = [raw for raw in self.aside if raw not in waiting]
            out += [self.read(raw) for raw in waiting]
        return out

    def refuses(self, raw: bytes, row: TagRow | None = None) -> str:
        """Return the reason raw is refused, having checked that nothing changed."""
        before = self.session, dict(self.rows)
        try:
            outer = envelope.parse_untrusted(raw)
            found = row or self.tags[outer.tag]
            ratchet.open_untrusted(self.session, found, outer, entropy=self.entropy)
        except RemoteError as error:
            assert before == (self.session, self.rows)
            return error.reason
        raise AssertionError("opened")

    def _list(self, opened: Opened) -> None:
        assert opened.skipped == sum(1 for row in opened.listed if row.message_key)
        for row in opened.listed:
            old = self.rows.get((row.chain, row.n))
            assert old is None or (old.tag, old.header_key) == (row.tag, row.header_key)
            self.rows[row.chain, row.n] = self.tags[row.tag] = row

    def _forget(self, opened: Opened) -> None:
        for chain, first in opened.forget:
            for row in [r for r in self.rows.values() if r.chain == chain and r.n >= first]:
                if not row.message_key:
                    self._remove(row)

    def _remove(self, row: TagRow) -> None:
        del self.rows[row.chain, row.n], self.tags[row.tag]


def sides(seed: int = 1, kind: type[SeededEntropy] = SeededEntropy) -> tuple[Side, Side]:
    """Return (alice, bob), freshly paired."""
    pairing, alice, bob = (kind(3 * seed + part) for part in range(3))
    secret = pairing.take(32)
    keys = [(pairing.take(32), pairing.take(64)) for _ in "ab"]
    public = [(primitives.x25519_public(dh), pairing.kem_public(kem)) for dh, kem in keys]
    made = []
    for own, entropy in enumerate((alice, bob)):
        session, rows = ratchet.start(
            secret=secret,
            alice=own == 0,
            own_dh_private=keys[own][0],
            own_kem_seed=keys[own][1],
            their_dh_public=public[1 - own][0],
            their_kem_public=public[1 - own][1],
            entropy=entropy,
        )
        made.append(Side(session, rows, entropy))
    return made[0], made[1]
