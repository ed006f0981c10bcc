"""The door between the API and the node behind it, which may be open or locked.

Locking and unlocking exchange the node; the API's socket and its clients stay.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from p2pnode.config import Home
from p2pnode.errors import InvalidInput, LocalError, VaultLocked, WrongPassphrase
from p2pnode.logs import EventLog
from p2pnode.schema import Answer, ChangeSecret, Done, Lock, Request, Send, Service, Unlock
from p2pnode.store import keys

log = EventLog("daemon")

WRONG_PAUSE = 2.0
"""Seconds a wrong passphrase costs beyond the work of trying it."""

GRACE = 1.0
"""Seconds requests under way may take to end before the node they ask goes."""

T = TypeVar("T")


class Gate(Service):
    """What the API talks to: the locked node or the open one, whichever stands.

    Requests that come while the one gives way to the other wait for it. turned: somebody wants the
    other one.
    """

    def __init__(self, home: Home) -> None:
        self.turned = trio.Event()
        self._home = home
        self._service: Service | None = None
        self._locked = False
        self._refused: LocalError | None = None
        self._stands = trio.Event()
        self._key: bytes | None = None
        self._calls: dict[trio.CancelScope, bool] = {}
        self._left = trio.Event()
        self._turning = trio.Lock()

    def open(self, service: Service, *, locked: bool, refused: LocalError | None = None) -> None:
        """Let requests through to a node. refused: why it is not the open one that was wanted."""
        self._service, self._locked, self._refused = service, locked, refused
        self.turned = trio.Event()
        self._stands.set()

    async def emptied(self) -> None:
        """Return when nothing asks the node any more that has to go.

        What merely waits for something to happen ends at once, the rest after a grace. What comes
        meanwhile, or had to go, waits for the next node.
        """
        if self._service is not None:
            self._service, self._stands = None, trio.Event()
        for scope, waits in list(self._calls.items()):
            if waits:
                scope.cancel()
        with trio.move_on_after(GRACE):
            await self._until_none()
        for scope in list(self._calls):
            scope.cancel()
        await self._until_none()

    async def unlock_with(self, secret: keys.Secret) -> None:
        """Find out the vault's key, off the event loop. Raises what `keys.unlock` raises."""
        self._key = await trio.to_thread.run_sync(keys.unlock_with, self._home.vault_key, secret)

    def take_key(self) -> bytes:
        """Return the vault's key that was found out; it is kept no longer."""
        key, self._key = self._key, None
        assert key is not None  # found out before the open node is asked for
        return key

    async def call(self, request: Request) -> Answer:
        """Carry out a request. Raises LocalError."""
        if isinstance(request, Unlock):
            return await self._unlock(request)
        if isinstance(request, Lock):
            return await self._lock()
        if isinstance(request, ChangeSecret):
            return await self._change(request)
        waits = getattr(request, "timeout", 0) > 0
        found = None
        while found is None:  # of the next node, when the one that was asked had to go
            service = await self._standing()
            found = await self._let_in(partial(service.call, request), waits=waits)
        return found

    async def send_all(self, requests: Sequence[Send]) -> list[Answer | LocalError]:
        """Send messages in their order."""
        service = await self._standing()
        found = await self._let_in(partial(service.send_all, requests), waits=False)
        return found if found is not None else [_overtaken() for _ in requests]

    async def _standing(self) -> Service:
        while self._service is None:
            await self._stands.wait()
        return self._service

    async def _let_in(self, what: Callable[[], Awaitable[T]], *, waits: bool) -> T | None:
        """Ask the node that stands; None when it had to go before it answered."""
        with trio.CancelScope() as scope:
            self._calls[scope] = waits
            try:
                return await what()
            finally:
                del self._calls[scope]
                self._left.set()
        return None

    async def _until_none(self) -> None:
        while self._calls:
            self._left = trio.Event()
            await self._left.wait()

    async def _lock(self) -> Answer:
        """Let the open node give way to the locked one. Raises InvalidInput."""
        if keys.kind(self._home.vault_key) == "none":
            raise InvalidInput(
                "this vault has no lock",
                why="its key lies beside it in the clear",
                hint="Give it a passphrase first: p2pnode passphrase",
            )
        async with self._turning:
            await self._standing()
            if not self._locked:
                await self._turn()
                log.info("locked")
        return Done()

    async def _unlock(self, request: Unlock) -> Answer:
        """Try a secret, one at a time; a wrong one costs time. Raises WrongPassphrase, and why a
        vault whose secret fits cannot be opened: then it stays locked."""
        async with self._turning:
            await self._standing()
            if self._locked:
                secret = _secret(request.passphrase, request.key_file)
                unlock = partial(keys.unlock_with, self._home.vault_key, secret)
                self._key = await self._tried(unlock)
                await self._turn()
                if self._refused is not None:
                    raise self._refused
                log.info("unlocked")
        return Done()

    async def _change(self, request: ChangeSecret) -> Answer:
        """Keep the vault's key under another secret, one change at a time; a wrong one costs time.

        It is done here, where nobody erases the home meanwhile. Raises what `keys.change` raises.
        """
        old = _secret(request.passphrase, request.key_file)
        new = _secret(request.new_passphrase, request.new_key_file)
        async with self._turning:
            await self._standing()
            await self._tried(partial(keys.change, self._home.vault_key, old, new))
            log.info("secret.changed")
        return Done()

    async def _tried(self, what: Callable[[], T]) -> T:
        """Do what takes a secret, off the event loop; a wrong one costs time."""
        try:
            return await trio.to_thread.run_sync(what)
        except WrongPassphrase:
            log.warning("unlock.refused", reason=WrongPassphrase.code)
            await trio.sleep(WRONG_PAUSE)
            raise

    async def _turn(self) -> None:
        """Let nothing through, ask for the other node and wait until it stands."""
        self._service, self._stands = None, trio.Event()
        self.turned.set()
        await self._stands.wait()


def _secret(passphrase: str, key_file: str) -> keys.Secret:
    path = Path(key_file) if key_file else None
    if path is not None and not path.is_absolute():
        raise InvalidInput("the key file's path must be absolute")
    return keys.Secret(passphrase.encode() or None, path)


def _overtaken() -> VaultLocked:
    return VaultLocked(
        "the vault was locked while this was under way",
        hint="See what became of it after: p2pnode unlock",
    )
