"""The examples do what they say."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pnode import schema
from tests.daemons import P2PNODE, Daemon, delivered, paired
from tests.patience import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=5 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_tells_its_story():
    told = run("examples/demo.py")
    assert "All of it held" in told
    assert told.count("bring the radio too") == 2  # written once, received once


def test_two_nodes_in_one_process():
    assert "ana: hello from the same process" in run("examples/two_nodes.py")


@contextmanager
def started(*words: str) -> Iterator["subprocess.Popen[str]"]:
    """Run an example that goes on until it is ended; at the end it is."""
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: "subprocess.Popen[str]", line: str) -> None:
    """Wait for what an example prints next."""
    assert process.stdout is not None
    assert process.stdout.readline() == line + "\n"


def acknowledged(daemon: Daemon, consumer: str) -> None:
    """Wait until a program has acknowledged what it was told: killed before, it would be told again
    and answer once more, in the midst of another test."""
    with daemon.client() as client:
        until(lambda: not client.call(schema.TakeEvents(consumer=consumer)).events)


def answers(daemon: Daemon, count: int) -> list[str]:
    """Wait for messages and return their texts."""
    got: list[str] = []
    while len(got) < count:
        got += [one["text"] for one in daemon.lines("recv", "--timeout", str(PATIENCE))]
    return got


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """ana, who asks, and bo, whose node the bots run beside."""
    root = tmp_path_factory.mktemp("bots")
    ana, bo = Daemon(root, "ana"), Daemon(root, "bo")
    with paired(ana, bo):
        yield ana, bo


def test_the_echo_bot_answers_also_what_came_before_it_ran(two):
    ana, bo = two
    first = ana.lines("send", "bo", "before")[0]["id"]
    delivered(ana, [first])
    with started("examples/echo_bot.py", str(bo.home.root)) as bot:
        says(bot, "listening")
        says(bot, "answered ana")
        ana.cli("send", "bo", "now")
        says(bot, "answered ana")
    assert answers(ana, 2) == ["echo: before", "echo: now"]


def test_the_weather_station_answers_and_reports_once_a_day(two, tmp_path):
    ana, bo = two
    sensor = tmp_path / "temperature"
    sensor.write_text("21437\n")
    words = ["examples/weather_station.py", "--home", str(bo.home.root), "--daily", "ana"]
    file = [*words, "--file", str(sensor), "--scale", "0.001", "--unit", "°C"]
    with started(*file) as station:
        assert station.stdout is not None
        assert {station.stdout.readline(), station.stdout.readline()} == {
            "listening\n",
            "reported\n",
        }
        assert answers(ana, 1) == ["Daily reading: 21.4 °C"]
        ana.cli("send", "bo", "hello")
        ana.cli("send", "bo", " Weather\n")
        assert answers(ana, 1) == ["21.4 °C"]
        sensor.unlink()
        ana.cli("send", "bo", "weather")
        assert answers(ana, 1) == ["the sensor gives no reading"]
        acknowledged(bo, "weather-station")
    with started(*words, "--program", "echo", "wind from the west") as station:
        says(station, "listening")
        ana.cli("send", "bo", "weather")
        assert answers(ana, 1) == ["wind from the west"], "and no second report on the same day"
        acknowledged(bo, "weather-station")


def test_the_bot_that_speaks_lines(two):
    ana, bo = two
    delivered(ana, [ana.lines("send", "bo", "time, before it ever ran")[0]["id"]])
    with started("examples/rpc_bot.py", *bo.command()) as bot:
        says(bot, "the daemon is up")
        ana.cli("send", "bo", "time")
        assert answers(ana, 1)[0].startswith("It is ")
        acknowledged(bo, "rpc-bot")
        bo.end(signal.SIGKILL)
        says(bot, "the daemon is gone")
        ana.cli("send", "bo", "hello")
        ana.cli("send", "bo", " TIME")
        bo.start()
        says(bot, "the daemon is up")
        assert answers(ana, 1)[0].startswith("It is ")


def test_the_hook_that_says_you_are_away(two, tmp_path):
    ana, bo = two
    p2pnode = tmp_path / "p2pnode"
    p2pnode.write_text(f'#!/bin/sh\nexec {P2PNODE[0]} -m p2pnode "$@"\n')
    p2pnode.chmod(0o755)
    hook = tmp_path / "away_hook.py"
    hook.write_bytes((ROOT / "examples" / "away_hook.py").read_bytes())
    hook.chmod(0o755)
    bo.end()
    before = bo.home.config.read_text()
    bo.home.config.write_text(before + f'[hooks]\non_message = ["{hook}", "{p2pnode}"]\n')
    bo.start()
    try:
        ana.cli("send", "bo", "are you there?")
        assert answers(ana, 1) == ["I am away and will read this when I am back."]
        ana.cli("send", "bo", "really not?")
        while (done := bo.lines("status")[0]["programs"]["on_message"])["done"] < 2:
            assert done["failed"] == 0
        assert ana.lines("recv") == []
    finally:
        bo.end()
        bo.home.config.write_text(before)
        bo.start()


def test_the_relay_carries_for_people_it_does_not_know(two, tmp_path):
    ana, bo = two
    (tmp_path / "bin").mkdir()
    p2pnode = tmp_path / "bin" / "p2pnode"
    p2pnode.write_text(f'#!/bin/sh\nexec {P2PNODE[0]} -m p2pnode "$@"\n')
    p2pnode.chmod(0o755)
    place = Daemon(tmp_path, "relay")
    place.home.root.mkdir(mode=0o700)
    config = (ROOT / "examples" / "relay_only" / "config.toml").read_text()
    assert 'for = "everyone"' in config
    # what the tests of all machines can share: this relay's network is its loopback
    config = config.replace("lan = true\n", "lan = { discover = false, interfaces = ['lo'] }\n")
    place.home.config.write_text(config)
    with subprocess.Popen(
        [ROOT / "examples" / "relay_only" / "relay.sh", place.home.root],
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as relay:
        try:
            assert relay.stdout is not None
            told = ""
            while "carrying" not in told:
                told = relay.stdout.readline()
                assert told or relay.poll() is None
            assert "0 contacts" in told
            assert "/2000 MB" in told
            bo.end()
            sent = ana.lines("send", "bo", "by way of a relay")[0]["id"]
            stick = tmp_path / "stick"
            stick.mkdir()
            ana.cli("courier", "write", str(stick))
            ana.end()
            assert place.lines("courier", "read", str(stick))[0]["new"] >= 1
            custody = place.lines("status")[0]["custody"]
            assert (custody["carries_for"], custody["count"] >= 1) == ("everyone", True)
            other = tmp_path / "other"
            other.mkdir()
            place.cli("courier", "write", str(other))
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(PATIENCE) == 0
        finally:
            relay.kill()
    bo.start()
    assert bo.lines("courier", "read", str(other))[0]["opened"] == 1
    ana.start()
    assert [json.loads(one)["id"] for one in bo.cli("recv", "--json").splitlines()][-1] == sent
