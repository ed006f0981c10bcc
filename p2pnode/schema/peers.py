"""Whom this node meets: the list, and the map."""

from typing import Literal

from p2pnode.schema.base import Answer, Asks


class GetPeers(Asks["Peers"], frozen=True):
    """Ask who was met, and what waits for whom."""


class Peer(Answer, frozen=True):
    """A contact as somebody to meet.

    over: the transport of the link that stands now, or empty; locked: it is there, but only
    carries. encounters: links with it so far. waiting: own messages for it under way, oldest: age
    of the oldest in seconds. carrying: own envelopes under way that it has taken to carry. tag:
    what the log calls it until the daemon ends.
    """

    name: str
    state: Literal["pending", "active", "blocked", "suspect"]
    over: str
    locked: bool
    last_seen: int | None
    encounters: int
    waiting: int
    oldest: float
    carrying: int
    tag: str = ""


class Peers(Answer, frozen=True):
    """All contacts, sorted by name."""

    peers: list[Peer]


class GetMap(Asks["Map"], frozen=True):
    """Ask whom this node met, over what and when."""


class Meetings(Answer, frozen=True):
    """Links with a contact over one transport: how many on each of the last days, oldest first, the
    last entry today; last: when the last one came up, by the wall clock then."""

    transport: str
    days: list[int]
    last: int


class MapEntry(Answer, frozen=True):
    """A contact on the map: how it stands as a peer, and its meetings, the most frequent first."""

    peer: Peer
    met: list[Meetings]


class Map(Answer, frozen=True):
    """What this node saw itself, for its person alone; `name` is its own. Sorted by contact."""

    name: str
    days: int
    places: list[MapEntry]
