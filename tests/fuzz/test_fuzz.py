"""A short run of the fuzzer over all its targets, and that it sees what it is there to see."""

import ast
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.content import Content, content_untrusted
from tests.fuzz import fuzz
from tests.fuzz.fuzz import Crash, Run, Target, attack, main
from tests.fuzz.samples import OTHERS, ROOT
from tests.fuzz.targets import TARGETS

SEED = 20_261_121
EXECUTIONS = 2_000
SECONDS = 3.0

NO_BYTES = {("p2pnode/turns/send.py", "refuse_untrusted")}
"""Looks at a contact that may not be trusted, and at nothing foreign."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_foreign_bytes_do_no_harm(target):
    run = Run(target, SEED, OTHERS)
    run.go(SECONDS, EXECUTIONS)
    assert run.executions


def test_every_kind_of_content_is_attacked():
    [target] = [one for one in TARGETS if one.name == "content"]
    kinds = set()
    for raw in target.prepare()[0]:
        with suppress(RemoteError):
            kinds.add(type(content_untrusted(raw)))
    assert kinds == set(get_args(Content))


def test_every_function_for_foreign_bytes_is_attacked():
    wanted = set()
    ours = [path.parent.parent for path in ROOT.glob("transports/*/tests/test_*_fuzz.py")]
    elsewhere = [path for folder in ours for path in folder.glob("p2pnode_*/*.py")]
    found = (*ROOT.glob("p2pnode/**/*.py"), *ROOT.glob("transports/*/p2pnode_*/*.py"))
    for path in set(found).difference(elsewhere):  # those have a fuzz test of their own
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_untrusted"):
                wanted.add((str(path.relative_to(ROOT)), node.name))
    reached = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name.endswith("_untrusted"):
            path = Path(frame.f_code.co_filename)
            reached.add((str(path.relative_to(ROOT)), frame.f_code.co_name))

    runs = [target.prepare() for target in TARGETS]
    sys.setprofile(note)
    try:
        for samples, call in runs:
            for raw in samples:
                with suppress(Exception):  # whether it may raise that is the other test's matter
                    call(raw)
    finally:
        sys.setprofile(None)
    assert len(wanted) > 40
    assert wanted - reached == NO_BYTES


def fragile(raw):
    """Fail for any input with a byte that no sample has."""
    if b"\xff" in raw:
        raise ValueError("planted")


PLANTED = Target("planted", lambda: ([b"sample", b"another"], fragile))


def test_a_planted_fault_is_found_and_can_be_had_again(capsys):
    with pytest.raises(Crash) as found:
        Run(PLANTED, SEED).go(60)
    assert isinstance(found.value.failure, ValueError)
    with pytest.raises(Crash) as again:
        Run(PLANTED, SEED).go(60)
    assert again.value.raw == found.value.raw
    assert main(["--seed", "5", "--seconds", "60"], [PLANTED], [b""]) == 1
    told = capsys.readouterr().out
    assert "planted" in told
    assert "seed 5" in told
    raw = told.partition("\ninput ")[2].partition("\n")[0]
    assert b"\xff" in bytes.fromhex(raw)
    assert main(["--target", "planted", "--input", raw], [PLANTED], [b""]) == 1
    assert main(["--target", "planted", "--input", "00"], [PLANTED], [b""]) == 0


def test_what_never_ends_is_found(monkeypatch):
    def circle(raw):
        while raw.startswith(b"\1"):
            pass

    run = Run(Target("circle", lambda: ([b"\0"], circle)), SEED)
    monkeypatch.setattr(fuzz, "OVERTIME", 0.05)  # not before the sample has been fed
    with pytest.raises(Crash) as found:
        run.feed(b"\1")
    assert isinstance(found.value.failure, fuzz.Overtime)


def test_a_run_is_told_in_numbers():
    calm = Target("calm", lambda: ([b"sample"], lambda raw: int(raw == b"")), allowed=())
    told = json.loads(attack([calm, calm], SEED, 0.1, [b""]))
    assert told["seed"] == SEED
    assert told["targets"]["calm"]["executions"] > 0
    assert told["targets"]["calm"]["per_second"] > 0
    assert told["peak_rss_growth_bytes"] >= 0
