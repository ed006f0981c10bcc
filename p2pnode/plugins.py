"""Finds the configured transports among the installed plug-ins. Loading runs their code, so only
configured ones are loaded."""

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from inspect import isabstract
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2pnode.config import transport_settings
from p2pnode.errors import ChannelClosed, TransportUnavailable
from p2pnode.ids import Lane
from p2pnode.spi.transport import Address, Channel, Check, Courier, Host, Settings, Transport

GROUP = "p2pnode.transports"


def names() -> list[str]:
    """Return the names of the installed transports."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load(config: Path, enabled: Mapping[str, dict[str, Any]]) -> list[Transport | Courier]:
    """Return the enabled transports; one that cannot be loaded is there as `Missing`.

    Raises ConfigError for settings its plug-in does not know.
    """
    loaded: list[Transport | Courier] = []
    for name, table in enabled.items():
        kind = _kind(name)
        if isinstance(kind, str):
            loaded.append(Missing(name, kind))
        else:
            settings = transport_settings(config, name, table, kind.settings_type)
            try:
                loaded.append(kind(settings))
            except Exception:
                loaded.append(Missing(name, "cannot be begun"))
    return loaded


def while_locked(loaded: Iterable[Transport | Courier]) -> list[Transport | Courier]:
    """Return the transports of a node whose vault is locked: one that could reach nobody rests."""
    return [one if isinstance(one, Courier) or one.near else Resting(one.name) for one in loaded]


def check(config: Path, enabled: Mapping[str, dict[str, Any]]) -> None:
    """Look at the enabled transports' own settings. Raises ConfigError."""
    for name, table in enabled.items():
        kind = _kind(name)
        if not isinstance(kind, str):
            transport_settings(config, name, table, kind.settings_type)


def settings_of(name: str) -> type[msgspec.Struct] | None:
    """Return the type of a transport's own settings; None when it cannot be loaded."""
    kind = _kind(name)
    return None if isinstance(kind, str) else kind.settings_type


def _kind(name: str) -> type[Transport | Courier] | str:
    """Return a transport's class, or why there is none."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    try:
        kind: object = found[name].load()
    except KeyError:
        return "not installed"
    except (Exception, SystemExit):
        # A deleted folder leaves its entry point behind; a driver may not be installed; what
        # somebody else has written may fail in any way.
        return "cannot be loaded"
    if not (isinstance(kind, type) and issubclass(kind, Transport | Courier)):
        return "is no transport"
    settings: object = kind.settings_type
    if isabstract(kind) or not (isinstance(settings, type) and issubclass(settings, Settings)):
        return "made for another version"
    return kind if kind.name == name else "has another name than its plug-in"


class Missing(Transport):
    """Stands for a configured transport that is not there: the node runs on without it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(None)
        self.name = name  # type: ignore[misc]  # a class attribute for all other transports
        self._reason = reason

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Say why not."""
        await trio.lowlevel.checkpoint()
        raise TransportUnavailable(self._reason)

    async def dial(self, address: Address, lane: Lane | None = None) -> Channel:
        """Reach nobody."""
        await trio.lowlevel.checkpoint()
        raise ChannelClosed

    async def addresses(self, lane: Lane) -> list[Address]:
        """Be nowhere."""
        await trio.lowlevel.checkpoint()
        return []

    async def open(self, lane: Lane) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def close(self, lane: Lane) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def revoke(self, lane: Lane) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def diagnose(self) -> list[Check]:
        """Tell how to get it."""
        await trio.lowlevel.checkpoint()
        return [Check(self.name, "fail", self._reason, f"pip install 'p2pnode[{self.name}]'")]


RESTS = "needs the open vault"
"""Why a transport rests."""


class Resting(Missing):
    """Stands for one that has nobody to reach while the vault is locked."""

    def __init__(self, name: str) -> None:
        super().__init__(name, RESTS)

    async def run(
        self, host: Host, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Say why nothing runs, and wait."""
        host.report("off", RESTS)
        task_status.started()
        await trio.sleep_forever()

    async def diagnose(self) -> list[Check]:
        """Tell when it will run."""
        await trio.lowlevel.checkpoint()
        return [Check(self.name, "skip", RESTS, "p2pnode unlock")]
