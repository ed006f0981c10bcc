"""A tor of our own: its configuration, its start, and its end.

`stem.process` is not used: it blocks until tor has bootstrapped, which may be never, and sets
signal alarms.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from p2pnode.errors import TransportUnavailable
from p2pnode_tor.places import Places
from p2pnode_tor.settings import TorSettings

READY_TIMEOUT = 60.0
"""Seconds from the start of tor until it takes commands; a Pi with a slow card needs ten."""

END_TIMEOUT = 5.0
"""Seconds tor has to end by itself before it is killed."""

MAX_LINE = 65_536
"""Bytes of tor's log kept while a line is not whole."""

_READY = "Opened Control listener connection (ready)"


class TorFailed(Exception):
    """Tor has ended before it took commands; the text is short and names nobody."""


def find(program: str) -> str | None:
    """Return the path of tor, None when it is not installed."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/bin:/sbin")


def configuration(settings: TorSettings, places: Places, owner: int) -> str:
    """Return the configuration of our own tor, which ends when the process `owner` does."""
    lines = [
        f"DataDirectory {quoted(places.data)}",
        f"ControlPort unix:{quoted(places.control.path)}",
        # Onion services only: nothing this node asks of tor ever leaves the network.
        f"SocksPort unix:{quoted(places.socks.path)} OnionTrafficOnly ExtendedErrors",
        "CookieAuthentication 1",
        f"CookieAuthFile {quoted(places.sockets / 'cookie')}",
        f"__OwningControllerProcess {owner}",
        "ClientOnly 1",
        "AvoidDiskWrites 1",
        "SafeLogging 1",
        "Log notice stdout",
        "RunAsDaemon 0",
    ]
    if settings.save_data:
        lines.append("ReducedConnectionPadding 1")
    if settings.bridges:
        lines.append("UseBridges 1")
    lines += [f"ClientTransportPlugin {line}" for line in settings.plugins]
    lines += [f"Bridge {line}" for line in settings.bridges]
    return "".join(f"{line}\n" for line in [*lines, *settings.options])


def quoted(text: str | Path) -> str:
    """Return text as tor reads it between quotes."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def version(program: str) -> str:
    """Return the version tor tells, "" when it tells none. Raises OSError."""
    with trio.move_on_after(END_TIMEOUT):
        done = await trio.run_process([program, "--version"], capture_stdout=True, check=False)
        first = done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
        return first.removeprefix("Tor version ").rstrip(".") if done.returncode == 0 else ""
    return ""


@asynccontextmanager
async def own_tor(
    program: str, settings: TorSettings, places: Places
) -> AsyncIterator[trio.Process]:
    """Run a tor of our own while in the context; it takes commands already.

    Raises TorFailed, and TransportUnavailable when it cannot be started.
    """
    try:
        process = await trio.lowlevel.open_process(
            [program, "-f", "-", "--defaults-torrc", "/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C is for us; we end tor
        )
    except OSError as failure:
        raise TransportUnavailable(
            "tor cannot be started",
            why=failure.strerror or "",
            hint="Reinstall it: apt install tor",
        ) from None
    try:
        assert process.stdin is not None
        with suppress(trio.BrokenResourceError):
            text = configuration(settings, places, os.getpid())
            await process.stdin.send_all(text.encode())
        await process.stdin.aclose()
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(READY_TIMEOUT) as waiting:
                await nursery.start(_follow, process)
            if waiting.cancelled_caught:
                raise TorFailed("tor does not start")
            yield process
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _follow(
    process: trio.Process, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Read tor's log, lest its pipe fill up, until it ends. Raises TorFailed before it is ready."""
    assert process.stdout is not None
    rest, ready, reason = "", False, "tor ends at its start"
    async for chunk in process.stdout:
        *lines, rest = (rest + chunk.decode("utf-8", "replace")).split("\n")
        rest = rest[-MAX_LINE:]
        for line in lines:
            if not ready and _READY in line:
                ready = True
                task_status.started()
            reason = failure_in(line) or reason
    if not ready:
        raise TorFailed(reason)


def failure_in(line: str) -> str:
    """Return what a line of tor's log says about why it cannot start, "" when nothing."""
    if "Failed to parse/validate config" in line or "Reading config failed" in line:
        return "misconfigured: tor refuses its settings"
    return ""


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(END_TIMEOUT):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await stream.aclose()
