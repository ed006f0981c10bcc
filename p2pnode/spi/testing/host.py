"""The node's part: a host that remembers what a transport tells it, and what it must be told."""

from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from p2pnode.ids import Lane
from p2pnode.spi.transport import MAX_ADDRESS, Address, Channel, Check, TransportState

MAX_SAVED = 65_536
"""Bytes a transport may save under one name."""


class RecordingHost:
    """A node that remembers what a transport tells it. files: its directory, if it has one."""

    def __init__(self, files: Path | None = None) -> None:
        self.files = files
        self.reports: list[tuple[TransportState, str]] = []
        self.met: dict[Address, float] = {}
        self.saved: dict[str, bytes] = {}
        self.busy: trio.Event | None = None
        self.arrived, self.arrivals = trio.open_memory_channel[Channel](1_000)
        self._changed = trio.Event()

    def encountered(self, address: Address, *, after: float = 0.0) -> None:
        """Remember an address."""
        assert 0 < len(address) <= MAX_ADDRESS, "an address has 1 to 256 bytes"
        assert after >= 0, "no node dials in the past"
        self.met[address] = after
        self._tell()

    def lost(self, address: Address) -> None:
        """Forget an address."""
        self.met.pop(address, None)
        self._tell()

    async def incoming(self, channel: Channel, lane: Lane | None = None) -> None:
        """Take a channel; waits while `busy` is an event that is not set."""
        if self.busy is not None:
            await self.busy.wait()
        await self.arrived.send(channel)

    def report(self, state: TransportState, detail: str = "") -> None:
        """Remember a state."""
        self.reports.append((state, detail))
        self._tell()

    async def load(self, name: str) -> bytes | None:
        """Return what was saved."""
        await trio.lowlevel.checkpoint()
        return self.saved.get(name)

    async def save(self, name: str, value: bytes) -> None:
        """Save, within the bounds."""
        await trio.lowlevel.checkpoint()
        assert len(value) <= MAX_SAVED, "a saved value has at most 64 KiB"
        self.saved[name] = value
        if not value:
            del self.saved[name]

    async def names(self) -> list[str]:
        """Return under which names something was saved."""
        await trio.lowlevel.checkpoint()
        return list(self.saved)

    def directory(self) -> Path | None:
        """Return the directory given, made where it is not there yet."""
        if self.files is not None:
            self.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.files

    async def until(self, condition: Callable[["RecordingHost"], bool]) -> None:
        """Wait until something told makes the condition true."""
        while not condition(self):
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def last_is_off(host: RecordingHost) -> None:
    """Check what a host was told last."""
    assert [state for state, _ in host.reports][-1:] == ["off"], "the last report is off"


def diagnosed(checks: Sequence[Check]) -> None:
    """Check what a diagnosis says."""
    assert checks, "a diagnosis has at least one line"
    assert len({check.name for check in checks}) == len(checks), "each line has its own name"
    for check in checks:
        assert check.name, "a line has a name"
        assert check.detail, "a line has a detail"
        assert check.result != "fail" or check.fix, "what fails comes with what would mend it"
