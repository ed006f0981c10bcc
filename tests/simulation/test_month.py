"""A node nobody looks after: a day of it here, thirty by `make month`."""

from tests.simulation import month


def test_a_day_leaves_nothing_behind_and_keeps_every_promise():
    report = month.run(1, seed=20_261_121)
    assert report.broken == []
    assert report.written > 5
    assert report.happened["came by"] > 2


def test_what_adds_up_is_told():
    report = month.Report(seed=1, days=4)
    month.compare(report, "tasks", [40, 41, 42, 43], 2)
    assert report.broken == []
    month.compare(report, "tasks", [40, 41, 60, 80], 2)
    assert report.broken == ["tasks grew from 41 to 80"]
