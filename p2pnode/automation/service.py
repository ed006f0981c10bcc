"""Runs what the configuration asks for beside a node, and tells of it in `status` and `doctor`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from p2pnode.automation import desktop, hooks
from p2pnode.config import Config
from p2pnode.errors import LocalError
from p2pnode.logs import EventLog, Private, traced
from p2pnode.schema import (
    Answer,
    Diagnosis,
    Finding,
    ProgramStatus,
    Request,
    Send,
    Service,
    Status,
)

log = EventLog("automation")


class Automaton(Protocol):
    """What is run: until cancelled, telling how it is."""

    status: ProgramStatus

    async def run(self) -> None:
        """Serve until cancelled."""

    def look(self) -> list[Finding]:
        """Return how it is, for `doctor`."""
        ...

    def failed(self) -> None:
        """Note that a defect of ours ended `run`."""


class Automated(Service):
    """A node with what runs beside it."""

    def __init__(self, node: Service, running: dict[str, Automaton]) -> None:
        self._node = node
        self._running = running

    async def call(self, request: Request) -> Answer:
        """Carry out a request. Raises LocalError."""
        answer = await self._node.call(request)
        if isinstance(answer, Status):
            told = {name: one.status for name, one in self._running.items()}
            return msgspec.structs.replace(answer, programs=told)
        if isinstance(answer, Diagnosis):
            looked = [await trio.to_thread.run_sync(one.look) for one in self._running.values()]
            return Diagnosis(findings=sum(looked, answer.findings))
        return answer

    async def send_all(self, requests: Sequence[Send]) -> list[Answer | LocalError]:
        """Send messages in their order."""
        return await self._node.send_all(requests)


@asynccontextmanager
async def automated(node: Service, config: Config, home: Path) -> AsyncIterator[Automated]:
    """Run hooks and notifications as configured until the context ends; programs end with it."""
    running: dict[str, Automaton] = {}
    if config.hooks.on_message:
        running[hooks.NAME] = hooks.Hook(node, config.hooks, home)
    if desktop.wanted(config.notify):
        running[desktop.NAME] = desktop.Desktop(node, config.notify, home)
    async with trio.open_nursery() as nursery:
        for one in running.values():
            nursery.start_soon(_supervised, one)
        yield Automated(node, running)
        nursery.cancel_scope.cancel()


async def _supervised(one: Automaton) -> None:
    """Run one; a defect in it ends it alone."""
    try:
        await one.run()
    except Exception as error:
        log.fault("failed", at=traced(error), text=Private(error))
        one.failed()
