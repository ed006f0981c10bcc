"""Reading a damaged vault: every row that still reads goes into a whole one.

A page that cannot be read takes the rows on it, and no others: indexes, which may be damaged too,
are not looked at but made anew, and rows are found by their numbers, from which a lost page is
stepped over.
"""

from collections.abc import Iterator

from p2pnode.errors import StoreError
from p2pnode.store.database import Database, Row
from p2pnode.store.vault import Vault

TABLES = {
    "identity": "",
    "contacts": "",
    "devices": "contact NOT IN (SELECT id FROM contacts)",
    "addresses": "device NOT IN (SELECT id FROM devices)",
    "conversations": "contact NOT IN (SELECT id FROM contacts)",
    "resets": "contact NOT IN (SELECT id FROM contacts)",
    "messages": "contact NOT IN (SELECT id FROM contacts)",
}
"""What a backup is taken from, those that others refer to first, and which rows lack their owner.
All have their row number in the first column, `ref`."""

NEAR = 20_000
"""Row numbers tried one by one behind a place that does not read, before the steps double. A lost
inner page of a table of short rows takes some 5,000 of them."""

LAST = 2**63 - 1
"""The highest row number of SQLite."""


def salvage(damaged: Vault, whole: Vault) -> list[str]:
    """Copy what reads of the tables a backup is taken from into an empty vault.

    Returns the names of tables of which something does not read. Raises StoreError for `whole`.
    """
    source, target = damaged.database, whole.database
    lost: list[str] = []
    with whole.transaction():
        for table in TABLES:
            for row in _readable(source, table, lost):
                places = ",".join("?" * len(row))
                # A page that was never written anew may show a row twice, or one that cannot be.
                target.run(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)
        target.run("UPDATE devices SET session=NULL")
        for table, orphans in TABLES.items():
            if orphans:
                target.run(f"DELETE FROM {table} WHERE {orphans}")
    return lost


def _readable(source: Database, table: str, lost: list[str]) -> Iterator[Row]:
    """Yield the rows of a table in their order, and name it in lost when some cannot be read."""
    sql = f"SELECT * FROM {table} NOT INDEXED WHERE ref>=? ORDER BY ref"
    start, failed = 1, 0
    while start <= LAST:
        try:
            for row in source.each(sql, (start,)):
                if row[0] >= start:
                    start, failed = row[0] + 1, 0
                    yield row
            start = LAST + 1
        except StoreError:  # damage, or a disk that gives an error
            if table not in lost:
                lost.append(table)
            start += 1 if failed < NEAR else 2 ** (failed - NEAR)
            failed += 1
