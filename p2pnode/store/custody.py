"""Custody: the envelopes this node carries for others and, as copies, for itself.

The file has no key and tells nothing about its owner: ids, tags and sealed bytes that any carrier
sees. `source` is eight random-looking bytes that stand for the link an envelope came by; only the
vault knows what they mean. It can be used while the vault is locked.

Lifetime is counted as age carried along, never by a sender's clock. Custody has a clock of its own
that adds what passes between the times it is told, and nothing when those go back; so an envelope
neither lives on because a clock was set back, nor is it told from when it came by.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from p2pnode.ids import EnvelopeId
from p2pnode.protocol import limits
from p2pnode.protocol.custody import SEEN_COST, Candidate, Usage
from p2pnode.protocol.reconcile.buckets import Leaf, leaf, leaf_of
from p2pnode.protocol.reconcile.limits import LEAVES
from p2pnode.store.database import Database, Savepoint, Schema, Transaction
from p2pnode.store.migrations import custody_0001

SCHEMA = Schema("custody", 0x70327063, (custody_0001.SQL,))

HOUR = 3600
"""Seconds in an hour: ages are told and stated in whole ones."""

_SECONDS = "CASE lifetime {} END".format(
    " ".join(f"WHEN {number} THEN {seconds}" for number, seconds in enumerate(limits.LIFETIMES))
)

_COUNTS = (
    f"(tag IS NOT NULL OR token IS NULL AND (born > ?3 - {_SECONDS} OR first <= ?3 - {_SECONDS}))"
)
"""What need not be sent here; ?3 is the clock."""

REMOVED_AT_ONCE = 512
"""Rows one `expire` removes of each kind at most, so that it never holds a turn up for long."""


class Custody:
    """The store of carried envelopes. Writing needs `transaction()`; reading does not.

    `now` is seconds of a clock that may jump, but always of the same one; ages are whole hours.
    Every method may raise StoreError. Not for two threads at once.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._db = database
        row = database.row("SELECT elapsed, told FROM clock")
        assert row is not None  # the schema puts it there
        self._elapsed: int = row[0]
        self._told: int | None = row[1]
        self._leaves = [Leaf(0, b"")] * LEAVES
        self._stale = set(range(LEAVES))
        self.dropped: int | None = None
        """When the first envelope went since somebody set this to None: the log may hold it."""

    @classmethod
    def create(cls, path: Path) -> "Custody":
        """Make a new custody file. Raises StoreError when there is one already."""
        return cls(Database.create(path, SCHEMA))

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> "Custody":
        """Open a custody file. Raises StoreCorrupt, StoreTooNew, StoreFull or StoreError."""
        return cls(Database.open(path, SCHEMA, read_only=read_only))

    @classmethod
    def memory(cls) -> "Custody":
        """Return a custody store that lives in memory alone: same code, nothing durable."""
        return cls(Database.memory(SCHEMA))

    def transaction(self) -> Transaction:
        """Return a context whose writes become durable together at its end, or not at all."""
        return self._db.transaction()

    def savepoint(self) -> Savepoint:
        """Return a context, within a transaction, that an exception undoes alone."""
        return self._db.savepoint()

    def close(self) -> None:
        """Close the file; again is harmless."""
        self._db.close()

    # Keeping -----------------------------------------------------------------------------------

    def has(self, id: EnvelopeId) -> bool:
        """Tell whether an envelope is here or refused: it has come, or its lifetime is over."""
        row = self._db.row(
            "SELECT tag IS NOT NULL OR token IS NOT NULL, lifetime, first FROM envelopes"
            " WHERE id=?",
            (id,),
        )
        return row is not None and bool(row[0] or self._over(row[1], row[2]))

    def token(self, id: EnvelopeId) -> bytes | None:
        """Return the token of an envelope that is known to have come."""
        found: bytes | None = self._db.value("SELECT token FROM envelopes WHERE id=?", (id,))
        return found

    def put(
        self,
        id: EnvelopeId,
        tag: bytes,
        raw: bytes,
        lifetime: int,
        age: int,
        source: bytes,
        now: int,
    ) -> None:
        """Keep an envelope that came at `age` hours; again only lowers its age.

        Lowest claim wins, so nobody can end an envelope early by calling it old; no claim makes it
        younger than since its first sight here, so nobody can make it immortal.
        """
        elapsed = self._advance(now)
        born = elapsed - age * HOUR
        known = self._db.row(
            "SELECT ref, tag, born, first, source, token FROM envelopes WHERE id=?", (id,)
        )
        if known is None:
            ref = self._db.insert(
                "INSERT INTO envelopes (id, tag, size, lifetime, born, first, source)"
                " VALUES (?,?,?,?,?,?,?)",
                (id, tag, len(raw), lifetime, born, elapsed, source),
            )
        else:
            ref, held, was_born, first, charged, token = known
            younger = min(max(born, was_born), first)
            if held is not None:
                if younger > was_born:
                    self._db.run("UPDATE envelopes SET born=? WHERE ref=?", (younger, ref))
                return
            if token is not None or self._over(lifetime, first):
                return
            self._db.run(
                "UPDATE envelopes SET tag=?, born=?, source=? WHERE ref=?",
                (tag, younger, source, ref),
            )
            self._count(charged, 0, 0, -1)
        self._db.run("INSERT INTO bodies (ref, raw) VALUES (?,?)", (ref, raw))
        self._stale.add(leaf_of(id))
        self._count(source, 1, len(raw), 1)

    def remove(self, ids: Iterable[EnvelopeId]) -> None:
        """Let envelopes go; what is unknown is passed over. They may come again in their time."""
        for id_ in ids:
            row = self._db.row(
                "SELECT ref, size, source FROM envelopes WHERE id=? AND tag IS NOT NULL", (id_,)
            )
            if row is not None:
                self._drop(*row)

    def deliver(self, id: EnvelopeId, token: bytes) -> None:
        """Let an envelope go for good, because its token says that it has come; what is unknown is
        passed over."""
        row = self._db.row("SELECT ref, size, source, tag FROM envelopes WHERE id=?", (id,))
        if row is None:
            return
        ref, size, source, tag = row
        if tag is not None:
            self._drop(ref, size, source)
        self._db.run("UPDATE envelopes SET token=? WHERE ref=?", (token, ref))
        self._stale.add(leaf_of(id))

    def kept_clock(self) -> tuple[int, int] | None:
        """Return the time this store was last told in an `expire`, and the wall clock then."""
        row = self._db.row("SELECT told, wall FROM clock WHERE told IS NOT NULL")
        return None if row is None else (row[0], row[1])

    def expire(self, now: int, wall: int = 0) -> int:
        """Let go of what has reached its lifetime; return how many. Forgets old ids as well, and
        keeps the clock (wall: Unix seconds).

        At most `REMOVED_AT_ONCE` of each lifetime; call again when that many went.
        """
        elapsed = self._advance(now)
        self._db.run("UPDATE clock SET elapsed=?, told=?, wall=?", (elapsed, now, wall))
        gone = 0
        for lifetime, seconds in enumerate(limits.LIFETIMES):
            for row in self._db.rows(
                "SELECT ref, size, source, id FROM envelopes"
                " WHERE tag IS NOT NULL AND lifetime=? AND born<=? ORDER BY born LIMIT ?",
                (lifetime, elapsed - seconds, REMOVED_AT_ONCE),
            ):
                ref, size, source, id_ = row
                self._drop(ref, size, source)
                self._stale.add(leaf_of(id_))
                gone += 1
            self._forget(lifetime, elapsed - 2 * seconds)
        return gone

    def rows(self, source: bytes) -> tuple[int, int]:
        """Return how many rows a source has of what has gone, and the bytes charged to it."""
        row = self._db.row(
            f"SELECT seen - count, bytes + seen * {SEEN_COST} FROM sources WHERE source=?",
            (source,),
        )
        return (0, 0) if row is None else (row[0], row[1])

    def forget_gone(self, source: bytes, limit: int) -> int:
        """Forget the oldest of a source's envelopes that have gone; return how many. They may come
        again."""
        rows = self._db.rows(
            "SELECT ref, id FROM envelopes WHERE tag IS NULL AND source=? ORDER BY first LIMIT ?",
            (source, limit),
        )
        for ref, id_ in rows:
            self._db.run("DELETE FROM envelopes WHERE ref=?", (ref,))
            self._stale.add(leaf_of(id_))
        self._count(source, 0, 0, -len(rows))
        return len(rows)

    def _forget(self, lifetime: int, before: int) -> None:
        for ref, id_, source in self._db.rows(
            "SELECT ref, id, source FROM envelopes"
            " WHERE tag IS NULL AND lifetime=? AND first<=? ORDER BY first LIMIT ?",
            (lifetime, before, REMOVED_AT_ONCE),
        ):
            self._db.run("DELETE FROM envelopes WHERE ref=?", (ref,))
            self._stale.add(leaf_of(id_))
            self._count(source, 0, 0, -1)

    # Finding -----------------------------------------------------------------------------------

    def get(self, id: EnvelopeId) -> tuple[bytes, int] | None:
        """Return an envelope's bytes and its age in whole hours, as of the last time told."""
        row = self._db.row(
            "SELECT raw, born FROM envelopes JOIN bodies USING (ref) WHERE id=?",
            (id,),
        )
        return None if row is None else (row[0], (self._elapsed - row[1]) // HOUR)

    def by_tag(self, tag: bytes) -> list[tuple[EnvelopeId, bytes]]:
        """Return the (id, bytes) of the envelopes under a tag: one, or forgeries as well."""
        rows = self._db.rows(
            "SELECT id, raw FROM envelopes JOIN bodies USING (ref) WHERE tag=? ORDER BY ref", (tag,)
        )
        return [(EnvelopeId(id_), raw) for id_, raw in rows]

    def by_tags(self, tags: Iterable[bytes]) -> list[tuple[EnvelopeId, bytes]]:
        """Return the (id, bytes) of all envelopes under these tags."""
        return [found for tag in tags for found in self.by_tag(tag)]

    def ids(self, after: int, limit: int) -> list[tuple[int, EnvelopeId]]:
        """Return the next (row number, id) after row `after`, in the order they came."""
        rows = self._db.rows(
            "SELECT ref, id FROM envelopes WHERE ref>? AND tag IS NOT NULL ORDER BY ref LIMIT ?",
            (after, limit),
        )
        return [(ref, EnvelopeId(id_)) for ref, id_ in rows]

    def tags(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the next (row number, tag) after row `after`, in the order they came."""
        rows = self._db.rows(
            "SELECT ref, tag FROM envelopes WHERE ref>? AND tag IS NOT NULL ORDER BY ref LIMIT ?",
            (after, limit),
        )
        return [(ref, tag) for ref, tag in rows]

    def newest(self) -> int:
        """Return the number of the newest row, 0 when there was none yet."""
        found: int = self._db.value("SELECT coalesce(max(ref), 0) FROM envelopes")
        return found

    def ordered(self, ids: Iterable[EnvelopeId]) -> list[tuple[EnvelopeId, bytes]]:
        """Return those of the ids that are here, with their sources, in the order they came."""
        found = []
        for id_ in ids:
            row = self._db.row(
                "SELECT ref, source FROM envelopes WHERE id=? AND tag IS NOT NULL", (id_,)
            )
            if row is not None:
                found.append((row[0], id_, row[1]))
        return [(id_, source) for _, id_, source in sorted(found)]

    def from_start(self, start: bytes, since: int, limit: int) -> list[EnvelopeId]:
        """Return envelopes that have been here for `since` seconds, in the order of their ids from
        `start` on and around: ids are hashes, so these are some at random that change little."""
        found: list[EnvelopeId] = []
        for span in ("id >= ?", "id < ?"):
            rows = self._db.rows(
                f"SELECT id FROM envelopes WHERE {span} AND tag IS NOT NULL AND first <= ?"
                " ORDER BY id LIMIT ?",
                (start, self._elapsed - since, limit - len(found)),
            )
            found += [EnvelopeId(id_) for (id_,) in rows]
        return found

    def candidates(self, source: bytes, limit: int) -> list[Candidate]:
        """Return the oldest envelopes of a source: what could go when room is needed."""
        rows = self._db.rows(
            "SELECT id, born, size FROM envelopes"
            " WHERE tag IS NOT NULL AND source=? ORDER BY born LIMIT ?",
            (source, limit),
        )
        return [Candidate(id_, self._elapsed - born, size) for id_, born, size in rows]

    def usage(self, source: bytes, strangers: bytes) -> Usage:
        """Return how much of the space is used, by whom; the slot of strangers is never `most`."""
        total = own = theirs = most = 0
        most_slot = b""
        for slot, used in self._db.rows(f"SELECT source, bytes + seen * {SEEN_COST} FROM sources"):
            total += used
            if slot == source:
                own = used
            if slot == strangers:
                theirs = used
            elif used > most:
                most, most_slot = used, slot
        return Usage(total=total, source=own, strangers=theirs, most=most, most_slot=most_slot)

    def used(self) -> dict[bytes, tuple[int, int]]:
        """Return (envelopes, bytes charged) of each source."""
        rows = self._db.rows(
            f"SELECT source, count, bytes + seen * {SEEN_COST} FROM sources WHERE seen"
        )
        return {source: (count, size) for source, count, size in rows}

    def count_bytes(self) -> tuple[int, int]:
        """Return how many envelopes are here, and their bytes."""
        row = self._db.row("SELECT coalesce(sum(count), 0), coalesce(sum(bytes), 0) FROM sources")
        assert row is not None  # an aggregate has one row
        return row[0], row[1]

    # Reconciling -------------------------------------------------------------------------------

    def leaves(self) -> list[Leaf]:
        """Return the leaves of all ids that need not be sent here. Kept between calls; only those
        that have changed are read.

        What is here counts, and what had to make room or has lived its lifetime here, so that
        nobody sends it again and again. What died of the age it was said to have does not: that may
        have been a lie, and the next claim may be lower. What has come does not either: whoever
        offers it is told so.
        """
        for number in self._stale:
            self._leaves[number] = leaf(self._leaf(number))
        self._stale.clear()
        return list(self._leaves)

    def leaf_ids(self, numbers: Iterable[int]) -> list[list[EnvelopeId]]:
        """Return the ids in some leaves, each sorted."""
        return [self._leaf(number) for number in numbers]

    def forget_leaves(self) -> None:
        """Read all leaves anew at the next call: a transaction was undone."""
        self._stale.update(range(LEAVES))

    def _leaf(self, number: int) -> list[EnvelopeId]:
        first = (number << 6).to_bytes(2)
        last = (number << 6 | 0x3F).to_bytes(2) + b"\xff" * 30
        rows = self._db.rows(
            f"SELECT id FROM envelopes WHERE id BETWEEN ?1 AND ?2 AND {_COUNTS} ORDER BY id",
            (first, last, self._elapsed),
        )
        return [EnvelopeId(id_) for (id_,) in rows]

    def recent(self, after: int, limit: int) -> list[EnvelopeId]:
        """Return the ids after row `after` that need not be sent here, at most `limit`."""
        rows = self._db.rows(
            f"SELECT id FROM envelopes WHERE ref>?1 AND {_COUNTS} ORDER BY ref LIMIT ?2",
            (after, limit, self._elapsed),
        )
        return [EnvelopeId(id_) for (id_,) in rows]

    # Personal data -----------------------------------------------------------------------------

    TABLES = ("clock", "envelopes", "bodies", "sources")

    LEFT_OUT: ClassVar = {
        "clock": "this store's clock",
        "envelopes": "sealed envelopes of others, and of one's own mail, which the vault has open",
        "bodies": "their bytes, which nobody but their recipient can read",
        "sources": "how much came by whom, under marks of which the vault has the key",
    }

    def export(self) -> dict[str, list[dict[str, Any]]]:
        """Return how much is carried: what, its person can see no more than anybody."""
        count, size = self.count_bytes()
        return {"carried": [{"envelopes": count, "bytes": size}]}

    def erase(self) -> None:
        """Delete everything; the store begins anew."""
        for table in ("bodies", "envelopes", "sources"):
            self._db.run(f"DELETE FROM {table}")
        self._db.run("UPDATE clock SET elapsed=0, told=NULL, wall=0")
        self._elapsed, self._told = 0, None
        self.forget_leaves()

    # Inside ------------------------------------------------------------------------------------

    def _advance(self, now: int) -> int:
        """Move custody's clock on to `now` and return it."""
        if self._told is not None:
            self._elapsed += max(0, now - self._told)
        self._told = now
        return self._elapsed

    def _over(self, lifetime: int, first: int) -> bool:
        return self._elapsed - first >= limits.LIFETIMES[lifetime]

    def _drop(self, ref: int, size: int, source: bytes) -> None:
        if self.dropped is None:
            self.dropped = self._told or 0
        self._db.run("DELETE FROM bodies WHERE ref=?", (ref,))
        self._db.run("UPDATE envelopes SET tag=NULL WHERE ref=?", (ref,))
        self._count(source, -1, -size, 0)

    def _count(self, source: bytes, count: int, size: int, seen: int) -> None:
        self._db.run(
            "INSERT INTO sources (source, count, bytes, seen) VALUES (?,?,?,?)"
            " ON CONFLICT (source) DO UPDATE SET count=count+excluded.count,"
            " bytes=bytes+excluded.bytes, seen=seen+excluded.seen",
            (source, count, size, seen),
        )
