"""One seed decides what the tests draw, and in which order trio's tasks take their turns."""

import sys
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import chances, fresh

ROUNDS = 40
"""Turns after which two orders that are drawn are alike once in 2**40 times."""


def turns(name: str) -> list[int]:
    """Return in which order eight tasks come to their turns in a test of this name."""
    chances.arrange(name)
    found: list[int] = []

    async def take(number: int) -> None:
        for _ in range(ROUNDS):
            found.append(number)
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(take, number)

    trio.run(main)
    return found


def test_a_tests_name_and_the_seed_decide_what_is_drawn():
    assert chances.source("one").random() == chances.source("one").random()
    assert chances.source("one").random() != chances.source("two").random()
    assert turns("one") == turns("one") != turns("two")


def test_examples_are_the_same_in_every_run_but_in_search_of_others():
    assert settings.default is not None
    assert settings.default.derandomize is not chances.FRESH
    assert settings.default.database is None


@pytest.mark.parametrize(("code", "told"), [(0, ""), (1, "Again: make random SEED=7\n")])
def test_what_failed_can_be_had_again(monkeypatch, capsys, code, told):
    ran = []
    monkeypatch.setattr(sys, "argv", ["fresh", "--seed", "7", "--", "tests/property"])
    monkeypatch.setattr(fresh, "run", lambda seed, words: ran.append((seed, words)) or code)
    assert fresh.main() == code
    assert ran == [(7, ["tests/property"])]
    assert capsys.readouterr().out == f"seed 7\n{told}"


@given(st.none())
def drawn(_: None) -> None:
    """Stands for a property."""


@pytest.mark.parametrize(
    ("test", "fixtures", "draws"),
    [
        (drawn, (), True),
        (turns, ("tmp_path", "chance"), True),
        (turns, ("autojump_clock",), True),
        (turns, ("tmp_path",), False),
    ],
)
def test_a_search_runs_what_draws_and_nothing_else(test, fixtures, draws):
    items = [SimpleNamespace(obj=test, fixturenames=fixtures)]
    fresh.pytest_collection_modifyitems(items)
    assert bool(items) is draws
