"""asyncio from trio: values, exceptions and cancellation cross; nothing is left behind."""

import asyncio
import contextlib
import gc
import logging
import os
import threading

import pytest
import trio

from p2pnode.spi.bridge import BridgeClosed, open_bridge


def held() -> tuple[list[str], int]:
    """Return the threads and how many files are open, but for threads that trio keeps."""
    names = sorted(one.name for one in threading.enumerate())
    return [name for name in names if "Trio thread" not in name], len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_left():
    gc.collect()  # what earlier tests have left to the collector does not go meanwhile
    before = held()
    yield
    assert before == held()


async def test_values_and_arguments_cross():
    async def double(number: int, *, plus: int) -> int:
        await asyncio.sleep(0)
        return 2 * number + plus

    async with open_bridge() as bridge:
        assert await bridge.run(double, 20, plus=2) == 42


async def test_exceptions_cross():
    async def fail() -> None:
        raise LookupError("in asyncio")

    async with open_bridge() as bridge:
        with pytest.raises(LookupError, match="in asyncio"):
            await bridge.run(fail)


async def test_cancel_reaches_the_asyncio_task_and_waits_for_it():
    steps: list[str] = []
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def wait() -> None:
        token.run_sync_soon(begun.set)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async with open_bridge() as bridge:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.run, wait)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught or steps
        assert steps == ["cleaned up"]


async def test_a_result_in_spite_of_cancel_is_kept():
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()
    got: list[str] = []

    async def stubborn() -> str:
        token.run_sync_soon(begun.set)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done all the same"

    async with open_bridge() as bridge, trio.open_nursery() as nursery:

        async def call() -> None:
            got.append(await bridge.run(stubborn))

        nursery.start_soon(call)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert got == ["done all the same"]


async def test_cancelled_before_it_begins():
    called = False

    async def never() -> None:
        nonlocal called
        called = True

    async with open_bridge() as bridge:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bridge.run(never)
        assert scope.cancelled_caught
        await bridge.run(asyncio.sleep, 0)
    assert not called


async def test_an_asyncio_task_that_cancels_itself_is_no_trio_cancel():
    async def give_up() -> None:
        raise asyncio.CancelledError

    async with open_bridge() as bridge:
        with pytest.raises(BridgeClosed):
            await bridge.run(give_up)


async def test_one_loop_for_all_users():
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    async with open_bridge() as one, open_bridge() as two:
        assert await one.run(loop) == await two.run(loop)
        async with open_bridge() as three:
            assert three is one
        assert await one.run(loop)
    async with open_bridge() as fresh:
        assert fresh is not one


async def test_leftover_tasks_are_cancelled_at_the_end():
    ended: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def begin() -> None:
        lingering = asyncio.get_running_loop().create_task(linger())
        await asyncio.sleep(0)
        assert not lingering.done()

    async with open_bridge() as bridge:
        await bridge.run(begin)
    assert ended == ["ended"]


async def test_inbox_brings_items_in_order_and_drops_what_does_not_fit():
    async def fill(put, count: int) -> None:
        for number in range(count):
            put(number)

    async with open_bridge() as bridge:
        put, items = bridge.inbox(3)
        await bridge.run(fill, put, 5)
        assert [await items.receive() for _ in range(3)] == [0, 1, 2]
        await bridge.run(fill, put, 1)
        assert await items.receive() == 0
        items.close()
        await bridge.run(fill, put, 1)


async def test_a_failing_callback_is_logged_without_its_words(caplog):
    async def schedule() -> None:
        def explode() -> None:
            raise OSError("192.0.2.1 is secret")

        asyncio.get_running_loop().call_soon(explode)
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        async with open_bridge() as bridge:
            await bridge.run(schedule)
    assert "OSError" in caplog.text
    assert "192.0.2.1" not in caplog.text
