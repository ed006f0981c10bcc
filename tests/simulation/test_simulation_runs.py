"""The simulator: alike from the same seed, honest about what breaks, and true to the real nodes."""

import json
import subprocess
import sys

import msgspec
import pytest

from p2pnode.errors import ConfigError, InvalidInput
from p2pnode.sim import scenario as scenarios
from p2pnode.sim.plot import svg
from p2pnode.sim.report import Report, simulate
from p2pnode.sim.routing import COMPARED
from p2pnode.sim.scenario import Scenario

SMALL = """
title = "A few streets"
nodes = 14
days = 1
real = true
[mobility]
kind = "community"
area = [400, 400]
places = 2
step = 120
[friends]
each = 5
[traffic]
messages = 60
to_hour = 10
"""


def run(text: str, seed: int, **changes: object) -> Report:
    chosen = msgspec.structs.replace(scenarios.parsed(text, "small.toml"), seed=seed)
    print("seed", seed)
    return simulate(chosen, lambda line: None)


def rows(report: Report) -> dict[str, object]:
    return {row.name: row for row in report.rows}


@pytest.mark.parametrize("seed", range(1, 5))
def test_real_nodes_keep_every_promise_and_the_model_agrees_with_them(seed: int) -> None:
    report = run(SMALL, seed)
    assert report.broken == []
    found = rows(report)
    real, model, best = (
        found[name] for name in ("real p2pnode nodes", "p2pnode", "friends-at-best")
    )
    assert real.delivered == pytest.approx(best.delivered, abs=0.02)
    assert real.delivered == pytest.approx(model.delivered, abs=0.02)
    assert real.p50_min == pytest.approx(model.p50_min, rel=0.2, abs=5)
    assert real.copies < 1.3 * model.copies + 2


@pytest.mark.parametrize("seed", range(1, 4))
def test_real_nodes_keep_every_promise_when_much_goes_wrong(seed: int) -> None:
    bad = SMALL + (
        "[carry]\nmax_mb = 0.3\n[link]\nbandwidth = 9000\nlost = 0.3\n[faults]\ndroppers = 0.2\n"
        "flooders = 0.15\nflood_per_hour = 400\noff = 0.3\noff_hours = 2\n"
        "clock_error = 2000000000\nclock_steps = 4\ncrashes = 6\n"
    )
    report = run(bad, seed)
    assert report.broken == []
    assert rows(report)["real p2pnode nodes"].delivered > 0.5


@pytest.mark.parametrize("seed", [11, 12])
def test_whatever_the_clocks_say_nothing_ends_early_or_lives_for_ever(seed: int) -> None:
    """A third of the nodes in 1970, a third ten years ahead, a third set back again and again."""
    text = (
        SMALL.replace("days = 1", "days = 3").replace("to_hour = 10", "to_hour = 30\nlifetime = 0")
        + '[faults]\nclocks = "wrong"\nclock_steps = 8\n'
    )
    wrong, right = run(text, seed), run(text.replace("wrong", "right"), seed)
    assert wrong.broken == right.broken == []
    assert rows(wrong)["real p2pnode nodes"].delivered == pytest.approx(
        rows(right)["real p2pnode nodes"].delivered, abs=0.05
    )
    restarted = run(text + "off = 0.3\noff_hours = 1\ncrashes = 6\n", seed)
    assert restarted.broken == []


def test_the_checks_see_what_they_are_there_for(monkeypatch) -> None:
    from p2pnode.sim.ends import End

    chosen = scenarios.parsed(SMALL, "small.toml")
    # Nobody passes on what is carried: what had a way does not come.
    monkeypatch.setattr(End, "carry", lambda *ignored: None)
    monkeypatch.setattr(End, "give", lambda *ignored: None)
    monkeypatch.setattr(End, "_reconcile", lambda *ignored: None)
    assert any("there was a way" in line for line in simulate(chosen, print).broken)


def test_what_expires_early_is_noticed(monkeypatch) -> None:
    from p2pnode.sim import node

    monkeypatch.setattr(node, "missed", lambda then, now: 86_400)
    text = SMALL.replace("to_hour = 10", "to_hour = 10\nlifetime = 0")
    broken = run(text + "[faults]\noff = 0.3\noff_hours = 1\n", 1).broken
    assert any("expired after" in line for line in broken)


def test_the_same_seed_gives_the_same_run_in_another_process(tmp_path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    command = [sys.executable, "-m", "p2pnode", "simulate", str(file), "--seed", "7", "--json"]
    first, second = (subprocess.run(command, capture_output=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
    told = json.loads(first.stdout)
    assert told["schema"] == 1
    assert told["seed"] == 7
    assert b"seed 7" in first.stderr


def test_the_order_of_the_compared_is_what_it_must_be() -> None:
    found = rows(run(SMALL, 3))
    assert found["direct"].delivered <= found["p2pnode"].delivered + 0.02
    assert found["p2pnode"].delivered <= found["friends-at-best"].delivered
    assert found["friends-at-best"].delivered <= found["epidemic"].delivered
    assert found["spray-and-wait"].copies <= scenarios.parsed(SMALL, "").copies + 2


def test_contacts_are_served_among_hostile_strangers_and_droppers() -> None:
    """Nine of ten nodes flood ten times what is written, three in ten of the others drop all."""
    crowd = msgspec.structs.replace(scenarios.load("hostile-crowd"), nodes=250, days=0.6)
    calm = msgspec.structs.replace(
        crowd, faults=msgspec.structs.replace(crowd.faults, hostile_per_hour=0.0, droppers=0.0)
    )
    only = ("p2pnode", "friends-at-best")
    attacked, left_alone = (rows(simulate(one, lambda line: None, only)) for one in (crowd, calm))
    served, best = attacked["p2pnode"], attacked["friends-at-best"]
    assert served.delivered >= 0.99 * best.delivered
    assert served.p95_min <= 2 * left_alone["p2pnode"].p95_min
    assert served.copies > 2 * left_alone["p2pnode"].copies  # there was a flood


def test_a_recorded_trace_is_followed(tmp_path) -> None:
    trace = tmp_path / "met.csv"
    trace.write_text("time,node,node,duration,bandwidth\n100,a,b,600,\n2000,b,c,600,100000\n")
    text = (
        'title = "Trace"\nnodes = 3\ndays = 0.1\nreal = true\n[traffic]\nmessages = 20\n'
        f'to_hour = 0.01\n[mobility]\nkind = "trace"\nfile = {json.dumps(str(trace))}\n'
    )
    report = run(text, 1)
    assert report.encounters == 2
    assert report.broken == []
    # c hears from a by way of b; a, who meets nobody later, hears nothing from c.
    assert 0.3 < rows(report)["real p2pnode nodes"].delivered < 1
    unending = f"1,{'a' * 200_000},b,1,\n"
    for wrong in ("x,a,b,1,\n", "1,a\n", "nan,a,b,1,\n", "1,a,b,nan,\n", "1,a,b,1,nan\n", unending):
        trace.write_text(wrong)
        with pytest.raises(InvalidInput, match="trace"):
            run(text, 1)


def test_shipped_scenarios_are_readable_and_named() -> None:
    known = scenarios.shipped()
    assert set(known) == {
        "blackout",
        "festival",
        "village-bus",
        "protest",
        "two-offices",
        "hostile-crowd",
    }
    for name, title in known.items():
        assert scenarios.load(name).title == title
        assert scenarios.load(name).about


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "title = 1",
        'title = "x"\nnodes = 1',
        'title = "x"\nnodes = 1000000',
        'title = "x"\nnodes = 3\nspeling = 1',
        'title = "x"\nnodes = 3\n[mobility]\nkind = "teleport"',
        'title = "x"\nnodes = 3\n[faults]\noff = 2.0',
        "title = [",
    ],
)
def test_a_wrong_scenario_is_refused_in_words(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"some\.toml"):
        scenarios.parsed(wrong, "some.toml")


def test_unknown_names_are_refused_with_what_there_is(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="festival"):
        scenarios.load("fastival")
    with pytest.raises(InvalidInput, match="read"):
        scenarios.load(str(tmp_path / "no.toml"))


def test_the_picture_shows_every_way_and_stays_small() -> None:
    report = run(SMALL, 2)
    picture = svg(msgspec.structs.replace(report, title="<script>"))
    assert "<script>" not in picture
    assert len(picture) < 100_000
    for kind in COMPARED:
        assert kind.name in picture


def test_a_custody_without_a_quota_is_noticed(monkeypatch) -> None:
    from p2pnode.protocol.custody import Admit
    from p2pnode.turns import carry

    monkeypatch.setattr(carry, "judge", lambda *asked: Admit())
    report = run(SMALL + "[carry]\nmax_mb = 0.05\n", 1)
    assert any("carries" in line for line in report.broken)


def test_a_nonce_used_twice_is_noticed(monkeypatch) -> None:
    from p2pnode.sim.entropy import SeededEntropy

    honest = SeededEntropy.take
    monkeypatch.setattr(
        SeededEntropy, "take", lambda self, n: bytes(24) if n == 24 else honest(self, n)
    )
    assert any("nonce" in line for line in run(SMALL, 1).broken)


def test_scenario_defaults_are_usable() -> None:
    chosen = Scenario(title="two", nodes=2, days=0.2)
    assert simulate(chosen, lambda line: None).messages > 0
