"""`p2pnode rpc` as a bot in another language uses it: lines in, lines out, a daemon behind."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pnode.api.http import MAX_BODY
from p2pnode.cli.rpc import MAX_LINE
from tests.daemons import Daemon, by_hand, delivered, homes, paired
from tests.patience import PATIENCE


class Bot:
    """A running `p2pnode rpc`, spoken to in lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.early: list[object] = []

    def say(self, *lines: object) -> None:
        """Write lines; bytes go as they are."""
        assert self.process.stdin is not None
        for line in lines:
            raw = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            self.process.stdin.write(raw)
        self.process.stdin.flush()

    def hear(self) -> object:
        """Wait for the next line."""
        return self.early.pop(0) if self.early else self._line()

    def _line(self) -> object:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith(b"\n"), (line, self.process.poll())
        return json.loads(line)

    def ask(self, method: str, number: object = 1, **params: object) -> object:
        """Make a call and wait for its answer; notifications may come before it."""
        self.say(call(method, number, **params))
        while "id" not in (told := self._line()):
            self.early.append(told)
        assert told["id"] == number
        return told.get("result") or told["error"]


def call(method: str, number: object, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@contextmanager
def bridge(daemon: Daemon, *words: str) -> Iterator[Bot]:
    """Run the bridge; at the end its stdin is closed, and it must end well."""
    with subprocess.Popen(
        daemon.command("rpc", *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Bot(process)
            out, err = process.communicate(timeout=PATIENCE)
            assert (out, err, process.returncode) == (b"", b"", 0)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two paired daemons."""
    root = tmp_path_factory.mktemp("rpc")
    ana, bo = Daemon(root, "ana"), Daemon(root, "bo")
    with paired(ana, bo):
        yield ana, bo


def test_calls_batches_and_notifications(two):
    ana, _ = two
    with bridge(ana) as bot:
        assert bot.ask("node.status", "text-id")["contacts"] == 1
        note = call("message.send", 0, to="bo", text="a note")
        del note["id"]
        bot.say(b"\n  \r\n", note, [call("identity.get", 5), note, call("no.such", None)])
        first, second = bot.hear()
        assert (first["id"], first["result"]["name"]) == (5, "ana")
        assert (second["id"], second["error"]["code"]) == (None, -32601)
        error = bot.ask("message.send", 2.5, to="boo", text="x")
        assert error["code"] == -32000
        assert error["data"] == {
            "code": "unknown-contact",
            "why": "",
            "hint": "Did you mean: bo?",
        }
    # what is asked last is answered, also when stdin ends before the answer, without a newline
    done = subprocess.run(
        ana.command("rpc"),
        input=json.dumps(call("message.wait", 9, id="aaaa", timeout=5)).encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["error"]["data"]["code"] == "invalid-input"
    for half in (b'{"jsonrpc":"2.0","id":1,"meth', b"x" * 2 * MAX_LINE, b""):
        done = subprocess.run(ana.command("rpc"), input=half, capture_output=True, check=True)
        told = [json.loads(line)["error"]["code"] for line in done.stdout.splitlines()]
        assert told == ([-32600 if half[:1] == b"x" else -32700] if half else [])


def test_what_waits_does_not_hold_up_the_rest_and_order_is_kept(two):
    ana, bo = two
    with bridge(ana) as bot:
        shown = bot.ask("pair.show")["pairing"]
        bot.say(call("pair.next", "slow", pairing=shown, timeout=3600))
        bot.say(*(call("message.send", at, to="bo", text=f"in order {at}") for at in range(40)))
        told = [bot.hear() for _ in range(40)]
        assert [one["id"] for one in told] == list(range(40))
        bot.say(call("pair.cancel", "end", pairing=shown))
        assert {bot.hear()["id"], bot.hear()["id"]} == {"slow", "end"}
    delivered(ana, [one["result"]["id"] for one in told])
    with bo.client() as client:
        from p2pnode.schema import GetHistory

        found = client.call(GetHistory(contact="ana", limit=40)).messages
    assert [one.text for one in found] == [f"in order {at}" for at in range(40)]


def test_lines_that_are_no_calls(two):
    ana, _ = two
    assert MAX_LINE == MAX_BODY
    with bridge(ana) as bot:
        for line, code in (
            (b"\xff\xfe\xfd\n", -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":"node.st\n', -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":"\xc3\x28"}\n', -32700),
            (b"[" * 100_000 + b"\n", -32700),
            (b"[]\n", -32600),
            (b"3\n", -32600),
            (b'"' + b"x" * (3 * MAX_LINE) + b'"\n', -32600),
            (b" " * MAX_LINE + b"\n", None),
            (b"\x00\n", -32700),
        ):
            bot.say(line)
            if code is not None:
                assert bot.hear()["error"]["code"] == code, line[:40]
            assert bot.ask("node.ready")["ready"] is True
        # a line as long as may be is carried out, whatever follows on its heels
        most = json.dumps(call("node.ready", 3)).encode()
        most += b" " * (MAX_LINE - len(most)) + b"\n"
        bot.say(most + most)
        assert [bot.hear()["id"] for _ in range(2)] == [3, 3]


def test_events_come_until_they_are_acknowledged(two):
    ana, bo = two
    with bridge(bo, "--events", "--consumer", "bot", "--new") as bot:
        assert bot.hear()["params"] == {"schema": 1, "state": "up"}
        ana.cli("send", "bo", "first \u202e\x1b[2J\x9b")
        ana.cli("send", "bo", "second")
        told = [bot.hear(), bot.hear()]
        assert [one["method"] for one in told] == ["event", "event"]
        assert "id" not in told[0]
        texts = [one["params"]["message"]["text"] for one in told]
        assert texts == ["first \u202e\x1b[2J\x9b", "second"]
        bot.ask("events.ack", consumer="bot", cursor=told[0]["params"]["cursor"])
    with bridge(bo, "--events", "--consumer", "bot", "--new") as bot:
        assert bot.hear()["method"] == "daemon"
        assert bot.hear() == told[1]
        bot.ask("events.ack", consumer="bot", cursor=told[1]["params"]["cursor"])
    raw = subprocess.run(
        bo.command("rpc"),
        input=json.dumps(call("message.history", 1, contact="ana", limit=2)).encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert not any(bad in raw for bad in ("\x1b", "\u202e", "\x9b"))


def test_a_daemon_that_goes_and_comes_back_is_told(tmp_path):
    ana = Daemon(tmp_path, "ana")
    (tmp_path / "key").write_bytes(bytes(32))
    ana.secret = ["--key-file", str(tmp_path / "key")]
    with homes(ana):
        by_hand(ana)
        told = ana.cli("rpc", code=3)
        assert "p2pnode run" in told
        ana.start()
        with bridge(ana, "--events") as bot:
            assert bot.hear()["params"]["state"] == "up"
            ana.kill()
            assert bot.hear()["params"]["state"] == "gone"
            error = bot.ask("node.status", "meanwhile")
            assert error["data"]["code"] == "no-daemon"
            bot.say([call("node.status", 1), {"jsonrpc": "2.0", "method": "x"}])
            [one] = bot.hear()
            assert (one["id"], one["error"]["code"]) == (1, -32000)
            ana.start(locked=True)
            assert bot.hear()["params"]["state"] == "locked"
            assert bot.ask("contacts.list")["data"]["code"] == "locked"
            assert bot.ask("node.unlock", 4, key_file=ana.secret[1]) == {
                "done": True,
                "schema": 1,
            }
            assert bot.hear()["params"]["state"] == "up"
            assert bot.ask("contacts.list")["contacts"] == []


def test_nobody_reads_or_the_flags_are_wrong(two):
    ana, _ = two
    for words in (("--consumer", "x"), ("--new",), ("--events", "--consumer", "a/b")):
        told = subprocess.run(
            ana.command("rpc", *words), stdin=subprocess.PIPE, capture_output=True, text=True
        )
        assert told.returncode == 2, (words, told)
        assert told.stderr.startswith("p2pnode: ")
    with subprocess.Popen(
        ana.command("rpc"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        process.stdin.write(json.dumps(call("node.status", 1)).encode() + b"\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 1
        assert process.stderr.read() == b""
    with subprocess.Popen(
        ana.command("rpc", "--events"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert b"Traceback" not in process.stderr.read()
