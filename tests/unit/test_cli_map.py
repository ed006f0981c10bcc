"""The map: text for people and screen readers, and a picture that can hold any name."""

import contextlib
import io
import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from p2pnode import schema
from p2pnode.cli import map as map_
from p2pnode.cli import terminal
from p2pnode.cli.drawing import MOST, svg

NOW = 1_800_000_000
SVG = "{http://www.w3.org/2000/svg}"
EVIL = '\x1b[2J</text><script>alert("x")</script>&\u202ename\ufffe\ud800\n\x00'


def peer(name: str, **changes: object) -> schema.Peer:
    values = {
        "name": name,
        "state": "active",
        "over": "",
        "locked": False,
        "last_seen": None,
        "encounters": 0,
        "waiting": 0,
        "oldest": 0.0,
        "carrying": 0,
    }
    return schema.Peer(**{**values, **changes})  # type: ignore[arg-type]


def meetings(transport: str, counts: dict[int, int], ago: int = 0) -> schema.Meetings:
    days = [counts.get(age, 0) for age in range(29, -1, -1)]
    return schema.Meetings(transport=transport, days=days, last=NOW - ago)


MAP = schema.Map(
    name="ana",
    days=30,
    places=[
        schema.MapEntry(
            peer=peer("bo", over="lan", waiting=2),
            met=[meetings("lan", {0: 8, 1: 4, 29: 1}), meetings("ble", {2: 1}, 172_800)],
        ),
        schema.MapEntry(
            peer=peer("cleo", last_seen=NOW - 7_200), met=[meetings("tor", {0: 1}, 7_200)]
        ),
        schema.MapEntry(peer=peer("dora"), met=[]),
    ],
)


def test_the_text_for_a_terminal():
    assert map_._drawn(MAP, NOW) == [
        "           30 days ago              today",
        "bo    lan  ▁                           ▄█  13 times, here, over lan, 2 messages waiting",
        "      ble                             ▁    once",
        "cleo  tor                               ▁  once, last met 2 h ago",
        "dora" + " " * 39 + "not met yet",
    ]


def test_the_plain_text_has_one_sentence_for_each_contact():
    bo = "bo: here, over lan; over lan 13 times, the last 0 s ago; over ble once, the last 2 d ago"
    assert map_._plain(MAP, NOW) == [
        f"{bo}; 2 messages waiting",
        "cleo: last met 2 h ago; over tor once, the last 2 h ago",
        "dora: not met yet",
    ]


def drawn(found: schema.Map) -> ET.Element:
    """Parse a picture strictly, after a look for whatever could reach out of it."""
    text = svg(found, NOW)
    assert not re.search(r"(?i)<script|href|url\(|@import|<foreignObject|on\w+=|<!", text)
    return ET.parse(io.StringIO(text)).getroot()


def test_the_picture_has_a_line_for_each_transport_and_a_name_for_each_contact():
    root = drawn(MAP)
    texts = [one.text for one in root.iter(f"{SVG}text")]
    for text in ("bo", "cleo", "dora", "you", "lan", "ble", "tor", "last met 2 h ago"):
        assert text in texts
    assert len([one for one in root.iter(f"{SVG}path") if "Q" in one.get("d", "")]) == 3
    kinds = [one.get("class") for one in root.iter(f"{SVG}circle")]
    assert sorted(filter(None, kinds)) == ["away", "away", "here", "you"]
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")


@given(st.text(max_size=80), st.text(min_size=1, max_size=40))
def test_any_name_is_text_and_nothing_else(name, transport):
    for text in (name, EVIL + name):
        place = schema.MapEntry(peer=peer(text), met=[meetings(transport, {0: 1})])
        drawn(schema.Map(name=text, days=30, places=[place]))


def test_a_crowd_is_drawn_up_to_a_bound():
    places = [
        schema.MapEntry(peer=peer(f"n{number}"), met=[meetings("lan", {0: number})])
        for number in range(MOST + 7)
    ]
    root = drawn(schema.Map(name="ana", days=30, places=places))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert "and 7 more" in texts
    assert f"n{MOST + 6}" in texts
    assert "n0" not in texts
    empty = drawn(schema.Map(name="ana", days=30, places=[]))
    assert "you" in [one.text for one in empty.iter(f"{SVG}text")]


def test_a_terminal_gets_no_more_than_its_names():
    evil = schema.Map(name="ana", days=30, places=[schema.MapEntry(peer=peer(EVIL), met=[])])
    for line in (*map_._plain(evil, NOW), *map_._drawn(evil, NOW)):
        assert "\x1b" not in line
        assert "\u202e" not in line


def test_a_picture_is_for_its_owner_alone(tmp_path, monkeypatch):
    class Stub:
        def call(self, request: schema.GetMap) -> schema.Map:
            return MAP

    monkeypatch.setattr(terminal.Terminal, "client", lambda self: contextlib.nullcontext(Stub()))
    path = tmp_path / "map.svg"
    map_.command.main(["--svg", str(path)], standalone_mode=False, obj=terminal.Terminal())
    assert path.stat().st_mode & 0o777 == 0o600
    assert "<svg" in path.read_text()
