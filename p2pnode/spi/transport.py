"""The interfaces between the node and its transports.

Two families. A duplex `Transport` announces encounters and incoming channels and dials addresses.
A simplex `Courier` puts envelopes somewhere and takes them from there. Neither ever sees plaintext,
keys, contacts or what an envelope means: the node gives them opaque random lanes, frames and files.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NewType, Protocol

import msgspec
import trio

from p2pnode.ids import Lane

Address = NewType("Address", bytes)
"""Opaque bytes (at most 256) that tell a transport where a node may be reached. A hint only."""

TransportState = Literal["off", "starting", "up", "degraded"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What the node must know of a medium.

    mtu: bytes in a frame the medium carries at once; larger frames (up to `MAX_FRAME`) are the
        channel's business to split and join. Under 2,048 the link uses small recognition pages
        and, where frames stay in order, sends small envelopes first and large ones in pieces.
    reliable: every frame arrives or the channel ends.
    ordered: frames arrive in the order they were sent.
    metered: bytes cost money or battery.
    """

    mtu: int
    reliable: bool
    ordered: bool
    metered: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a diagnosis: what was looked at, how it is, and what would mend it."""

    name: str
    result: Literal["ok", "warn", "fail", "skip"]
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An envelope in a courier's hands: its bytes and its age in whole hours."""

    envelope: bytes
    age: int


@dataclass(frozen=True, slots=True)
class Deposit:
    """What a courier has written: number of envelopes and bytes."""

    envelopes: int
    size: int


class Channel(ABC):
    """A raw path for frames, unauthenticated, to one node.

    A frame is 1 to `p2pnode.spi.transport.MAX_FRAME` bytes. One task sends and one receives at a
    time. After `aclose`, or when the medium or the other side ends it, both raise ChannelClosed.
    """

    traits: Traits

    @abstractmethod
    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while the medium is busy.

        Raises ChannelClosed, and ValueError for a frame that is empty or too large. A cancel in the
        middle of a frame may end the channel.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """Return the next whole frame; a cancelled wait loses none.

        Raises ChannelClosed; a frame that is empty, oversized or torn ends the channel.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """End the channel on both sides; never raises; may be called again."""


MAX_FRAME = 66_560
"""Bytes in one frame; equals the protocol's bound of the same name (a test holds them together)."""

MAX_ADDRESS = 256
"""Bytes in one address."""


class Host(Protocol):
    """What the node offers to a running transport."""

    def encountered(self, address: Address, *, after: float = 0.0) -> None:
        """Say that a node may be reached at address; dial it after that many seconds.

        Said again, it is a fresh hint.
        """
        ...

    def lost(self, address: Address) -> None:
        """Say that the address is gone, as far as the medium tells."""
        ...

    async def incoming(self, channel: Channel, lane: Lane | None = None) -> None:
        """Hand over a channel the other side opened; the node owns it from here on.

        lane: under which address of ours it came, where the medium tells. Waits while the node is
        busy; the node closes what is too many.
        """
        ...

    def report(self, state: TransportState, detail: str = "") -> None:
        """Tell the transport's state; detail is short, constant, and names nobody."""
        ...

    async def load(self, name: str) -> bytes | None:
        """Return what was saved under name in this transport's private part of the vault."""
        ...

    async def save(self, name: str, value: bytes) -> None:
        """Keep value (at most 64 KiB) under name, durably; an empty value deletes it.

        Only under names in the transport's `private`; one that belongs to a lane contains the
        lane's hexadecimal, so that it goes with its contact even while the transport is not there.
        """
        ...

    async def names(self) -> list[str]:
        """Return the names under which this transport has saved something."""
        ...

    def directory(self) -> Path | None:
        """Return a lasting directory for this transport alone (mode 0700), in the node's home; None
        where the home is in memory.

        For what another program must read; nothing there is encrypted. Its path may be too long
        for a Unix socket in it. Raises TransportUnavailable when it cannot be made.
        """
        ...


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a transport's own table in the configuration; defaults must work."""


class Diagnosable(ABC):
    """What both families share."""

    name: ClassVar[str]
    """Name in the configuration, in `status`, and of the plug-in's entry point."""

    settings_type: ClassVar[type[Settings]] = Settings

    private: ClassVar[Mapping[str, str]] = {}
    """Names this transport saves values under, or their beginnings up to a `-`, and what each is,
    for its person: what is kept is told in every export, the values are not."""

    def __init__(self, settings: Any) -> None:
        """Keep the settings (an instance of `settings_type`); must not touch the medium."""
        self.settings = settings

    @abstractmethod
    async def diagnose(self) -> list[Check]:
        """Look at the medium and tell what is well and what is not. Works without `run`."""


class Transport(Diagnosable):
    """A duplex medium."""

    near: ClassVar[bool] = True
    """Whether two nodes can meet on this medium that were told nothing of each other. On one where
    they cannot, a node whose vault is locked has nobody to dial and no lane to serve: it is not
    run there until the vault is open."""

    @abstractmethod
    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the medium until cancelled; calls task_status.started() when it listens.

        Where the medium may come later (no network up yet) it starts `degraded` and waits. Reports
        "starting" first and "off" last. Cancellation releases everything and ends all channels;
        after it `run` may be called again. Raises TransportUnavailable when it cannot work here.
        """

    @abstractmethod
    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Open a channel.

        Raises ChannelClosed when nobody answers, when a bad address came, or without `run`.
        """

    @abstractmethod
    async def addresses(self, lane: Lane) -> list[Address]:
        """Return where the holder of this lane may reach us (at most 16); told in-band only.

        Empty for a lane that is not open.
        """

    @abstractmethod
    async def open(self, lane: Lane) -> None:
        """Begin to serve a lane; again is harmless.

        All lanes there are get opened or closed before `run`: what was saved for any other is of
        one that was revoked while the transport, or the node, was not there to be told.
        """

    @abstractmethod
    async def close(self, lane: Lane) -> None:
        """Stop serving a lane, but keep what belongs to it: opened again it has the same addresses,
        where those do not change by themselves. Whoever dials them meanwhile finds nobody, as when
        this node is off.

        Again is harmless. May also come before `run`, for a lane that was never opened.
        """

    @abstractmethod
    async def revoke(self, lane: Lane) -> None:
        """Stop serving a lane and forget all that belongs to it; unknown is harmless."""

    codes: bool = False
    """Whether a pairing code may name a place on this medium; `dial` then takes such a place."""

    async def meet(self, lane: Lane) -> bytes:
        """Serve a lane for whoever scans a code, until it is revoked; return the place that goes
        into the code (35 bytes), b"" when there is none now. Does not wait until it is reachable.
        """
        await trio.lowlevel.checkpoint()
        return b""


class Courier(Diagnosable):
    """A simplex medium: places that hold parcels."""

    watched: tuple[str, ...] = ()
    """Places the node looks into and writes to by itself, from time to time."""

    @abstractmethod
    async def put(self, place: str, parcels: Sequence[Parcel]) -> Deposit:
        """Write parcels to a place, atomically; again with the same ones adds nothing."""

    @abstractmethod
    def take(self, place: str, *, fresh: bool = False) -> AsyncIterator[Parcel]:
        """Yield every whole parcel found in a place; damaged ones are passed over.

        fresh: leave out what this courier has yielded or written before, as far as it knows.
        """
