"""The event log: what stands in a line, what never does, and how much of it."""

import io
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pnode import logs
from p2pnode.logs import EventLog, Journal, Plain, Private, phrase, tag, traced
from tests.journal import Written, journals

CANARY = "canary-9c1d"


@pytest.fixture
def written() -> Iterator[Written]:
    with journals() as made:
        yield made


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_line_holds_constants_counts_and_tags_alone(written, level):
    written.journal.configure(level, identifiers=False)
    log = EventLog("links")
    for say in (log.debug, log.info, log.warning, log.fault):
        say("up", transport="lan", peer=tag(b"bo"), n=3, ok=True, seconds=1.23456)
        say("down", address=Private(CANARY), reason=CANARY.upper(), name="192.0.2.7")
    found = written.lines()
    assert len(found) == 2 * (4 - ["debug", "info", "warning", "error"].index(level))
    assert found[-1] == "<3>links down reason=withheld name=withheld"
    assert found[-2] == f"<3>links up transport=lan peer={tag(b'bo')} n=3 ok=true seconds=1.23"
    assert CANARY not in "".join(found).lower()


def test_a_tag_stands_for_one_and_says_nothing(monkeypatch):
    monkeypatch.setattr(logs, "_SALT", bytes(31))  # by chance two of 65,536 would be alike
    assert tag(b"bo") == tag(b"bo") != tag(b"cy")
    assert tag(b"bo").startswith("c:")
    before = tag(b"bo")
    monkeypatch.setattr(logs, "_SALT", bytes(32))  # as in another process
    assert tag(b"bo") != before


def test_repeats_are_counted_and_told_later(written):
    written.journal.configure("info", identifiers=False)
    log = EventLog("links")
    for number in range(322):
        log.warning("refused", reason="bad-frame", link=number)
        log.info("other")
    found = written.lines()
    assert sum("refused" in line for line in found) == 10
    written.journal.sweep()
    assert written.lines() == []
    written.now += 61
    written.journal.sweep()
    assert written.lines() == [
        "<4>... 312 more: links refused reason=bad-frame",
        "<6>... 312 more: links other",
    ]
    log.warning("refused", reason="bad-frame", link=1)
    assert len(written.lines()) == 1


def test_ever_new_lines_are_bounded_too(written):
    written.journal.configure("info", identifiers=False)
    for number in range(5_000):
        logging.getLogger("p2pnode.x").warning("kind %d", number)
    assert len(written.lines()) == logs.MOST_LINES
    written.now += 61
    written.journal.sweep()
    assert written.lines() == ["<4>... 4488 more of other kinds"]
    log = EventLog("links")
    log.warning("refused")
    assert written.lines() == []
    written.now += logs.HOUR
    log.warning("refused")
    left_out = logs.MAX_KEYS - logs.MOST_LINES + 1
    assert written.lines() == [
        f"<4>... {left_out} more in the hour before",
        "<4>links refused",
    ]
    written.journal.configure("debug", identifiers=False)
    for number in range(2 * logs.MOST_LINES):
        logging.getLogger("p2pnode.x").warning("kind %d", number)
    assert len(written.lines()) == logs.MAX_KEYS - 1  # whoever debugs sees all of it


def test_what_libraries_say_is_cut_to_the_place_they_say_it(written):
    written.journal.configure("debug", identifiers=False)
    other = logging.getLogger("nolibrary.of.canary-9c1d")
    other.warning("%s is at 192.0.2.7", CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError:
        other.exception("oh %s", CANARY)
    other.debug(CANARY)
    loud = logging.getLogger("asyncio")
    loud.setLevel(logging.DEBUG)  # chose its own level
    loud.debug(CANARY)
    loud.setLevel(logging.NOTSET)
    found = written.lines()
    assert [line.partition(" at=")[0] for line in found] == [
        "<4>library.spoke name=another level=warning",
        "<3>library.spoke name=another level=error",
    ]
    assert CANARY not in "".join(found)


def test_identifiers_come_through_for_an_hour_and_then_no_more(written):
    written.journal.configure("error", identifiers=True)
    assert written.lines() == ["<4>log identifiers.on seconds=3600"]
    log = EventLog("store")
    log.fault("refused", text=Private("disk of ana\x1b[2J\nfull"))
    logging.getLogger("nolibrary").error("at 192.0.2.7")
    first, second = written.lines()
    assert first == '<3>store refused text="disk of ana\\u001b[2J\\nfull"'
    assert second.endswith('said="at 192.0.2.7"')
    written.now += 3_601
    log.fault("refused", text=Private(CANARY))
    written.journal.sweep()
    assert "".join(written.lines()).endswith("<4>log identifiers.off")
    assert not written.journal.open
    written.journal.configure("error", identifiers=True)
    written.journal.configure("error", identifiers=False)
    assert written.lines()[-1] == "<4>log identifiers.off"


def test_a_transports_word_is_withheld_unless_plain():
    for plain in ("no network interface is up", "45%", "still starting", "the port is taken"):
        assert isinstance(phrase(plain), Plain)
    for odd in ("at 192.0.2.7", "fe80::1", "MyWiFi_5G", "x" * 81, "a\nb", "port 4001", ""):
        assert isinstance(phrase(odd), Private)


def test_errors_that_nobody_caught_are_told_without_their_text(written, monkeypatch):
    for name in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    logs.take_over()
    written.journal.configure("info", identifiers=False)

    def fail() -> None:
        raise OSError(CANARY)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    with pytest.raises(OSError, match=CANARY) as caught:
        fail()
    sys.excepthook(OSError, caught.value, None)
    assert "test_event_log.py" in traced(ExceptionGroup("x", [caught.value]))
    warnings.showwarning(ResourceWarning(CANARY), ResourceWarning, f"/home/{CANARY}/x.py", 3)
    found = written.lines()
    assert [line.partition(" at=")[0] for line in found] == [
        "<3>errors thread.crashed",
        "<3>errors crashed",
        '<4>errors python.warned kind="ResourceWarning"',
    ]
    assert CANARY not in "".join(found)


def test_a_stream_that_fails_costs_lines_and_nothing_else(written):
    written.journal.configure("info", identifiers=False)
    written.stream.close()
    EventLog("x").warning("y")


def test_without_the_journal_lines_have_a_time_and_a_level(monkeypatch):
    stream = io.StringIO()
    journal = Journal(stream)
    journal.handle(logging.makeLogRecord({"name": "p2pnode.x", "msg": "y", "levelno": 30}))
    assert stream.getvalue()[10] == "T"
    assert stream.getvalue()[20:] == " warning x y\n"


_AREA = re.compile(r'(\w+) = EventLog\("([\w.]+)"\)')
_SAID = re.compile(r'\b(\w+)\.(?:debug|info|warning|error|fault)\(\s*"([\w.]+)"')
_ROW = re.compile(r"^\| (`[^|]+)", re.MULTILINE)


def test_operations_tells_of_every_event_and_of_no_other():
    root = Path(__file__).parents[2]
    said = set()
    for path in (root / "p2pnode").rglob("*.py"):
        text = path.read_text()
        areas = dict(_AREA.findall(text))
        said |= {(areas[log], event) for log, event in _SAID.findall(text) if log in areas}
    page = (root / "docs" / "operations.md").read_text()
    table = page.partition("| event | says | do |")[2].partition("\n\n")[0]
    told, area = set(), ""
    for words in re.findall("`([^`]+)`", "".join(_ROW.findall(table))):
        first, *rest = words.split()
        if first in {known for known, _ in said}:
            area, first = first, rest[0]
        told.add((area, first))
    told = {(area, event) for area, event in told if event != "library.spoke"}
    assert told == said
