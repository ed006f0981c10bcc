"""The process around a node: lock, signals, logging, API."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from p2pnode.api.server import serve
from p2pnode.config import Config, Home
from p2pnode.errors import Denied, HomeInUse, LocalError, StoreError
from p2pnode.logs import log_to_stderr
from p2pnode.node import Node, open_node
from p2pnode.schema import GetReady, GetStatus, Status

FIRST_LOOK = 5.0
"""Seconds the line that says the node is ready waits for slow transports."""

ENDING = 2.0
"""Seconds the node may take to end after a signal; what is acknowledged is durable anyway."""

Talk = Callable[[str], None]


def run(
    home: Home, config: Config, *, passphrase: bytes | None, key_file: Path | None, talk: Talk
) -> None:
    """Run the node of a home until SIGTERM or SIGINT.

    Raises HomeInUse, VaultLocked, WrongPassphrase, StoreError, ConfigError, Denied.
    """
    os.umask(0o077)
    log_to_stderr(config.log.level)
    with home_lock(home):
        try:
            trio.run(_serve, home, config, passphrase, key_file, talk)
        except* LocalError as group:
            raise _first(group) from None


async def _serve(
    home: Home, config: Config, passphrase: bytes | None, key_file: Path | None, talk: Talk
) -> None:
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, stopping)
        began = trio.current_time()
        async with open_node(home, config, passphrase=passphrase, key_file=key_file) as node:
            await nursery.start(_serve_api, node, home, stopping)
            nursery.start_soon(_announce, node, talk, began)
            await stopping.wait()
            nursery.cancel_scope.deadline = trio.current_time() + ENDING
        nursery.cancel_scope.cancel()


async def _serve_api(
    node: Node,
    home: Home,
    stopping: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve(node, home.socket, stopping=stopping, task_status=task_status)


async def _until_signal(
    stopping: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            stopping.set()
            return


async def _announce(node: Node, talk: Talk, began: float) -> None:
    """Say once that the node is ready, and how its transports are."""
    await node.call(GetReady(timeout=FIRST_LOOK))
    status = await node.call(GetStatus())
    assert isinstance(status, Status)
    told = [
        f"{name}: {one.state}" + (f", {one.detail}" if one.detail else "")
        for name, one in status.transports.items()
    ]
    talk(f"Ready in {trio.current_time() - began:.1f} s. " + (" | ".join(told) or "no transports"))


@contextmanager
def home_lock(home: Home) -> Iterator[None]:
    """Hold a home's lock. Raises HomeInUse when another process does, Denied, StoreError."""
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise Denied(f"{home.root} is not writable for this user") from None
    except OSError as error:
        raise StoreError(f"{home.lock} cannot be made", why=error.strerror or "") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(
                "another daemon runs in this home",
                why=str(home.root),
                hint="Talk to it: p2pnode status. Or name another place: --home DIR",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _first(group: BaseExceptionGroup[LocalError]) -> LocalError:
    """Return the first error of a group, however deep."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
