"""asyncio for transports whose library needs it: one loop in one thread, awaited from trio.

    async with open_bridge() as bridge:
        answer = await bridge.run(library.ask, question)

Cancelling the trio side cancels the asyncio task and waits for its end; exceptions cross as they
are. All users within one trio run share the loop; it ends, and its thread with it, when the last
one leaves.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

import outcome
import trio

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
Item = TypeVar("Item")
Arguments = ParamSpec("Arguments")


class BridgeClosed(RuntimeError):
    """The asyncio loop ended while a trio task was waiting for it."""


class Bridge:
    """A running asyncio loop, seen from trio. Made by `open_bridge`."""

    def __init__(self) -> None:
        self.users = 0
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_complain)
        self._thread = threading.Thread(target=self._serve, name="p2pnode-asyncio", daemon=True)
        self._thread.start()

    async def run(
        self,
        function: Callable[Arguments, Awaitable[Result]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a coroutine function in the asyncio thread and return what it returns.

        Raises what it raises, and BridgeClosed when the loop cancels it by itself.
        """

        async def call() -> Result:
            return await function(*args, **kwargs)

        await trio.lowlevel.checkpoint_if_cancelled()
        waiting = trio.lowlevel.current_task()
        tasks: list[asyncio.Task[Result]] = []
        cancelled: list[Callable[[], Any]] = []

        def begin() -> None:
            task = self._loop.create_task(call())
            tasks.append(task)
            task.add_done_callback(done)

        def done(task: asyncio.Task[Result]) -> None:
            self._tell(trio.lowlevel.reschedule, waiting, outcome.Value(_outcome(task)))

        def cancel() -> None:
            tasks[0].cancel()

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            cancelled.append(raise_cancel)
            with suppress(RuntimeError):  # the loop is closing: the task ends anyway
                self._loop.call_soon_threadsafe(cancel)
            return trio.lowlevel.Abort.FAILED

        self._loop.call_soon_threadsafe(begin)
        result: outcome.Outcome[Result] = await trio.lowlevel.wait_task_rescheduled(abort)
        try:
            return result.unwrap()
        except BridgeClosed:
            if cancelled:
                cancelled[0]()
            raise

    def inbox(self, size: int) -> tuple[Callable[[Item], None], trio.MemoryReceiveChannel[Item]]:
        """Return (put, items): put may be called in the asyncio thread and never waits.

        What does not fit, or comes when nobody listens any more, is dropped: use it for hints.
        """
        sending, items = trio.open_memory_channel[Item](size)

        def put(item: Item) -> None:
            self._tell(partial(_offer, sending), item)

        return put, items

    def _tell(self, function: Callable[..., object], *args: object) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
            self._tell(self._ended.set)

    async def stop(self) -> None:
        """End the loop and wait for its thread; cancellation waits too."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self._thread.join()  # it has nothing left to do


_current: trio.lowlevel.RunVar[Bridge | None] = trio.lowlevel.RunVar("p2pnode asyncio bridge")


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """Enter this trio run's asyncio loop; the first user starts it, the last one ends it."""
    bridge = _current.get(None)
    if bridge is None:
        bridge = Bridge()
        _current.set(bridge)
    bridge.users += 1
    try:
        yield bridge
    finally:
        bridge.users -= 1
        if not bridge.users:
            _current.set(None)
            await bridge.stop()


def _outcome(task: asyncio.Task[Result]) -> outcome.Outcome[Result]:
    if task.cancelled():
        return outcome.Error(BridgeClosed("the asyncio task was cancelled"))
    error = task.exception()
    return outcome.Value(task.result()) if error is None else outcome.Error(error)


def _complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what failed in a callback by its kind only: asyncio's own text names peers."""
    _log.error("an asyncio callback failed: %s", type(context.get("exception")).__name__)


def _offer(sending: trio.MemorySendChannel[Item], item: Item) -> None:
    with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        sending.send_nowait(item)
