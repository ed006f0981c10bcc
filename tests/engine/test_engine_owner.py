"""The owner task: where commits run, in which order, and what shares one.

The time stands still but where a test moves it: how soon an ask comes after another counts.
"""

import threading
from itertools import count

import pytest
import trio
import trio.testing

from p2pnode.engine import owner as module
from p2pnode.engine.clock import Clock
from p2pnode.engine.owner import FAST, Owner
from p2pnode.errors import InvalidInput
from p2pnode.turns.commit import Outcome


class Script:
    """Stands in for `commit`: notes batches and threads; takes as long as the script says."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[int] = []
        self.seconds = 0.0
        self.now = 0.0

    def commit(self, stores, batch, now, entropy):
        self.batches.append(list(batch))
        self.threads.append(threading.get_ident())
        self.now += self.seconds
        return [
            Outcome(None, InvalidInput("no"), ())
            if ask.startswith("bad")
            else Outcome(f"{ask} done", None, (f"effect of {ask}",))
            for ask in batch
        ]

    def clock(self) -> float:
        return self.now

    @property
    def here(self) -> list[bool]:
        return [one == threading.get_ident() for one in self.threads]


@pytest.fixture
def script(monkeypatch):
    made = Script()
    monkeypatch.setattr(module, "commit", made.commit)
    monkeypatch.setattr(module, "perf_counter", made.clock)
    return made


class Scene:
    """An owner with nothing behind it."""

    def __init__(self) -> None:
        self.performed: list[str] = []
        self.failed: list[str] = []
        self.owner = Owner(
            None,
            Clock.resumed(None),
            None,
            perform=self.performed.extend,
            failed=lambda ask, error: self.failed.append(ask),
        )


async def test_a_lone_ask_is_committed_at_once_and_those_close_behind_share(
    script, nursery, mock_clock
):
    scene = Scene()
    assert await scene.owner.ask("one") == "one done"
    assert script.here == [True]
    done = trio.Event()

    async def ask(name: str) -> None:
        await scene.owner.ask(name)
        if len(scene.performed) == 21:
            done.set()

    for number in range(20):
        nursery.start_soon(ask, f"more {number}")
    await trio.testing.wait_all_tasks_blocked()
    assert len(script.batches) == 1
    nursery.start_soon(scene.owner.run)
    await done.wait()
    assert [len(batch) for batch in script.batches] == [1, 20]
    assert script.here == [True, False]
    assert sorted(scene.performed[1:]) == sorted(f"effect of {ask}" for ask in script.batches[1])


async def test_a_slow_disk_is_waited_for_elsewhere_until_it_is_fast_again(
    script, nursery, mock_clock
):
    scene = Scene()
    nursery.start_soon(scene.owner.run)
    script.seconds = 20 * FAST
    await scene.owner.ask("slow")
    script.seconds = FAST / 100
    for number in count():
        mock_clock.jump(2 * module.CLOSE)
        await scene.owner.ask(f"again {number}")
        if script.here[-1]:
            break
    assert 20 < number < 40
    assert script.here[1:-1] == [False] * (number)


async def test_asks_of_one_caller_keep_their_order(script, nursery, mock_clock):
    scene = Scene()
    nursery.start_soon(scene.owner.run)
    names = [f"ask {number}" for number in range(100)]
    outcomes = await scene.owner.ask_all(names)
    assert [outcome.answer for outcome in outcomes] == [f"{name} done" for name in names]
    assert [ask for batch in script.batches for ask in batch] == names
    assert len(script.batches) == 2
    assert scene.performed == [f"effect of {name}" for name in names]


async def test_an_ask_does_not_overtake_one_that_is_handed_over(script, nursery, mock_clock):
    """The owner waits for asks: what comes is in no queue then, and not yet committed either. On a
    busy machine what came right after it was alone again, and was committed first."""
    scene = Scene()
    nursery.start_soon(scene.owner.run)
    await trio.testing.wait_all_tasks_blocked()
    await scene.owner.post("at once")
    await scene.owner.post("close behind")
    mock_clock.jump(2 * module.CLOSE)
    await scene.owner.ask("late")
    assert [ask for batch in script.batches for ask in batch] == ["at once", "close behind", "late"]


async def test_errors_go_to_whoever_asked_or_else_to_the_engine(script, nursery, mock_clock):
    scene = Scene()
    nursery.start_soon(scene.owner.run)
    with pytest.raises(InvalidInput):
        await scene.owner.ask("bad")
    await scene.owner.post("bad at once")
    await scene.owner.post("bad in the queue")
    assert [outcome.error is None for outcome in await scene.owner.ask_all(["good", "bad"])] == [
        True,
        False,
    ]
    assert scene.failed == ["bad at once", "bad in the queue"]
    assert scene.performed == ["effect of good"]
