"""One SQLite database file and the only place where its errors become ours.

The file is written through one connection in WAL mode with `synchronous=FULL`: what was committed
survives a power cut. Every pragma runs in its own `execute` and is read back, because several in
one string stop at the first row they return, which once left a vault without its key.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import apsw

from p2pnode.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew

Row = tuple[Any, ...]

CACHE_KIB = 4096
"""Page cache of one database in KiB: the hot pages of a few hundred sessions and their tags."""

CHECKPOINT_PAGES = 1000
"""Pages in the write-ahead log (4 MiB) after which a commit copies them into the database."""

LOG_LIMIT = 16 * 1024 * 1024
"""Bytes the log's file keeps after a checkpoint, however long a reader held it up before."""

BUSY_MS = 5_000
"""Milliseconds a read waits for the writer (only at opening and recovery does it ever)."""

STATEMENTS = 256
"""Prepared statements kept; more than there are in the stores."""


class Schema(NamedTuple):
    """What a file of one kind must be.

    name: for people. application: SQLite's application_id, so that one store is never taken for
    the other. steps: the SQL of each migration; user_version counts those done. page: bytes in a
    page of a new file, the least that is encrypted and written for a changed row.
    """

    name: str
    application: int
    steps: Sequence[str]
    page: int = 4096


def store_error(error: apsw.Error, name: str) -> StoreError:
    """Return our error for SQLite's."""
    # Where a store is opened, its index of the log is made first; on a full disk that fails.
    full = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    if full or isinstance(error, apsw.FullError):
        return StoreFull(
            f"the disk is full, nothing was written to the {name}",
            hint="Make room and try again; the node goes on with what it has",
        )
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreCorrupt(
            f"the {name} is damaged, or its key belongs to another one",
            hint="Keep the file. With the daemon stopped: p2pnode repair",
        )
    return StoreError(f"the {name} cannot be used", why=f"{type(error).__name__}: {error}")


class Database:
    """One open database. Not for two threads at once; which thread may change between calls."""

    def __init__(self, connection: apsw.Connection, schema: Schema) -> None:
        self._connection = connection
        self._execute = connection.execute
        self.name = schema.name
        self._open = False
        self._failed: StoreError | None = None

    # Opening -----------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, schema: Schema, key: bytes | None = None) -> "Database":
        """Make a new file (mode 0600), or none when that fails.

        Raises StoreError, also when there is a file already.
        """
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise StoreError(f"the {schema.name} cannot be made", why=str(error)) from None
        try:
            return cls._connect(str(path), apsw.SQLITE_OPEN_READWRITE, schema, key, fresh=True)
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            raise

    @classmethod
    def open(
        cls,
        path: Path,
        schema: Schema,
        key: bytes | None = None,
        *,
        read_only: bool = False,
        vfs: str | None = None,
    ) -> "Database":
        """Open a file with its 32-byte key (None: not encrypted) and bring its schema up to date.

        vfs: another SQLite file layer, which then is the only user of the file (for tests of
        faults). Raises StoreCorrupt, StoreTooNew, StoreFull or StoreError.
        """
        if not path.exists():
            raise StoreError(f"there is no {schema.name}", why=str(path))
        if not path.is_file():  # SQLite would wait for somebody to write into a named pipe
            raise StoreError(f"{path} is no regular file", hint=f"The {schema.name} belongs there")
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        return cls._connect(str(path), flags, schema, key, vfs=vfs)

    @classmethod
    def memory(cls, schema: Schema) -> "Database":
        """Return a database that lives in memory alone, by the same code."""
        flags = apsw.SQLITE_OPEN_READWRITE
        return cls._connect(":memory:", flags, schema, None, fresh=True)

    @classmethod
    def _connect(
        cls,
        place: str,
        flags: int,
        schema: Schema,
        key: bytes | None,
        *,
        fresh: bool = False,
        vfs: str | None = None,
    ) -> "Database":
        if not getattr(apsw, "mc_version", ""):
            # `apsw` and `apsw-sqlite3mc` install the same module; the former writes in the clear.
            raise StoreError(
                "this SQLite cannot encrypt",
                hint="Uninstall 'apsw' and reinstall 'apsw-sqlite3mc'",
            )
        try:
            connection = apsw.Connection(place, flags, vfs, statementcachesize=STATEMENTS)
        except apsw.Error as error:
            raise store_error(error, schema.name) from error
        database = cls(connection, schema)
        try:
            if key is not None:
                database._unlock(key)
            # A simulation holds a thousand in memory, and each table and index takes a page.
            page = 512 if place == ":memory:" else schema.page
            if fresh:
                database._pragma("page_size", page)
            database._set_pragmas(memory=place == ":memory:", alone=vfs is not None)
            read_only = flags == apsw.SQLITE_OPEN_READONLY
            database._bring_up_to_date(schema, fresh=fresh, read_only=read_only)
        except BaseException as error:
            connection.close(True)
            if isinstance(error, apsw.Error):
                raise store_error(error, schema.name) from error
            raise
        return database

    def _pragma(self, name: str, value: object, *, shown: object = None) -> None:
        """Set one pragma and read it back; `shown` is how SQLite shows the value."""
        self._execute(f"PRAGMA {name}={value}").fetchall()
        wanted = str(value if shown is None else shown)
        found = str(self._value(f"PRAGMA {name}"))
        if found.lower() != wanted.lower():
            raise StoreError(f"the {self.name} cannot be used", why=f"{name} is {found}")

    def _value(self, sql: str) -> Any:
        return self._execute(sql).fetchall()[0][0]

    def _unlock(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a store's key has 32 bytes")
        self._pragma("cipher", "chacha20")
        told = self._connection.execute(f"PRAGMA key=\"x'{key.hex()}'\"", can_cache=False)
        if told.fetchall()[0][0] != "ok":
            raise StoreError(f"the {self.name} cannot be used", why="the key was not taken")

    def _set_pragmas(self, *, memory: bool, alone: bool) -> None:
        self._connection.set_busy_timeout(BUSY_MS)
        if alone:
            self._pragma("locking_mode", "exclusive")
        if not memory:
            self._pragma("journal_mode", "wal")
            self._pragma("mmap_size", 0)
        self._pragma("synchronous", "full", shown=2)
        self._pragma("foreign_keys", "on", shown=1)
        self._pragma("secure_delete", "on", shown=1)
        self._pragma("temp_store", "memory", shown=2)
        self._pragma("cache_size", -CACHE_KIB)
        self._pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        self._pragma("journal_size_limit", LOG_LIMIT)

    def _bring_up_to_date(self, schema: Schema, *, fresh: bool, read_only: bool) -> None:
        version = self._value("PRAGMA user_version")
        if not version and not fresh:
            # SQLite takes a file cut to nothing for a new one; it must not pass for an empty store.
            raise StoreCorrupt(
                f"the {self.name} is empty", hint="Keep the file, and restore a copy"
            )
        if version and self._value("PRAGMA application_id") != schema.application:
            raise StoreCorrupt(f"the {self.name} is a file of another kind")
        if version > len(schema.steps):
            raise StoreTooNew(
                f"the {self.name} was written by a newer p2pnode",
                why=f"its schema is {version}, this program knows {len(schema.steps)}",
                hint="Install that version again",
            )
        if version == len(schema.steps):
            return
        if read_only:
            raise StoreError(f"the {self.name} is older than this program", why="opened to read")
        with self.transaction():
            for step in schema.steps[version:]:
                self._execute(step).fetchall()
            self._execute(f"PRAGMA application_id={schema.application}").fetchall()
            self._execute(f"PRAGMA user_version={len(schema.steps)}").fetchall()

    def close(self) -> None:
        """Close; again is harmless. Raises StoreError when the last checkpoint fails."""
        try:
            self._connection.close()
        except apsw.Error as error:
            raise store_error(error, self.name) from error

    # Statements --------------------------------------------------------------------------------

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        try:
            return self._execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise self._fail(error) from error

    def row(self, sql: str, bindings: Sequence[Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        try:
            found: Row | None = self._execute(sql, bindings).fetchone()
        except apsw.Error as error:
            raise self._fail(error) from error
        return found

    def each(self, sql: str, bindings: Sequence[Any] = ()) -> Iterator[Row]:
        """Yield the rows of a query one by one; nothing may be written meanwhile."""
        try:
            yield from self._execute(sql, bindings)
        except apsw.Error as error:
            raise self._fail(error) from error

    def value(self, sql: str, bindings: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        try:
            found = self._execute(sql, bindings).fetchone()
        except apsw.Error as error:
            raise self._fail(error) from error
        return None if found is None else found[0]

    def run(self, sql: str, bindings: Sequence[Any] = ()) -> None:
        """Run a statement that writes; only inside a transaction, which keeps its failure."""
        if not self._open or self._failed:
            raise self._refusal()
        try:
            self._execute(sql, bindings)
        except apsw.Error as error:
            raise self._fail(error) from error

    def run_many(self, sql: str, bindings: Iterable[Sequence[Any]]) -> None:
        """Run a statement that writes once for each of the bindings."""
        if not self._open or self._failed:
            raise self._refusal()
        try:
            self._connection.executemany(sql, bindings)
        except apsw.Error as error:
            raise self._fail(error) from error

    def insert(self, sql: str, bindings: Sequence[Any]) -> int:
        """Run an INSERT and return the new row's number."""
        self.run(sql, bindings)
        return self._connection.last_insert_rowid()

    def change(self, sql: str, bindings: Sequence[Any] = ()) -> int:
        """Run a statement that writes and return how many rows it changed."""
        self.run(sql, bindings)
        return self._connection.changes()

    def _fail(self, error: apsw.Error) -> StoreError:
        failure = store_error(error, self.name)
        if self._open and self._failed is None:
            self._failed = failure
        return failure

    def _refusal(self) -> StoreError:
        if self._failed is not None:
            return self._failed
        return StoreError(f"the {self.name} is written to outside of a transaction")

    # Transactions ------------------------------------------------------------------------------

    def transaction(self) -> "Transaction":
        """Return a context in which all writes become durable together at its end, or none does.

        After any StoreError inside, the transaction is lost, even when somebody caught the error:
        a full disk makes SQLite roll back by itself, and what came later would stand alone.
        """
        return Transaction(self)

    def savepoint(self) -> "Savepoint":
        """Return a context, inside a transaction, whose writes an exception undoes alone."""
        return Savepoint(self)

    def begin(self) -> None:
        """Start a transaction."""
        if self._open:
            raise StoreError(f"the {self.name} is in a transaction already")
        try:
            self._execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise store_error(error, self.name) from error
        self._open, self._failed = True, None

    def commit(self) -> None:
        """End the transaction durably. Raises the StoreError that spoilt it, if one did."""
        try:
            if self._failed is not None:
                raise self._failed
            self._execute("COMMIT")
        except apsw.Error as error:
            raise self._fail(error) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End the transaction without a trace; harmless when there is none."""
        self._open = False
        if self._connection.in_transaction:
            try:
                self._execute("ROLLBACK")
            except apsw.Error as error:
                # SQLite rolls back on its own after some failures; only a living one is an error.
                if self._connection.in_transaction:
                    raise store_error(error, self.name) from error

    def mark(self) -> None:
        """Start a savepoint."""
        self.run("SAVEPOINT turn")

    def release(self, *, undo: bool) -> None:
        """End the innermost savepoint, keeping or undoing its writes."""
        if undo:
            self.run("ROLLBACK TO turn")
        self.run("RELEASE turn")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read in one transaction: everything inside is as it was at one moment."""
        try:
            self._execute("BEGIN").fetchall()
            self._execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except apsw.Error as error:
            raise self._fail(error) from error
        try:
            yield
        finally:
            self.abandon()

    # Care --------------------------------------------------------------------------------------

    def scrub(self, *, rewrite: bool) -> bool:
        """See to it that what was deleted is no longer in the file or its log; not inside of a
        transaction. Tell whether that could be done now: a long read elsewhere prevents it.

        Deleted rows are overwritten with zeros as they go (`secure_delete`), but a row that moved
        to another page before it was deleted may have left a copy behind in the old one's unused
        part: only writing the file anew is sure. rewrite: do that. The log is copied into the file
        and cut to nothing.
        """
        try:
            self._connection.set_busy_timeout(0)
            try:
                if rewrite:
                    self._execute("VACUUM").fetchall()
                busy = self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            finally:
                self._connection.set_busy_timeout(BUSY_MS)
        except (apsw.BusyError, apsw.LockedError):
            return False
        except apsw.Error as error:
            raise store_error(error, self.name) from error
        return not busy

    def size(self) -> int:
        """Return the bytes of the file as of the last commit, without its log."""
        pages: int = self.value("PRAGMA page_count")
        return pages * int(self.value("PRAGMA page_size"))

    def check(self) -> list[str]:
        """Return what is wrong with the file, empty when it is sound. Reads all of it."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)")]
        found += [f"foreign key of {row[0]}" for row in self.rows("PRAGMA foreign_key_check")]
        return [line for line in found if line != "ok"]

    def explain(self, sql: str, bindings: Sequence[Any] = ()) -> str:
        """Return SQLite's plan for a statement, one line a step."""
        return "\n".join(row[3] for row in self.rows(f"EXPLAIN QUERY PLAN {sql}", bindings))


class Transaction:
    """The context of `Database.transaction`."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._database.commit()
        else:
            self._database.abandon()


class Savepoint:
    """The context of `Database.savepoint`."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.mark()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A StoreError has spoilt the whole transaction: there is nothing left to undo alone.
        if not isinstance(error, StoreError):
            self._database.release(undo=kind is not None)


def set_aside(path: Path) -> Path:
    """Rename a damaged store and its log to the first free `….damaged-N`; return the new path."""
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target
