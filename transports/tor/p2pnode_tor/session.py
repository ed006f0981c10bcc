"""One tor, from the moment it takes commands until it is gone."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from p2pnode_tor.control import CommandFailed, Control, ControlLost, open_control
from p2pnode_tor.dialing import Dialling
from p2pnode_tor.health import EVENTS, Health
from p2pnode_tor.places import Places
from p2pnode_tor.process import own_tor
from p2pnode_tor.settings import TorSettings, door_of_text

FAREWELL_TIMEOUT = 2.0
"""Seconds for taking our keys out of a tor that lives on."""


@dataclass(frozen=True, slots=True)
class Session:
    """A tor we are in control of, or guests of. pid: of our own, else 0."""

    control: Control
    dialling: Dialling
    health: Health
    version: str
    pid: int


@asynccontextmanager
async def own_session(
    program: str,
    settings: TorSettings,
    places: Places,
    health: Health,
    hear: Callable[[str], None],
) -> AsyncIterator[Session]:
    """Run a tor of our own. Raises TorFailed, ControlLost, TransportUnavailable."""
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(own_tor(program, settings, places))
        control = await stack.enter_async_context(open_control(places.control, hear))
        # From here on tor also ends at once when our connection does, however we end.
        await control.ask("TAKEOWNERSHIP")
        yield await _session(control, Dialling(control, places.socks), health, process.pid)


@asynccontextmanager
async def system_session(
    settings: TorSettings, health: Health, hear: Callable[[str], None]
) -> AsyncIterator[Session]:
    """Attach to the system's tor. Raises ControlLost and ControlRefused."""
    async with open_control(door_of_text(settings.control), hear) as control:
        dialling = Dialling(control, door_of_text(settings.socks))
        try:
            yield await _session(control, dialling, health, 0)
        finally:
            with trio.move_on_after(FAREWELL_TIMEOUT, shield=True):
                with suppress(ControlLost, CommandFailed):
                    await dialling.disown()


async def _session(control: Control, dialling: Dialling, health: Health, pid: int) -> Session:
    await control.ask(f"SETEVENTS {EVENTS}")
    for command in ("GETINFO status/bootstrap-phase", "GETCONF DisableNetwork"):
        for line in await control.ask(command):
            health.hear(line)
    told = await control.ask("GETINFO version")
    version = told[0].removeprefix("version=").split()[0] if told[0].split() else ""
    return Session(control, dialling, health, version, pid)
