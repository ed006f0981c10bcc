"""Which onion service and which client key belong to a lane; kept in the vault.

The first `most` lanes get a service each, so that contacts cannot link us by comparing addresses.
Further ones share a service: they can, but each still has a client key of its own.
"""

from collections.abc import Collection
from dataclasses import dataclass

from p2pnode.ids import Lane
from p2pnode.spi.transport import Host
from p2pnode_tor.keys import SECRET, OnionKey, new_secret

MAX_SHARING = 256
"""Lanes on the shared service: its descriptor lists all clients in at most 50,000 bytes."""

SHARED = "shared"
"""Name of the shared service's seed in the private store."""

_OWN, _SHARING = 1, 2

_PREFIX = "lane-"


@dataclass(frozen=True, slots=True)
class Held:
    """A lane's service, the private key of its one client, and whether others share it."""

    key: OnionKey
    client: bytes
    shared: bool


class Lanes:
    """What is open. Calls must not overlap for one lane."""

    def __init__(self, most: int) -> None:
        self.held: dict[Lane, Held] = {}
        self._most = most
        self._shared: OnionKey | None = None

    async def hold(self, host: Host, lane: Lane) -> Held | None:
        """Return a lane's keys, made and saved when new; None when no service has room for it."""
        if lane in self.held:
            return self.held[lane]
        raw = await host.load(_name(lane))
        kind, seed, client = _parts(raw) if raw else (0, b"", b"")
        if not kind:
            own = sum(not one.shared for one in self.held.values()) < self._most
            if not own and sum(one.shared for one in self.held.values()) >= MAX_SHARING:
                return None
            kind, client = (_OWN if own else _SHARING), new_secret()
            seed = new_secret() if own else b""
            await host.save(_name(lane), bytes((kind,)) + client + seed)
        key = OnionKey(seed) if kind == _OWN else await self._shared_key(host)
        self.held[lane] = Held(key, client, shared=kind == _SHARING)
        return self.held[lane]

    async def drop(self, host: Host, lane: Lane) -> Held | None:
        """Forget a lane's keys here and in the vault; return what they were."""
        gone = self.held.pop(lane, None)
        await host.save(_name(lane), b"")
        return gone

    async def forget_others(self, host: Host, wanted: Collection[Lane]) -> None:
        """Forget in the vault what is kept for lanes that are neither wanted nor held any more.

        They were revoked while nobody was there to be told.
        """
        for name in await host.names():
            if name.startswith(_PREFIX):
                lane = Lane(bytes.fromhex(name.removeprefix(_PREFIX)))
                if lane not in wanted and lane not in self.held:
                    await host.save(name, b"")

    async def _shared_key(self, host: Host) -> OnionKey:
        if self._shared is None:
            seed = await host.load(SHARED)
            if seed is None or len(seed) != SECRET:
                seed = new_secret()
                await host.save(SHARED, seed)
            self._shared = OnionKey(seed)
        return self._shared


def _name(lane: Lane) -> str:
    return f"{_PREFIX}{lane.hex()}"


def _parts(raw: bytes) -> tuple[int, bytes, bytes]:
    """Return kind, seed and client of a saved lane; kind 0 when this is none of ours."""
    kind, client, seed = raw[0], raw[1 : 1 + SECRET], raw[1 + SECRET :]
    whole = len(client) == SECRET and len(seed) == (SECRET if kind == _OWN else 0)
    return (kind, seed, client) if kind in {_OWN, _SHARING} and whole else (0, b"", b"")
