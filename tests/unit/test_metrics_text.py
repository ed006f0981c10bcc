"""The text format: every line as a Prometheus parser wants it, whatever stands in a label."""

import re

from hypothesis import given
from hypothesis import strategies as st

from p2pnode.metrics import Family, exposition, resident

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")


def parsed(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Read the format 0.0.4 strictly: help, type, then that metric's samples, each once."""
    assert not text or text.endswith("\n")
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    current, seen, stage = "", set(), "samples"
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            current, help_ = line.removeprefix("# HELP ").split(" ", 1)
            assert re.fullmatch(NAME, current)
            assert re.fullmatch(r"(?:[^\\]|\\\\|\\n)*", help_)
            assert current not in seen, "a metric's lines stand together"
            seen.add(current)
            stage = "type"
        elif line.startswith("# TYPE "):
            assert stage == "type"
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == current
            assert kind in ("counter", "gauge")
            stage = "samples"
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert stage == "samples"
            assert match[1] == current
            values = re.findall(LABEL, match[2] or "")
            key = (current, tuple(map(unescaped, values)))
            assert key not in found
            found[key] = float(match[5])
    return found


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text)


@given(st.dictionaries(st.text(), st.floats(0, 1e12) | st.integers(0, 2**63)), st.text())
def test_any_label_and_help_can_be_read_back(counts, help_):
    help_ = help_.replace("\r", "")
    samples = tuple(({"label": label}, value) for label, value in counts.items())
    told = exposition([Family("some_total", help_, "counter", samples)])
    assert parsed(told) == {
        ("p2pnode_some_total", (label,)): float(value) for label, value in counts.items()
    }


def test_what_a_page_looks_like():
    told = exposition(
        [
            Family("contacts", "Contacts.", "gauge", (({}, 2),)),
            Family("links", "Links.", "gauge", (({"transport": "lan", "kind": "contact"}, 1),)),
            Family("refused_total", "Refused.", "counter", ()),
        ]
    )
    assert told == (
        "# HELP p2pnode_contacts Contacts.\n# TYPE p2pnode_contacts gauge\np2pnode_contacts 2\n"
        "# HELP p2pnode_links Links.\n# TYPE p2pnode_links gauge\n"
        'p2pnode_links{transport="lan",kind="contact"} 1\n'
        "# HELP p2pnode_refused_total Refused.\n# TYPE p2pnode_refused_total counter\n"
    )


def test_the_memory_in_use_is_that_of_this_process():
    assert 1 << 20 < resident() < 1 << 36
