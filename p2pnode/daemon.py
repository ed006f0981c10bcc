"""The process around a node: lock, signals, logging, API."""

import ctypes
import gc
import os
import pwd
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress

import trio

from p2pnode import __version__, erasure
from p2pnode.api.server import serve
from p2pnode.automation.service import automated
from p2pnode.config import Config, Home
from p2pnode.engine.clock import Clock, wall_time
from p2pnode.engine.dialer import either
from p2pnode.erasable import Erasable
from p2pnode.errors import ConfigError, Denied, LocalError, StoreFull, WrongPassphrase
from p2pnode.gate import Gate
from p2pnode.home import home_lock, keep_reserve, use_reserve
from p2pnode.locked import open_locked
from p2pnode.logs import EventLog, Plain, Private, log_to_stderr, traced
from p2pnode.node import open_node
from p2pnode.schema import GetReady, GetStatus, Reload, Service, Status
from p2pnode.service.notify import Notifier
from p2pnode.settings import Governed, Settings
from p2pnode.store import keys

log = EventLog("daemon")

FIRST_LOOK = 5.0
"""Seconds the line that says the node is ready waits for slow transports."""

ENDING = 2.0
"""Seconds the node may take to end after a signal; what is acknowledged is durable anyway."""

REPORT_EVERY = 30.0
"""Seconds between two looks at what the service manager is shown."""

Talk = Callable[[str], None]


def run(
    home: Home,
    config: Config,
    secret: keys.Secret | None,
    talk: Talk,
    *,
    else_locked: bool = False,
) -> None:
    """Run the node of a home until SIGTERM or SIGINT.

    Without the secret its vault needs it carries only, until a client unlocks it; else_locked: also
    when the secret is wrong. It is forgotten once it was used. Raises HomeInUse, WrongPassphrase,
    StoreError, ConfigError, Denied.
    """
    os.umask(0o077)
    journal = log_to_stderr(config.log.level, identifiers=config.log.identifiers)
    check_owner(home)
    notifier = Notifier.taken_from(os.environ)
    with home_lock(home), closing(notifier):
        log.info("starting", version=Plain(__version__))
        keys.forget_draft(home.vault_key)
        failure: LocalError | None = None
        over = _erased_now(home)
        if over is None:
            try:
                settings = Settings(home, config, journal)
                over = trio.run(_serve, home, settings, secret, talk, notifier, else_locked)
            except* LocalError as group:
                failure = _first(group)
                over = _erased_now(home)  # who was told that all goes is not to find it there
        if over is None and failure is not None:  # raised up there it would come in a group again
            log.fault("ended", reason=failure.code)
            raise failure
        if over is not None:
            talk(erasure.last_word(home, erasure.carry_out(home, over)))
        log.info("stopped")


def _erased_now(home: Home) -> erasure.Intent | None:
    """Return the plan to erase a home whose node does not run, when it is time for it."""
    due = erasure.is_due(home, erasure.kept_time(home, wall_time()))
    return erasure.intent(home) if due else None


async def _serve(
    home: Home,
    settings: Settings,
    secret: keys.Secret | None,
    talk: Talk,
    notifier: Notifier,
    else_locked: bool,
) -> erasure.Intent | None:
    """Serve until told to stop; return the plan when the home is to be erased now."""
    stopping = trio.Event()
    gate = Gate(home)
    service = Erasable(gate, home)
    began = trio.current_time()
    locked = secret is None and keys.kind(home.vault_key) != "none"
    first, renewed = True, False
    refused: LocalError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, stopping, gate)
        nursery.start_soon(settings.sweep)
        nursery.start_soon(notifier.keep_alive)
        nursery.start_soon(service.until_erased, stopping)
        if not locked:
            try:
                await gate.unlock_with(secret or keys.Secret())
            except WrongPassphrase as error:
                if not else_locked:
                    raise
                talk(f"! {error.what}; it stays locked until: p2pnode unlock")
                locked = True
        while not stopping.is_set():
            key = None if locked else gate.take_key()
            async with AsyncExitStack() as stack:
                stood = await _stood_up(stack, home, settings, key, renewed=renewed)
                del key
                if isinstance(stood, LocalError):
                    if locked or not renewed:
                        raise stood
                    # It carried until somebody came with the secret, and goes on with that.
                    log.fault("unopened", reason=stood.code)
                    refused, locked = stood, True
                    continue
                node, service.clock = stood
                gate.open(node, locked=locked, refused=refused)
                refused = None
                if first:
                    await nursery.start(_serve_api, service, home, stopping)
                    nursery.start_soon(_report, gate, notifier)
                    first = False
                nursery.start_soon(_announce, gate, talk, began)
                await either(stopping, gate.turned)
                if stopping.is_set():
                    notifier.stopping()
                    nursery.cancel_scope.deadline = trio.current_time() + ENDING
                await gate.emptied()
            del node, stood
            give_back_memory()
            locked, renewed = not locked, locked
            began = trio.current_time()
        nursery.cancel_scope.cancel()
    return service.over


async def _stood_up(
    stack: AsyncExitStack, home: Home, settings: Settings, key: bytes | None, *, renewed: bool
) -> tuple[Service, Clock] | LocalError:
    """Return what stands from now on until the stack ends, or why it cannot.

    On a full disk it takes the room that was kept for that.
    """
    while True:
        failure: LocalError
        try:
            stood = await stack.enter_async_context(_standing(home, settings, key, renewed=renewed))
            await trio.to_thread.run_sync(keep_reserve, home)
            return stood  # noqa: TRY300 - what comes after is for what failed
        except* LocalError as group:
            failure = _first(group)
        if not isinstance(failure, StoreFull) or not use_reserve(home):
            return failure


@asynccontextmanager
async def _standing(
    home: Home, settings: Settings, key: bytes | None, *, renewed: bool
) -> AsyncIterator[tuple[Service, Clock]]:
    """Run the node with its key and what it does by itself, or, without, the locked one.

    Yields who answers, and the clock.
    """
    config = settings.config
    if key is None:
        async with open_locked(home, config) as carrier:
            yield Governed(settings, carrier, carrier), carrier.engine.clock
        return
    opening = open_node(home, config, key=key, renewed=renewed)
    del key
    async with opening as node, automated(node, config, home.root) as service:
        yield Governed(settings, service, node), node.engine.clock


async def _serve_api(
    node: Service,
    home: Home,
    stopping: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve(node, home.socket, stopping=stopping, shared=home.shared, task_status=task_status)


async def _until_signal(
    stopping: trio.Event,
    gate: Gate,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async with trio.open_nursery() as nursery:
            async for number in received:
                if number == signal.SIGHUP:
                    nursery.start_soon(_reload, gate)
                    continue
                log.info("stopping", signal=signal.Signals(number).name.lower())
                stopping.set()
                nursery.cancel_scope.cancel()


async def _reload(gate: Gate) -> None:
    try:
        await gate.call(Reload())
    except ConfigError:
        pass  # it is logged what was wrong; the old settings stay
    except Exception as error:
        log.fault("reload.failed", at=traced(error), text=Private(error))


async def _announce(node: Service, talk: Talk, began: float) -> None:
    """Say once that the node is ready, and how its transports are."""
    await node.call(GetReady(timeout=FIRST_LOOK))
    try:
        status = await node.call(GetStatus())
    except LocalError as error:  # a damaged vault, say, of which something still reads
        talk(f"! {error}")
        return
    assert isinstance(status, Status)
    told = [
        f"{name}: {one.state}" + (f", {one.detail}" if one.detail else "")
        for name, one in status.transports.items()
    ]
    if status.locked:
        told.append("locked: carrying only. Open the vault: p2pnode unlock")
    log.info("ready", seconds=trio.current_time() - began, locked=status.locked)
    talk(f"Ready in {trio.current_time() - began:.1f} s. " + (" | ".join(told) or "no transports"))


def give_back_memory() -> None:
    """Let go of what a node that has gone left in memory: records, keys, texts.

    Python cannot wipe what it frees; where the C library hands free pages back to the kernel
    (glibc), what lay in them is gone.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _report(node: Service, notifier: Notifier) -> None:
    """Tell the service manager that the API answers; keep its status line true."""
    await notifier.ready()
    while True:
        notifier.status(await _state(node))
        await trio.sleep(REPORT_EVERY)


async def _state(node: Service) -> str:
    """Return how the node is, in a line. A store that cannot be read is no reason to end."""
    try:
        status = await node.call(GetStatus())
    except LocalError as error:
        return f"its state cannot be read ({error.code}): p2pnode doctor"
    assert isinstance(status, Status)
    vault = "locked, carrying only" if status.locked else "open"
    states = [f"{name} {one.state}" for name, one in status.transports.items()]
    return ", ".join([vault, *states])


def check_owner(home: Home) -> None:
    """Raise Denied for a home that another user owns, or into which others may write."""
    try:
        found = home.root.stat()
    except OSError as error:
        raise Denied(f"{home.root} cannot be looked at", why=error.strerror or "") from None
    if found.st_uid != os.geteuid():
        raise Denied(
            f"{home.root} belongs to another user",
            why="its files would become this user's, and be lost to their owner",
            hint=f"As its owner: sudo -u {_named(found.st_uid)} p2pnode --home {home.root} …",
        )
    if found.st_mode & 0o022:
        raise Denied(
            f"others may write into {home.root}",
            why="they could put other files in the place of yours",
            hint=f"Close it: chmod 700 {home.root}",
        )


def _named(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"'#{user}'"  # as sudo takes a number


def _first(group: BaseExceptionGroup[LocalError]) -> LocalError:
    """Return the first error of a group, however deep."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
