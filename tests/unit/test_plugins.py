"""Plug-ins that are not there, or not what they say: the node runs on without them."""

from pathlib import Path

import pytest

from p2pnode import plugins
from p2pnode.spi.memory import MemoryTransport
from p2pnode.spi.transport import Transport


class Older(Transport):
    """One written before the interface was what it is."""

    name = "older"


class One(MemoryTransport):
    """A sound one."""

    name = "one"

    def __init__(self, settings: object) -> None:
        self.settings = settings


class Unsettled(One):
    settings_type = dict  # type: ignore[assignment]


class Falls(One):
    def __init__(self, settings: object) -> None:
        raise RuntimeError("not today")


class Point:
    """An entry point whose plug-in is whatever `load` returns or raises."""

    def __init__(self, name: str, found: object) -> None:
        self.name = name
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "not installed"),
        (ImportError("no driver"), "cannot be loaded"),
        (SyntaxError("not Python"), "cannot be loaded"),
        (RuntimeError("falls over"), "cannot be loaded"),
        ("a text", "is no transport"),
        (dict, "is no transport"),
        (Older, "made for another version"),
        (SystemExit(1), "cannot be loaded"),
        (Unsettled, "made for another version"),
        (MemoryTransport, "has another name than its plug-in"),
        (One, ""),
    ],
)
def test_what_cannot_be_used_is_told_and_no_more(monkeypatch, found, reason):
    points = [] if found is None else [Point("one", found)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    kind = plugins._kind("one")
    if not reason:
        assert kind is One
        return
    assert kind == reason
    assert plugins.settings_of("one") is None
    plugins.check(Path("config.toml"), {"one": {"colour": "blue"}})
    [stand_in] = plugins.load(Path("config.toml"), {"one": {}})
    assert isinstance(stand_in, plugins.Missing)
    assert stand_in.name == "one"


def test_one_that_cannot_be_begun_is_as_good_as_not_there(monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point("one", Falls)])
    [stand_in] = plugins.load(Path("config.toml"), {"one": {}})
    assert isinstance(stand_in, plugins.Missing)
