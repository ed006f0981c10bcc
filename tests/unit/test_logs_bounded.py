"""The log cannot fill a disk."""

import logging

from p2pnode.logs import MOST_LINES, SPAN, Bounded


def test_so_many_lines_in_a_span_and_then_their_count():
    now = 0.0
    bounded = Bounded(lambda: now)

    def line(text: str = "a link failed") -> str | None:
        record = logging.LogRecord("p2pnode", logging.INFO, "", 0, text, (), None)
        return record.getMessage() if bounded.filter(record) else None

    assert [line() for _ in range(MOST_LINES)] == ["a link failed"] * MOST_LINES
    assert [line() for _ in range(7)] == [None] * 7
    now = SPAN
    assert line() == "(7 lines were left out before this one) a link failed"
    assert line("100 % more") == "100 % more"
