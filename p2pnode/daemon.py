"""The process around a node: lock, signals, logging, API."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

from p2pnode import erasure
from p2pnode.api.server import serve
from p2pnode.automation.service import automated
from p2pnode.config import Config, Home
from p2pnode.engine.clock import Clock, wall_time
from p2pnode.engine.dialer import either
from p2pnode.errors import (
    Denied,
    HomeInUse,
    InvalidInput,
    LocalError,
    StoreError,
    WrongPassphrase,
)
from p2pnode.locked import open_locked
from p2pnode.logs import log_to_stderr
from p2pnode.node import open_node
from p2pnode.schema import (
    Answer,
    CancelErasures,
    Done,
    Erase,
    Erasing,
    Erasures,
    GetReady,
    GetStatus,
    Request,
    Send,
    Service,
    Status,
    Unlock,
)
from p2pnode.store import keys

FIRST_LOOK = 5.0
"""Seconds the line that says the node is ready waits for slow transports."""

ENDING = 2.0
"""Seconds the node may take to end after a signal; what is acknowledged is durable anyway."""

WRONG_PAUSE = 2.0
"""Seconds a wrong passphrase costs beyond the work of trying it."""

LOOK_EVERY = 30.0
"""Seconds between two looks whether the home is to be erased."""

Talk = Callable[[str], None]


def run(
    home: Home, config: Config, *, passphrase: bytes | None, key_file: Path | None, talk: Talk
) -> None:
    """Run the node of a home until SIGTERM or SIGINT.

    Without the secret its vault needs it carries only, until a client unlocks it. Raises HomeInUse,
    WrongPassphrase, StoreError, ConfigError, Denied.
    """
    os.umask(0o077)
    log_to_stderr(config.log.level)
    with home_lock(home):
        over = erasure.is_due(home, erasure.kept_time(home, wall_time()))
        if not over:
            try:
                over = trio.run(_serve, home, config, passphrase, key_file, talk)
            except* LocalError as group:
                raise _first(group) from None
        if over:
            talk(erasure.last_word(home, erasure.carry_out(home)))


async def _serve(
    home: Home, config: Config, passphrase: bytes | None, key_file: Path | None, talk: Talk
) -> bool:
    """Serve until told to stop; return whether the home is to be erased now."""
    stopping = trio.Event()
    gate = Gate(home)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, stopping)
        nursery.start_soon(gate.until_erased, stopping)
        locked = keys.kind(home.vault_key) != "none" and passphrase is None and key_file is None
        if locked:
            async with open_locked(home, config) as carrier:
                gate.service, gate.clock = carrier, carrier.engine.clock
                await nursery.start(_serve_api, gate, home, stopping)
                nursery.start_soon(_announce, gate, talk, began)
                await either(stopping, gate.opened)
                gate.service = None
        if not stopping.is_set():
            passphrase, key_file = gate.secret if locked else (passphrase, key_file)
            async with (
                open_node(
                    home, config, passphrase=passphrase, key_file=key_file, renewed=locked
                ) as node,
                automated(node, config, home.root) as service,
            ):
                gate.open(service, node.engine.clock)
                if not locked:
                    await nursery.start(_serve_api, gate, home, stopping)
                nursery.start_soon(_announce, gate, talk, began)
                await stopping.wait()
                nursery.cancel_scope.deadline = trio.current_time() + ENDING
        nursery.cancel_scope.cancel()
    return gate.over


class Gate(Service):
    """What the API talks to: the locked node, then, once somebody unlocked it, the node itself.

    Requests that come while the one gives way to the other wait. Erasing the whole home is asked
    of the gate itself, because it needs no vault, and ends whoever is behind it.
    """

    def __init__(self, home: Home) -> None:
        self.service: Service | None = None
        self.clock: Clock | None = None
        self.opened = trio.Event()
        self.secret: tuple[bytes | None, Path | None] = (None, None)
        self._home = home
        self._open = trio.Event()
        self._trying = trio.Lock()
        self._asked = trio.Event()
        self.over = False

    def open(self, node: Service, clock: Clock) -> None:
        """Let requests through to the node."""
        self.service, self.clock = node, clock
        self._open.set()

    async def call(self, request: Request) -> Answer:
        """Carry out a request. Raises LocalError."""
        if isinstance(request, Unlock) and not self._open.is_set():
            return await self._unlock(request)
        if self.service is None:
            await self._open.wait()
        assert self.service is not None
        if isinstance(request, Erase) and request.what == "all":
            return self._plan(request)
        answer = await self.service.call(request)
        if isinstance(request, CancelErasures) and not request.contact:
            assert isinstance(answer, Erasures)
            more = erasure.cancel(self._home)
            return msgspec.structs.replace(answer, cancelled=answer.cancelled + more)
        if isinstance(answer, Erasures | Status):
            return msgspec.structs.replace(answer, erasing=[*answer.erasing, *self._planned()])
        return answer

    def _now(self) -> int:
        """Return the node time; there is one while anybody answers."""
        assert self.clock is not None
        return self.clock.now().node

    def _plan(self, request: Erase) -> Erasures:
        after = 0 if request.now else erasure.GRACE
        erasure.plan(self._home, self._now(), after=after, settings=request.settings)
        self._asked.set()
        return Erasures(erasing=self._planned())

    def _planned(self) -> list[Erasing]:
        planned = erasure.intent(self._home)
        if planned is None:
            return []
        left = max(0, planned.due - self._now())
        return [Erasing(what="all", contact="", left=left)]

    async def until_erased(self, stopping: trio.Event) -> None:
        """End the daemon when its home is to be erased, which is done when all of it is closed."""
        while True:
            self._asked = trio.Event()
            if self.clock is not None and erasure.is_due(self._home, self._now()):
                self.over = True
                stopping.set()
                return
            with trio.move_on_after(LOOK_EVERY):
                await self._asked.wait()

    async def send_all(self, requests: Sequence[Send]) -> list[Answer | LocalError]:
        """Send messages in their order."""
        if self.service is None:
            await self._open.wait()
        assert self.service is not None
        return await self.service.send_all(requests)

    async def _unlock(self, request: Unlock) -> Answer:
        """Try a secret, one at a time; a wrong one costs time. Raises WrongPassphrase."""
        async with self._trying:
            if not self.opened.is_set():
                passphrase = request.passphrase.encode() or None
                key_file = Path(request.key_file) if request.key_file else None
                if key_file is not None and not key_file.is_absolute():
                    raise InvalidInput("the key file's path must be absolute")
                try:
                    await trio.to_thread.run_sync(
                        lambda: keys.unlock(
                            self._home.vault_key, passphrase=passphrase, key_file=key_file
                        )
                    )
                except WrongPassphrase:
                    await trio.sleep(WRONG_PAUSE)
                    raise
                self.secret = passphrase, key_file
                self.opened.set()
        await self._open.wait()
        return Done()


async def _serve_api(
    node: Service,
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


async def _announce(node: Service, talk: Talk, began: float) -> None:
    """Say once that the node is ready, and how its transports are."""
    await node.call(GetReady(timeout=FIRST_LOOK))
    status = await node.call(GetStatus())
    assert isinstance(status, Status)
    told = [
        f"{name}: {one.state}" + (f", {one.detail}" if one.detail else "")
        for name, one in status.transports.items()
    ]
    if status.locked:
        told.append("locked: carrying only. Open the vault: p2pnode unlock")
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
