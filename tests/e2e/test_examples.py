"""The examples do what they say."""

import subprocess
import sys
from pathlib import Path

from tests.daemons import Daemon, by_hand, delivered, homes, pair

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_tells_its_story():
    told = run("examples/demo.py")
    assert "All of it held" in told
    assert told.count("bring the radio too") == 2  # written once, received once


def test_two_nodes_in_one_process():
    assert "ana: hello from the same process" in run("examples/two_nodes.py")


def test_the_echo_bot_answers_also_what_came_before_it_ran(tmp_path):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        first = ana.lines("send", "bo", "before")[0]["id"]
        delivered(ana, [first])
        with subprocess.Popen(
            [sys.executable, "examples/echo_bot.py", str(bo.home.root)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as bot:
            assert bot.stdout is not None
            assert bot.stdout.readline() == "listening\n"
            assert bot.stdout.readline() == "answered ana\n"
            ana.cli("send", "bo", "now")
            assert bot.stdout.readline() == "answered ana\n"
            bot.terminate()
        got = []
        while len(got) < 2:
            got += [one["text"] for one in ana.lines("recv", "--timeout", "30")]
        assert got == ["echo: before", "echo: now"]
