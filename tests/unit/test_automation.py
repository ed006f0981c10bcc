"""Programs that the daemon runs: in what surroundings, with what they get, and how they end."""

import json
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from p2pnode import schema
from p2pnode.automation import consumer, desktop, hooks
from p2pnode.automation.program import run_program, surroundings, unfit
from p2pnode.automation.service import automated
from p2pnode.config import Config, Hooks, Notify, load
from p2pnode.errors import ConfigError, StoreFull
from tests.journal import journals
from tests.patience import PATIENCE
from tests.scripted_node import ScriptedNode

EVIL = "-h \x1b[2J\u202e<b>&\x07\nred"


@pytest.fixture
def written():
    with journals() as made:
        yield made


def script(path: Path, *lines: str) -> str:
    """Write a program."""
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o700)
    return str(path)


async def gone(path: Path) -> None:
    """Wait until the process whose id a file holds has ended."""

    def over() -> bool:
        try:
            stat = Path("/proc") / path.read_text().strip() / "stat"
            return stat.read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return path.exists()

    await until(over)


async def until(true) -> None:
    """Wait for something that gives no event."""
    with trio.fail_after(PATIENCE):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def becomes(service, state, detail="") -> None:
    """Wait until a hook is in a state."""
    with trio.fail_after(PATIENCE):
        while True:
            found = (await service.call(schema.GetStatus())).programs["on_message"]
            if (found.state, found.detail) == (state, detail or found.detail):
                return
            await trio.sleep(0.01)


# Programs ---------------------------------------------------------------------------------------


async def test_a_program_gets_what_is_named_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PNODE_SECRET", "canary-secret")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/canary")
    out = tmp_path / "out"
    program = script(
        tmp_path / "show",
        f"exec > {out}",
        "env; echo",
        "cat; echo; echo",
        "ls -l /proc/self/fd; echo",
        "pwd; cut -d' ' -f6 /proc/self/stat; echo $$; echo",
        "ulimit -c; ulimit -t; ulimit -n",
        'echo "$@"',
    )
    secret = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(secret, True)
    try:
        environment = surroundings(tmp_path / "home")
        code = await run_program(
            [program, "$HOME", "a;b"], b'{"x":1}', environment=environment, patience=PATIENCE
        )
    finally:
        os.close(secret)
    assert code == 0
    told, given, files, place, limits = out.read_text().split("\n\n")
    named = {line.partition("=")[0] for line in told.splitlines()} - {"_", "PWD", "OLDPWD", "SHLVL"}
    assert named <= {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "XDG_RUNTIME_DIR",
        "P2PNODE_HOME",
    }
    assert f"P2PNODE_HOME={tmp_path}/home" in told
    assert "canary" not in told
    assert given == '{"x":1}'
    opened = set(re.findall(r"(\d+) -> ", files))
    assert opened == {"0", "1", "2", "3"}, "3 is what ls itself reads"
    where, session, own = place.splitlines()
    assert where == environment["HOME"]
    assert session == own, "a session of its own"
    *bounds, words = limits.splitlines()
    assert bounds == ["0", f"{PATIENCE + 1:.0f}", "256"]
    assert words == "$HOME a;b", "no shell reads the words"


async def test_what_takes_too_long_is_killed_with_all_it_started(tmp_path):
    child = tmp_path / "child"
    program = script(tmp_path / "slow", f"sleep 1000 & echo $! > {child}", "sleep 1000")
    with trio.fail_after(PATIENCE):
        while not (child.exists() and child.read_text()):
            code = await run_program(
                [program], b"", environment=surroundings(tmp_path), patience=0.5
            )
            assert code is None
    await gone(child)


async def test_what_a_program_leaves_behind_ends_with_it(tmp_path):
    child = tmp_path / "child"
    program = script(tmp_path / "quick", f"sleep 1000 & echo $! > {child}", "exit 3")
    code = await run_program([program], b"", environment=surroundings(tmp_path), patience=PATIENCE)
    assert code == 3
    await gone(child)


async def test_a_cancelled_run_leaves_nothing(tmp_path):
    child = tmp_path / "child"
    program = script(tmp_path / "slow", f"echo $$ > {child}", "exec sleep 1000")
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await run_program([program], b"", environment=surroundings(tmp_path), patience=1_000)

        nursery.start_soon(run)
        await until(lambda: child.exists() and child.read_text())
        nursery.cancel_scope.cancel()
    await gone(child)


async def test_a_program_need_not_read_and_may_write_without_end(tmp_path):
    program = script(tmp_path / "deaf", "yes | head -c 3000000", "yes | head -c 3000000 >&2")
    environment = surroundings(tmp_path)
    given = bytes(1_000_000)
    assert await run_program([program], given, environment=environment, patience=PATIENCE) == 0
    killed = script(tmp_path / "killed", "kill -9 $$")
    assert await run_program([killed], b"", environment=environment, patience=PATIENCE) == -9
    with pytest.raises(OSError, match="No such file"):
        await run_program([str(tmp_path / "none")], b"", environment=environment, patience=1)
    (tmp_path / "none").write_text("no interpreter")
    (tmp_path / "none").chmod(0o700)
    with pytest.raises(OSError, match="Exec format"):
        await run_program([str(tmp_path / "none")], b"", environment=environment, patience=1)


def test_what_others_could_change_is_not_run(tmp_path):
    program = Path(script(tmp_path / "hook", "true"))
    assert unfit(str(program)) is None
    link = tmp_path / "link"
    link.symlink_to(program)
    assert unfit(str(link)) is None
    program.chmod(0o702)
    for path in (program, link):
        told = unfit(str(path))
        assert told is not None
        assert "written by everyone" in told.why
        assert "chmod" in told.fix
    program.chmod(0o600)
    told = unfit(str(program))
    assert told is not None
    assert "executed" in told.why
    program.chmod(0o700)
    tmp_path.chmod(0o777)
    assert unfit(str(program)) is not None, "in a folder for everyone it can be replaced"
    tmp_path.chmod(0o1777)
    assert unfit(str(program)) is None, "but not in one like /tmp"
    tmp_path.chmod(0o700)
    assert unfit(str(tmp_path / "none")) == unfit(str(tmp_path / "none"))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "none", loop, tmp_path):
        assert unfit(str(path)) is not None
    if os.getuid() == 0:
        os.chown(program, 12_345, -1)
        told = unfit(str(program))
        assert told is not None
        assert "another user" in told.why


# Hooks ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(hooks, "PAUSES", (0.02, 0.02))
    monkeypatch.setattr(hooks, "LOOK_AGAIN", 0.02)
    monkeypatch.setattr(consumer, "AGAIN", 0.02)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)


@asynccontextmanager
async def running(node, config, home):
    """Run automation beside a scripted node, once its consumers have begun."""
    wanted = bool(config.hooks.on_message) + desktop.wanted(config.notify)
    async with automated(node, config, home) as service:
        await until(lambda: len(node.acked) >= wanted)
        yield service


async def programs(service):
    return (await service.call(schema.GetStatus())).programs


async def test_a_hook_gets_each_message_once_and_in_order(tmp_path):
    node = ScriptedNode()
    node.arrive("before the hook was there")
    out = tmp_path / "out"
    argv = [script(tmp_path / "hook", f"cat >> {out}; echo -- $1 >> {out}"), "word"]
    config = Config(hooks=Hooks(on_message=argv))
    async with running(node, config, tmp_path) as service:
        sent = [node.arrive(text) for text in ("one", EVIL, "three" * 10_000)]
        node.tell("contact.paired", contact="bo")
        await until(lambda: node.acked[hooks.CONSUMER] == 5)
        lines = out.read_text().split("-- word\n")
        assert [json.loads(line) for line in lines[:-1]] == [
            msgspec.to_builtins(one) for one in sent
        ]
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", "".join(lines))
        found = (await programs(service))["on_message"]
        assert (found.state, found.done, found.failed) == ("ready", 3, 0)
    node.arrive("while it was off")
    async with running(node, config, tmp_path):
        await until(lambda: node.acked[hooks.CONSUMER] == 6)
    assert out.read_text().count("while it was off") == 1


async def test_a_hook_that_fails_is_tried_again_then_the_message_is_skipped(tmp_path, written):
    node = ScriptedNode()
    tries = tmp_path / "tries"
    late = tmp_path / "late"
    program = script(
        tmp_path / "hook",
        f"message=$(cat); echo x >> {tries}",
        'case "$message" in *bad*) exit 7;; esac',
        f'case "$message" in *late*) mkdir {late} && exit 1;; esac',
        "exit 0",
    )
    async with running(node, Config(hooks=Hooks(on_message=[program])), tmp_path) as service:
        node.arrive("canary-bad")
        node.arrive("canary-late")
        node.arrive("canary-good")
        await until(lambda: node.acked[hooks.CONSUMER] == 3)
        found = (await programs(service))["on_message"]
        assert (found.done, found.failed, found.skipped) == (2, 4, 1)
        assert tries.read_text().count("x") == 6
        [told] = [
            one for one in (await service.call(schema.Diagnose())).findings if one.area == "hooks"
        ]
        assert told.result == "warn"
        assert "1 skipped" in told.detail
        assert told.fix
    said = written.lines()
    assert said.count('<4>automation hook.failed why="it ended with 7"') == 3
    assert "canary" not in "".join(said)


async def test_the_log_says_why_a_hook_cannot_be_started(tmp_path, written):
    node = ScriptedNode()
    program = tmp_path / "hook"
    program.write_text("#!/nowhere/at-all\n")
    program.chmod(0o700)
    async with running(node, Config(hooks=Hooks(on_message=[str(program)])), tmp_path):
        node.arrive("canary")
        await until(lambda: node.acked[hooks.CONSUMER] == 1)
    why = "it cannot be started (No such file or directory)"
    assert written.lines() == [f'<4>automation hook.failed why="{why}"'] * 3


async def test_a_hook_that_must_not_be_run_keeps_its_messages_until_it_is_mended(tmp_path, written):
    node = ScriptedNode()
    out = tmp_path / "out"
    program = script(tmp_path / "hook", f"cat >> {out}")
    os.chmod(program, 0o777)
    async with running(node, Config(hooks=Hooks(on_message=[program])), tmp_path) as service:
        node.arrive("first")
        node.arrive("second")
        await becomes(service, "refused")
        assert not out.exists()
        [told] = [
            one for one in (await service.call(schema.Diagnose())).findings if one.area == "hooks"
        ]
        assert (told.result, "chmod" in told.fix) == ("fail", True)
        os.chmod(program, 0o700)
        await until(lambda: node.acked[hooks.CONSUMER] == 2)
    assert [json.loads(one)["text"] for one in out.read_text().splitlines()] == ["first", "second"]
    assert written.lines() == [
        '<4>automation hook.refused why="it, or a folder above it, can be written by everyone"'
    ]


async def test_a_node_that_cannot_acknowledge_now_is_asked_again(tmp_path, written):
    class Full(ScriptedNode):
        times = 3

        async def _ackevents(self, ask):
            if self.times:
                self.times -= 1
                raise StoreFull("the disk is full")
            return await super()._ackevents(ask)

    node = Full()
    out = tmp_path / "out"
    program = script(tmp_path / "hook", f"echo x >> {out}")
    async with running(node, Config(hooks=Hooks(on_message=[program])), tmp_path):
        node.arrive("once")
        await until(lambda: node.acked[hooks.CONSUMER] == 1)
    assert out.read_text() == "x\n"
    said = "<4>automation waits consumer=hooks.on_message reason=store-full"
    assert written.lines() == [said] * 3


async def test_a_defect_of_ours_ends_the_hook_and_nothing_else(tmp_path, monkeypatch, written):
    async def broken(*_, **__):
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(hooks, "run_program", broken)
    node = ScriptedNode()
    program = script(tmp_path / "hook", "true")
    async with running(node, Config(hooks=Hooks(on_message=[program])), tmp_path) as service:
        node.arrive("x")
        await becomes(service, "refused", "internal error")
        found = (await service.call(schema.Diagnose())).findings
        assert [one.result for one in found if one.area == "hooks"] == ["fail"]
        assert (await service.send_all([schema.Send("bo", "y")]))[0].state == "queued"
    [said] = written.lines()
    assert said.startswith('<3>automation failed at="ZeroDivisionError at ')
    assert "canary" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('on_message = ["notify"]', "absolute path"),
        ('on_message = "/bin/true"', "Expected array"),
        ('on_message = ["/bin/true", "a\\u0000b"]', "NUL"),
        ('on_message = ["/bin/true"]\ntimeout = 0', "timeout"),
        ('on_mesage = ["/bin/true"]', "Did you mean"),
    ],
)
def test_settings_that_cannot_be(tmp_path, text, told):
    path = tmp_path / "config.toml"
    path.write_text(f"[hooks]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert told in str(caught.value)
    assert "config.toml:" in str(caught.value)


def test_nothing_is_run_by_default(tmp_path):
    assert load(tmp_path / "none").hooks.on_message == []


# Notifications ----------------------------------------------------------------------------------


@pytest.fixture
def screen(tmp_path, monkeypatch):
    """A stand-in for notify-send that writes its words to a file, a line each."""
    out = tmp_path / "screen"
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin" / "notify-send", f'for word in "$@"; do echo "$word" >> {out}; done')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(desktop, "QUIET", 0.05)
    return out


def shown(screen: Path) -> list[str]:
    """Return what was shown, one entry a notification."""
    text = screen.read_text() if screen.exists() else ""
    return [one.strip() for one in text.split("--app-name=p2pnode\n--category=im.received\n--\n")][
        1:
    ]


def test_auto_means_a_desktop_that_can(screen, monkeypatch):
    assert not desktop.wanted(Notify())
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus")
    assert desktop.wanted(Notify())
    assert not desktop.wanted(Notify(desktop=False))
    monkeypatch.setenv("PATH", "/nowhere")
    assert not desktop.wanted(Notify())
    assert desktop.wanted(Notify(desktop=True))


async def test_a_notification_says_that_a_message_has_come_and_no_more(
    tmp_path, screen, monkeypatch
):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus")
    node = ScriptedNode()
    node.arrive("old")
    async with running(node, Config(), tmp_path) as service:
        node.arrive("canary-text", sender="canary-name")
        await until(lambda: node.acked[desktop.CONSUMER] == 2)
        assert shown(screen) == ["A message has come"]
        for _ in range(5):  # while it keeps quiet
            node.arrive("canary-text", sender="canary-name")
        node.tell("message.state", node.messages[0])
        await until(lambda: node.acked[desktop.CONSUMER] == 8)
        assert shown(screen)[1:] == ["5 messages have come"]
        assert (await programs(service))["desktop"].done == 2
    assert "canary" not in screen.read_text()


async def test_a_preview_is_plain_text_and_bounded(tmp_path, screen):
    node = ScriptedNode()
    config = Config(notify=Notify(desktop=True, preview=True))
    async with running(node, config, tmp_path):
        node.arrive(EVIL)
        await until(lambda: node.acked[desktop.CONSUMER] == 1)
        for number in range(7):
            node.arrive(f"{number}" + "x" * 5_000)
        await until(lambda: node.acked[desktop.CONSUMER] == 8)
    first, *_ = shown(screen)
    assert first == "A message has come\nbo: -h &lt;b&gt;&amp; red"
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", screen.read_text())
    assert len(screen.read_text()) < 3_000


async def test_a_desktop_that_does_not_answer_is_told_and_forgotten(
    tmp_path, screen, written, monkeypatch
):
    script(tmp_path / "bin" / "notify-send", "exit 1")
    node = ScriptedNode()
    async with running(node, Config(notify=Notify(desktop=True)), tmp_path) as service:
        for number in range(3):
            node.arrive("canary")
            await until(lambda at=number + 1: node.acked[desktop.CONSUMER] == at)
        found = (await programs(service))["desktop"]
        assert (found.failed, found.done) == (3, 0)
        [told] = [
            one for one in (await service.call(schema.Diagnose())).findings if one.area == "notify"
        ]
        assert (told.result, "libnotify" in told.fix) == ("warn", True)
        (tmp_path / "bin" / "notify-send").unlink()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        [told] = [
            one for one in (await service.call(schema.Diagnose())).findings if one.area == "notify"
        ]
        assert told.detail == "notify-send is not installed"
    assert written.lines() == [
        '<4>automation desktop.failed why="the desktop did not take a notification"'
    ]
