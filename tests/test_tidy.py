"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from p2pnode.schema import METHODS
from p2pnode.turns.asks import Ask
from p2pnode.turns.commit import TURNS
from tests.walls import ROOT, broken

SOURCES = [*ROOT.glob("p2pnode/**/*.py"), *ROOT.glob("transports/*/p2pnode_*/**/*.py")]
PUBLISHED = {
    ROOT / "p2pnode" / package / "__init__.py"
    for package in ("backup", "schema", "spi/testing", "turns/asks")
}
"""The package files that import: each is the published list of what is in its files."""

BANNED = ("manager", "handler", "helper", "util", "misc")


def test_the_core_does_not_load_trio():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(ROOT.glob("p2pnode/protocol/**/*.py"))
        if path.name != "__init__.py"
    ]
    script = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({'trio', 'asyncio', 'sqlite3', 'apsw', 'logging', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(done.stdout))
    assert "trio" not in loaded
    assert "apsw" not in loaded


def test_package_files_import_nothing():
    for path in set(ROOT.glob("p2pnode/**/__init__.py")) - PUBLISHED:
        names = list(ast.walk(ast.parse(path.read_text())))
        assert not [one for one in names if isinstance(one, ast.Import | ast.ImportFrom)], path


@pytest.mark.parametrize("package", ["schema", "turns/asks"])
def test_a_published_list_is_whole(package):
    folder = ROOT / "p2pnode" / package
    defined = {
        node.name
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    published = {
        one.asname
        for node in ast.parse((folder / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }
    assert defined
    assert not defined - published


@pytest.mark.parametrize("transport", [path.name for path in ROOT.glob("transports/*/")])
def test_the_wall_around_a_transport_holds(transport):
    assert broken(transport) == []


def test_every_transport_in_the_tree_is_installed_and_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["p2pnode.transports"]
    modules = {one.partition(":")[0] for one in points.values()}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    checked = project["tool"]["mypy"]["mypy_path"].split(":")
    for path in ROOT.glob("transports/*/p2pnode_*"):  # one whose folder was deleted may be named
        assert path.name in modules
        assert path.relative_to(ROOT).as_posix() in wheel
        assert path.parent.relative_to(ROOT).as_posix() in checked


def test_names_come_from_the_glossary():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words = node.name.lower()
                assert not any(word in words for word in BANNED), (path, node.name)
        assert not any(word in path.stem for word in BANNED), path


def test_public_things_are_explained():
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) is not None or path.name == "__init__.py", path
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            public = not node.name.startswith("_")
            if public and node in tree.body:
                assert ast.get_docstring(node) is not None, (path, node.name)


def test_the_lock_names_versions_and_hashes_alone():
    lock = (ROOT / "requirements.lock").read_text()
    assert "http" not in lock
    assert "--find-links" not in lock
    assert "--hash=sha256:" in lock


def test_every_request_is_served():
    served = set()
    for path in ROOT.glob("p2pnode/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.MatchClass):
                served.add(ast.unparse(node.cls).rpartition(".")[2])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                served |= set(re.findall(r"\w+", ast.unparse(node.args[1])))
    assert {request.__name__ for request, _ in METHODS.values()} <= served


def test_every_ask_has_its_turn():
    assert set(get_args(Ask)) == set(TURNS)


def test_every_verb_is_in_the_readme_or_the_help():
    done = subprocess.run(
        [sys.executable, "-m", "p2pnode", "--help"], capture_output=True, text=True, check=True
    )
    listed = {path.stem.replace("_", "-") for path in Path(ROOT / "p2pnode/cli").glob("*.py")}
    verbs = listed - {
        "--init--",
        "verbs",
        "terminal",
        "qr",
        "secrets",
        "progress",
        "notices",
        "drawing",
    }
    assert all(verb in done.stdout for verb in verbs | {"init", "run"})
