"""The code in the pages on the API and automation runs, and prints what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import P2PNODE, Daemon, paired
from tests.patience import PATIENCE

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(
    r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
CODE = [
    pytest.param(language, code, shown, id=f"{page}-{number}-{language}")
    for page in ("api", "automation")
    for number, (language, code, shown) in enumerate(
        BLOCK.findall((DOCS / f"{page}.md").read_text())
    )
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """ana's home, paired with bo, with p2pnode on PATH; both run."""
    root = tmp_path_factory.mktemp("documented")
    (root / "bin").mkdir()
    p2pnode = root / "bin" / "p2pnode"
    p2pnode.write_text(f'#!/bin/sh\nexec {P2PNODE[0]} -m p2pnode "$@"\n')
    p2pnode.chmod(0o755)
    ana, bo = Daemon(root, "ana"), Daemon(root, "bo")
    with paired(ana, bo):
        yield {
            **os.environ,
            "P2PNODE_HOME": str(ana.home.root),
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        }


def test_there_is_code_on_both_pages():
    assert len(CODE) >= 6
    assert sum(bool(one.values[2]) for one in CODE) >= 3


@pytest.mark.parametrize(("language", "code", "shown"), CODE)
def test_documented_code_runs_and_prints_what_is_said(place, language, code, shown):
    words = [sys.executable, "-c", code] if language == "python" else ["sh", "-euc", code]
    done = subprocess.run(words, env=place, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"error":{"code"' not in done.stdout
    if shown:
        assert done.stdout == shown
