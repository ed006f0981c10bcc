"""Table meetings: when each contact was met, over what; counts by the day, kept for a month."""

from typing import NamedTuple

from p2pnode.ids import ContactId, id_text
from p2pnode.store.table import BY_CONTACT, Exported, Table

KEPT_DAYS = 30
"""Days of node time whose meetings are kept, the present one among them."""

DAY = 86_400


class Meeting(NamedTuple):
    """Links with a contact over one transport on one day of node time; last: by the wall clock."""

    contact: ContactId
    transport: str
    day: int
    links: int
    last: int


class Meetings(Table):
    """Whom this node met: at most one row for each contact, transport and day."""

    TABLES = ("meetings",)

    def add(self, contact: ContactId, transport: str, day: int, at: int) -> None:
        """Count a link. day: of node time; at: wall time."""
        self._db.run(
            "INSERT INTO meetings (contact, transport, day, count, last) VALUES (?,?,?,1,?)"
            " ON CONFLICT (contact, transport, day)"
            " DO UPDATE SET count=count+1, last=excluded.last",
            (contact, transport, day, at),
        )

    def all(self) -> list[Meeting]:
        """Return what is kept, oldest first."""
        return [
            Meeting(ContactId(contact), *rest)
            for contact, *rest in self._db.rows(
                "SELECT contact, transport, day, count, last FROM meetings ORDER BY day, ref"
            )
        ]

    def expire(self, today: int) -> None:
        """Forget what is older than a month."""
        self._db.run("DELETE FROM meetings WHERE day<=?", (today - KEPT_DAYS,))

    def export(self, contact: ContactId | None) -> Exported:
        """Return when whom was met."""
        rows = self._db.rows(
            "SELECT contact, transport, day, count, last FROM meetings"
            " WHERE ?1 IS NULL OR contact=?1 ORDER BY ref",
            (contact,),
        )
        return {
            "meetings": [
                {
                    "contact": id_text(met),
                    "transport": transport,
                    "day": day,
                    "count": count,
                    "last": last,
                }
                for met, transport, day, count, last in rows
            ]
        }

    def erase(self, contact: ContactId | None) -> None:
        """Forget the meetings with a contact, or all."""
        self._erase(contact, BY_CONTACT)
