"""Changing one setting in somebody's own file: the rest stays, letter by letter."""

import os
import stat
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pnode.config_text import rendered, replace_file, with_setting
from p2pnode.errors import ConfigError, Denied

MINE = """\
# my node
config_version = 1   # the only one

[transports]
lan = true           # the house
tor = { options = ["a # b"], port = 9050 }  # inline

[transports.courier]
watch = [
  "/media/stick",    # the blue one
]

# last
[log]
level = "info"       # debug, info
"""


@pytest.mark.parametrize(
    ("keys", "value", "old", "new"),
    [
        (("log", "level"), "debug", '"info"       # debug', '"debug"       # debug'),
        (("transports", "lan"), False, "true           # the", "false           # the"),
        (("log", "identifiers"), True, "# debug, info\n", "# debug, info\nidentifiers = true\n"),
        (
            ("transports", "lan", "port"),
            4001,
            "lan = true  ",
            "lan = { port = 4001 }  ",
        ),
        (("transports", "tor", "port"), 1, "port = 9050", "port = 1"),
        (
            ("transports", "courier", "max_size"),
            5,
            "  # the blue one\n]\n",
            "  # the blue one\n]\nmax_size = 5\n",
        ),
        (("carry", "max_mb"), 9, MINE, MINE + "\n[carry]\nmax_mb = 9\n"),
        (("transports", "ble"), True, "# inline\n", "# inline\nble = true\n"),
    ],
)
def test_one_setting_changes_and_nothing_else(keys, value, old, new):
    assert MINE.count(old) == 1
    assert with_setting(MINE, keys, value) == MINE.replace(old, new)
    windows = MINE.replace("\n", "\r\n")
    assert with_setting(windows, keys, value) == MINE.replace(old, new).replace("\n", "\r\n")


def test_a_list_over_lines_is_replaced_whole():
    fresh = with_setting(MINE, ("transports", "courier", "watch"), ["/x"])
    assert fresh == MINE.replace('[\n  "/media/stick",    # the blue one\n]', '["/x"]')


def test_an_empty_file_and_a_top_level_setting():
    assert with_setting("", ("log", "level"), "debug") == '[log]\nlevel = "debug"\n'
    assert with_setting("[log]\n", ("log", "level"), "debug") == '[log]\nlevel = "debug"\n'
    assert with_setting("[log]\n", ("config_version",), 1).startswith("config_version = 1\n\n[log]")
    assert with_setting("log.level = 'x'  # y\n", ("log", "level"), "z") == 'log.level = "z"  # y\n'


@pytest.mark.parametrize("text", ["[[log]]\nlevel = 1\n", '"log".x = """\n[log]\n"""\n[a]\n'])
def test_what_cannot_be_edited_is_refused_and_not_mangled(text):
    with pytest.raises(ConfigError) as caught:
        with_setting(text, ("log", "level"), "debug")
    assert "by hand" in caught.value.hint


NAMES = st.sampled_from(["a", "b", "c-d", "log"])
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: st.lists(below, max_size=3),
    max_leaves=5,
)
COMMENTS = st.sampled_from(["", "  # why", "# [log]", ' # "a = 1"'])


@st.composite
def files(draw) -> str:
    lines, used = [], set()
    for table in draw(st.lists(st.lists(NAMES, max_size=2).map(tuple), max_size=4, unique=True)):
        if table:
            lines.append(f"[{'.'.join(table)}]{draw(COMMENTS)}")
        elif lines:
            continue
        for name in draw(st.lists(NAMES, max_size=3, unique=True)):
            if (*table, name) in used:
                continue
            used.add((*table, name))
            lines.append(f"{name} = {rendered(draw(VALUES))}{draw(COMMENTS)}")
        lines += draw(st.sampled_from([[], [""], ["# a comment = 1"]]))
    return "".join(f"{line}\n" for line in lines)


@given(files(), st.lists(NAMES, min_size=1, max_size=3).map(tuple), VALUES)
def test_any_file_keeps_its_other_settings_and_its_comments(text, keys, value):
    try:
        old = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        fresh = with_setting(text, keys, value)
    except ConfigError:
        return
    found = tomllib.loads(fresh)
    for key in keys:
        found, old = found[key], old.get(key, {}) if isinstance(old, dict) else {}
    assert found == value
    for comment in ("  # why", "# a comment = 1"):
        assert fresh.count(comment) >= text.count(comment) - (isinstance(old, dict) and bool(old))


def test_a_file_is_replaced_whole_and_keeps_mode_and_link(tmp_path):
    real = tmp_path / "real.toml"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    replace_file(link, "new\n")
    assert link.is_symlink()
    assert real.read_text() == "new\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    fresh = tmp_path / "deep" / "config.toml"
    replace_file(fresh, "x\n")
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
    assert os.listdir(fresh.parent) == ["config.toml"]
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match="cannot be written"):
        replace_file(tmp_path / "file" / "config.toml", "x")


def test_a_machines_settings_stay_readable_for_its_node(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    folder.chmod(0o750)
    if os.geteuid() == 0:
        os.chown(folder, 0, 54_322)
    file = folder / "config.toml"
    for mode in (0o640, 0o640, 0o604):  # made, kept as it was, kept as somebody has set it
        if mode == 0o604:
            file.chmod(mode)
        replace_file(file, f"# {mode}\n")
        found = file.stat()
        assert stat.S_IMODE(found.st_mode) == mode
        assert found.st_gid == folder.stat().st_gid
    if os.geteuid() == 0:
        os.chown(file, 54_321, 54_323)
        replace_file(file, "# of another\n")
        assert (file.stat().st_uid, file.stat().st_gid) == (54_321, 54_323)
