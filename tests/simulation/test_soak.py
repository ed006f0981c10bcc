"""The soak run: fixed seeds here, fresh ones by `make soak`."""

import subprocess
import sys

import pytest

from p2pnode.sim.scenario import parsed
from tests.simulation import soak


@pytest.mark.parametrize("seed", [0, 2, 4, 5, 6])
def test_towns_in_trouble_keep_every_promise(seed, tmp_path):
    assert soak.run(seed, tmp_path) == []


def test_every_seed_makes_a_town_and_the_same_one():
    for seed in range(300):
        assert soak.scenario(seed) == soak.scenario(seed)
        assert parsed(soak.scenario(seed), "soak.toml").real


def test_a_broken_promise_is_told_with_the_command_that_shows_it_again(monkeypatch, capsys):
    monkeypatch.setattr(soak, "run", lambda seed, place: ["12 s: message 3 is lost"])
    monkeypatch.setattr(sys, "argv", ["soak", "--seed", "7"])
    assert soak.main() == 1
    assert capsys.readouterr().out == ("seed 7: 12 s: message 3 is lost\nAgain: make soak SEED=7\n")


def test_it_runs_as_the_makefile_runs_it():
    words = [sys.executable, "-m", "tests.simulation.soak", "--seed", "0"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "everything held" in done.stdout
