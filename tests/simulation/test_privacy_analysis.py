"""What colluding carriers tell: alike from the same seed, between blind guessing and certainty,
and right where it must be."""

import json
import subprocess
import sys
from itertools import pairwise

import msgspec
import pytest

from p2pnode.sim import scenario as scenarios
from p2pnode.sim.privacy import PrivacyReport, PrivacyRow, analyse, table

SMALL = """
title = "A few streets"
nodes = 24
days = 2
seed = 5
[mobility]
kind = "community"
area = [600, 600]
places = 3
step = 120
[friends]
each = 5
[traffic]
messages = 60
to_hour = 24
"""

CHAIN = """
title = "One in between"
nodes = 3
days = 1
[friends]
each = 2
[traffic]
messages = 40
to_hour = 12
[mobility]
kind = "trace"
"""


@pytest.fixture(scope="module")
def report() -> PrivacyReport:
    chosen = scenarios.parsed(SMALL, "small.toml")
    print("seed", chosen.seed)
    return analyse(chosen, lambda line: None, draws=25)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> PrivacyReport:
    """The middle one of three meets the others in turn, who never meet each other."""
    trace = tmp_path_factory.mktemp("trace") / "met.csv"
    lines = []
    for hour in range(24):
        lines += [f"{hour * 3600 + 60},a,b,600,", f"{hour * 3600 + 1860},b,c,600,"]
    trace.write_text("\n".join(lines))
    chosen = scenarios.parsed(CHAIN + f"file = {json.dumps(str(trace))}\n", "chain.toml")
    return analyse(chosen, lambda line: None, draws=20)


def of(report: PrivacyReport, origin: str, *, tokens: bool) -> dict[int, PrivacyRow]:
    rows = [row for row in report.rows if row.origin == origin and row.tokens == tokens]
    return {row.colluders: row for row in rows}


def test_the_same_seed_tells_the_same_in_another_process(tmp_path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL.replace("days = 2", "days = 0.5"))
    script = (
        "import sys, msgspec\n"
        "from p2pnode.sim.privacy import analyse\n"
        "from p2pnode.sim.scenario import load\n"
        "report = analyse(load(sys.argv[1]), lambda line: None, draws=5)\n"
        "sys.stdout.buffer.write(msgspec.json.encode(report))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, check=True
    ).stdout
    here = analyse(scenarios.load(str(file)), lambda line: None, draws=5)
    assert msgspec.json.decode(told, type=PrivacyReport) == here
    assert any(0 < row.author < 1 for row in here.rows)


def test_every_origin_is_told_with_and_without_tokens(report: PrivacyReport) -> None:
    told = {(row.origin, row.tokens, row.colluders) for row in report.rows}
    assert told == {
        (origin, tokens, colluders)
        for origin in ("fast", "balanced", "hide")
        for tokens in (False, True)
        for colluders in (1, 2, 5, 10)
    }
    assert len(table(report).splitlines()) == len(report.rows) + 2


def test_figures_are_shares_and_not_below_blind_guessing(report: PrivacyReport) -> None:
    for row in report.rows:
        shares = (row.seen, row.author, row.recipient, row.friend, row.near or 0.0)
        assert all(0 <= share <= 1 for share in shares), row
        assert row.seen > 0.3
        assert row.author >= row.author_prior - 3 * row.author_error
        assert row.recipient >= row.recipient_prior - 3 * row.recipient_error
    for row in report.rows:
        if row.colluders >= 5:
            assert row.author > 2 * row.author_prior


def test_only_who_has_a_colluder_among_the_contacts_is_named(report: PrivacyReport) -> None:
    for row in report.rows:
        assert row.near is not None
        assert row.near >= row.author


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("origin", ["fast", "balanced", "hide"])
def test_more_colluders_do_not_tell_less(report: PrivacyReport, origin: str, tokens: bool) -> None:
    found = of(report, origin, tokens=tokens)
    rows = [found[count] for count in sorted(found)]
    for fewer, more in pairwise(rows):
        assert more.author >= fewer.author - 2 * (more.author_error + fewer.author_error)
        assert more.seen >= fewer.seen - 0.05
    assert rows[-1].author > rows[0].author


@pytest.mark.parametrize("tokens", [False, True])
def test_hiding_names_no_more_authors(report: PrivacyReport, tokens: bool) -> None:
    fast, hide = of(report, "fast", tokens=tokens), of(report, "hide", tokens=tokens)
    for count, row in hide.items():
        # Of all messages: with "hide" more are handed over before anybody carries them.
        error = 2 * (row.author_error + fast[count].author_error)
        assert row.author * row.seen <= fast[count].author * fast[count].seen + error
        assert row.seen <= fast[count].seen + 0.02


def test_tokens_name_authors_more_often(report: PrivacyReport) -> None:
    for origin in ("fast", "balanced", "hide"):
        off, on = of(report, origin, tokens=False)[10], of(report, origin, tokens=True)[10]
        assert on.author > off.author


def test_an_author_who_meets_nobody_but_the_colluder_is_named(chain: PrivacyReport) -> None:
    assert [row.colluders for row in chain.rows] == [1] * 6
    for row in chain.rows:
        # a and c write to each other by way of b, who knows everything then.
        assert row.author == pytest.approx(1)
        assert row.recipient == pytest.approx(1)
        assert row.near == pytest.approx(1)
        assert row.seen > 0.2
