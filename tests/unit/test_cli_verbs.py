"""The commands over the real API: data and talk apart, exit codes, nothing raw on the terminal."""

import importlib
import io
import json
import re
import sys
from pathlib import Path

import click
import msgspec
import pytest
import trio

from p2pnode import errors, schema
from p2pnode.__main__ import LOCAL
from p2pnode.cli import secrets
from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import VERBS
from p2pnode.store import keys
from tests.served import served

EVIL = "\x1b[2J\x1b]0;x\x07\u202etxt\r\n\x9b31m"
REAL = Path(__file__).parents[2] / "docs" / "cli.md"


async def verb(home: Path, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Run a verb; return exit code, stdout and stderr."""
    done = await trio.run_process(
        [sys.executable, "-m", "p2pnode", "--home", str(home), *words],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


READ = [
    (("status",), "1 contact", {"links", "outbox", "custody", "transports"}),
    (("contacts", "list"), "bo", {"contacts"}),
    (("contacts", "show", "bo"), "7Q4M", {"fingerprint", "words"}),
    (("send", "bo", "hello"), "queued", {"id", "state"}),
    (("history", "bo"), "hello", {"id", "from", "text", "state"}),
    (("why", "s000"), "It waits for bo.", {"events", "summary"}),
    (("recv",), "from bo", {"id", "from", "text", "state"}),
    (("courier", "read", "."), "3 new, 1 for you", {"found", "new", "opened", "refused"}),
    (("courier", "write", "."), "3 envelopes", {"envelopes", "bytes"}),
    (("peers",), "bo: here, over lan", {"peers"}),
    (("doctor",), "WARN ble  adapter: blocked  fix: rfkill unblock all", {"findings"}),
    (("redact", "s000"), "is asked to remove it", {"id", "redacted"}),
    (("disappear",), "bo proposes: messages disappear after 7 d", {"rules", "default"}),
    (("disappear", "bo", "12h"), "you proposed: messages disappear after 12 h", {"rules"}),
    (("retention", "bo", "30", "--yes"), "bo  kept 30 days", {"rules"}),
    (("export", "all.zip", "--replace"), "messages and 1 contact in", {"path", "bytes"}),
    (("erase", "--contact", "bo", "--yes"), "to be erased in 1 d: bo", {"erasing", "cancelled"}),
    (("status",), "! to be erased in 1 d: bo, with all messages", {"erasing", "work"}),
    (("erase", "--cancel"), "cancelled: 1", {"cancelled"}),
    (("map", "--plain"), "bo: here, over lan; over lan 3 times", {"days", "places"}),
    (("metrics",), "p2pnode_contacts 1", {"text"}),
    (("version",), "", {"version"}),
]


async def test_each_verb_tells_people_and_programs(tmp_path):
    async with served(tmp_path) as api:
        for words, shown, fields in READ:
            if words == ("recv",):
                api.node.arrive("from bo")
            code, out, _ = await verb(tmp_path, *words)
            assert code == 0, words
            assert shown in out
            if words == ("recv",):
                api.node.arrive("from bo")
            if words == ("erase", "--cancel"):
                api.node.erasing = [schema.Erasing(what="all", contact="", left=5)]
            code, out, talk = await verb(tmp_path, *words, "--json", "--quiet")
            assert code == 0, words
            for line in out.splitlines():
                told = json.loads(line)
                assert told["schema"] == 1
                assert fields <= set(told), words
            assert talk == ""


async def test_erasing_tells_of_files_it_does_not_reach(tmp_path):
    (tmp_path / "vault.db.damaged-1").touch()
    async with served(tmp_path):
        for what in ("--contact", "--conversation"):
            code, _, told = await verb(tmp_path, "erase", what, "bo", "--yes")
            assert code == 0
            assert "set aside; delete that yourself: vault.db.damaged-1" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("send", "carl", "x"), 4, "Did you mean: bo?"),
        (("send", "bo"), 2, "TEXT"),
        (("disappear", "bo", "4min"), 2, "from 5min to 366d"),
        (("retention", "bo", "soon"), 2, "no number of days"),
        (("erase", "--contact", "bo", "--all"), 2, "choose one"),
        (("erase", "--contact", "bo", "--json"), 2, "--yes"),
        (("erase", "--contact", "bo"), 130, "Nothing was erased"),
        (("redact", "zzzz"), 2, "no message"),
        (("send", "bo", "never", "--wait", "delivered", "--timeout", "0.1"), 6, "stays queued"),
        (("verify", "bo", "--no"), 5, ""),
        (("frobnicate",), 2, "frobnicate"),
        (("why", "zzzz"), 2, "history"),
        (("pair", "join", "not-a-code", "--accept"), 2, "P2PNODE:"),
        (("courier", "write", ".", "--for", "bo", "--all"), 2, "choose one"),
        (("simulate", "nowhere"), 2, "village-bus"),
        (("simulate", "a" * 5_000), 2, "village-bus"),
        (("retention", "", "5"), 2, "the name is empty"),
        (("retention", "bo", "5"), 2, "nobody said y or n; nothing was done. Or add --yes"),
        (("retention", "bo", "5", "--json"), 2, "Add --yes"),
        (("contacts", "remove", "bo"), 2, "nobody said y or n; nothing was done. Or add --yes"),
        (("contacts", "remove", "bo", "--json"), 2, "Add --yes"),
        (("verify", "bo"), 5, "nothing was recorded"),
        (("send", "bo", "two", "words"), 2, "What has spaces goes in quotes"),
        (("sned", "bo"), 2, "Did you mean: send?"),
        (("status", "--jsn"), 2, "there is no option --jsn"),
        (("config", "set", "node.name", "\udcff"), 8, "not UTF-8"),
        (("send", "bo", "crash"), 1, "error inside the daemon"),
    ],
)
async def test_errors_have_codes_and_next_steps(tmp_path, words, code, told):
    async with served(tmp_path):
        found, out, talk = await verb(tmp_path, *words)
        assert found == code
        assert told in talk
        assert "Traceback" not in out + talk


@pytest.mark.parametrize("words", [("chat",), ("sned",), ("status", "--jsn"), ("send", "a", "-q")])
async def test_a_command_line_that_makes_no_sense_is_an_error_like_all_others(tmp_path, words):
    for line in (("--json", *words), (*words, "--json")):
        code, out, talk = await verb(tmp_path, *line)
        told = json.loads(talk)
        assert (code, out, told["error"]) == (2, "", "invalid-input")
        assert told["what"]
        assert told["hint"]


@pytest.mark.parametrize(
    "words", [("chat", "bo"), ("contacts", "remove", "bo"), ("pair", "mutual")]
)
async def test_what_is_typed_and_is_no_text_is_refused_in_words(tmp_path, words):
    async with served(tmp_path):
        code, out, talk = await verb(tmp_path, *words, stdin=b"\xff\xfe\n")
        assert code == 2
        assert "not UTF-8" in talk
        assert "Traceback" not in out + talk


async def test_without_a_daemon(tmp_path):
    code, out, talk = await verb(tmp_path, "status", "--json")
    assert (code, out) == (3, "")
    assert "First: p2pnode init --name NAME" in json.loads(talk)["hint"]
    (tmp_path / "vault.key").touch()  # somebody's home
    code, out, talk = await verb(tmp_path, "status", "--json")
    assert (code, out) == (3, "")
    assert json.loads(talk)["hint"] == "Start it: p2pnode run"


async def test_flags_may_stand_before_a_verb_s_own_verb(tmp_path):
    async with served(tmp_path):
        words = ["--json", "--home", str(tmp_path)]
        for line in (["contacts", *words], ["contacts", *words, "list"], ["--json", "contacts"]):
            code, out, _ = await verb(tmp_path, *line)
            assert code == 0, line
            assert json.loads(out)["contacts"][0]["name"] == "bo"
    code, out, _ = await verb(tmp_path, "--json", "--version")
    assert (code, set(json.loads(out))) == (0, {"schema", "version"})


async def test_no_is_no_and_what_is_neither_is_asked_again(tmp_path):
    async with served(tmp_path) as api:
        code, _, talk = await verb(tmp_path, "contacts", "remove", "bo", stdin=b"\nperhaps\nn\n")
        assert (code, talk.count("[y/n]")) == (130, 3)
        assert "Nothing was done." in talk
        assert "bo" in api.node.contacts
        code, _, talk = await verb(tmp_path, "contacts", "remove", "bo", stdin=b"no idea\ny\n")
        assert (code, talk.count("[y/n]")) == (0, 2)
        assert api.node.contacts == {}


async def test_words_that_nobody_compared_are_not_said_to_differ(tmp_path):
    async with served(tmp_path) as api:
        api.node.script = ["compare", "failed:refused"]
        code, _, talk = await verb(tmp_path, "pair", "join", "P2PNODE:AAAA")
        assert code == 5
        assert "nobody said whether the words match; this code is void" in talk
        answers = [one for one in api.node.calls if isinstance(one, schema.AnswerPairing)]
        assert [one.yes for one in answers] == [False]


def test_who_joins_a_code_is_told_once_that_nobody_was_heard(capsys):
    from p2pnode.cli import pair
    from p2pnode.cli.terminal import Terminal

    waits = schema.PairingStep("p", step=0, event="waiting")
    told = [waits, waits, schema.PairingStep("p", step=1, event="failed", reason="expired")]

    class Silent:
        def call(self, request):
            assert isinstance(request, schema.NextStep)
            return told.pop(0)

    with pytest.raises(errors.PairingFailed, match="nobody used the code"):
        pair._follow(
            Terminal(),
            Silent(),  # type: ignore[arg-type]
            "p",
            accept=False,
            petname="",
            unheard=pair.UNHEARD,
        )
    assert capsys.readouterr().err == pair.UNHEARD + "\n"


async def test_a_phrase_that_goes_into_a_file_goes_nowhere_else(tmp_path):
    home, phrase = tmp_path / "home", tmp_path / "phrase"
    home.mkdir()
    keys.create(home / "vault.key", passphrase=None)
    async with served(home):
        for line in (("--json",), ()):
            words = ("backup", "create", str(tmp_path / "b"), "--phrase-file", str(phrase), *line)
            code, out, talk = await verb(home, *words)
            assert code == 0
            assert phrase.read_text() == "abacus zebra\n"
            assert "abacus" not in out + talk
            phrase.unlink()
        code, out, _ = await verb(home, "backup", "create", str(tmp_path / "b"), "--json")
        assert json.loads(out)["phrase"] == "abacus zebra"


def test_a_machine_s_node_that_may_not_write_somewhere_says_who_it_is(tmp_path):
    from p2pnode.cli.terminal import as_daemon
    from p2pnode.config import Home

    own, shared = Home(tmp_path), Home(tmp_path, shared_run=tmp_path)
    for home, error, told in (
        (own, errors.Denied("a", hint="Look"), "Look"),
        (shared, errors.Denied("a", hint="Look"), "/media of its user, p2pnode"),
        (shared, errors.StoreError("a"), "/media of its user, p2pnode"),
        (shared, errors.StoreFull("a", hint="Make room"), "Make room"),
        (shared, errors.Denied(f"{shared.socket} may not be opened", hint="Join it"), "Join it"),
    ):
        with pytest.raises(type(error)) as caught, as_daemon(home):
            raise error
        assert told in caught.value.hint


@pytest.mark.parametrize("script", ["failed:refused-by-peer", "failed:expired"])
async def test_a_pairing_that_fails_exits_5(tmp_path, script):
    async with served(tmp_path) as api:
        api.node.script = ["compare", script]
        code, out, _ = await verb(tmp_path, "pair", "show", "--accept", "--json")
        assert code == 5
        events = [json.loads(line)["event"] for line in out.splitlines()]
        assert events[:2] == ["code", "compare"]
        assert "paired" not in events


async def test_a_person_is_asked_and_may_say_no(tmp_path):
    async with served(tmp_path) as api:
        code, out, talk = await verb(tmp_path, "pair", "join", "P2PNODE:AAAA", stdin=b"n\n")
        assert code == 5
        assert "dog" in out + talk
        answers = [one for one in api.node.calls if isinstance(one, schema.AnswerPairing)]
        assert [one.yes for one in answers] == [False]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_a_terminal_that_lacks_letters_shows_them_spelled_out(
    tmp_path, monkeypatch, encoding
):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    text = "gr\u00fc\u00dfe \U0001f436"
    shown = text.encode(encoding, "backslashreplace")
    async with served(tmp_path) as api:
        api.node.script = ["compare", "failed:expired"]
        for words in (("recv",), ("history", "bo"), ("recv", "--json"), ("map",), ("pair", "show")):
            api.node.arrive(text)
            command = [sys.executable, "-m", "p2pnode", "--home", str(tmp_path), *words]
            done = await trio.run_process(
                command, stdin=b"y\n", capture_stdout=True, capture_stderr=True, check=False
            )
            assert done.returncode == (5 if words[0] == "pair" else 0), done.stderr
            assert b"Traceback" not in done.stderr
            if words[-1] == "--json":
                assert json.loads(done.stdout.decode().splitlines()[-1])["text"] == text
            elif words[0] in ("recv", "history"):
                assert shown in done.stdout
            else:
                assert b"\\u2588" not in done.stdout  # nothing is drawn


async def test_what_is_wrong_with_a_backup_is_told_before_a_passphrase_is_asked_for(tmp_path):
    phrase = tmp_path / "phrase"
    phrase.write_text("abacus zebra\n")
    words = ("restore", str(phrase), "--phrase-file", str(phrase))
    code, _, talk = await verb(tmp_path / "home", *words)
    assert (code, "a phrase has 18 words, these are 2" in talk) == (2, True)
    code, _, talk = await verb(tmp_path / "home", "restore", str(tmp_path / "none"))
    assert (code, "none is not there" in talk) == (2, True)


async def test_a_home_whose_name_no_database_can_have_is_refused(tmp_path):
    home = tmp_path / "caf\udce9"
    for words in (("status",), ("init", "--name", "ana", "--no-passphrase"), ("run",)):
        code, _, talk = await verb(home, *words)
        assert (code, "not UTF-8" in talk) == (8, True)


async def test_nothing_of_others_reaches_the_terminal_raw(tmp_path):
    async with served(tmp_path) as api:
        api.node.contacts["bo"] = msgspec.structs.replace(api.node.contact, hint=EVIL)
        api.node.arrive(EVIL)
        for words in (("contacts",), ("contacts", "show", "bo"), ("history", "bo"), ("recv",)):
            _, out, talk = await verb(tmp_path, *words)
            assert not re.search(
                r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out + talk
            )
        _, out, _ = await verb(tmp_path, "history", "bo", "--json")
        assert json.loads(out.splitlines()[-1])["text"] == EVIL


def test_the_reference_names_every_verb_option_and_exit_code() -> None:
    text = REAL.read_text()
    for name, (module, _) in {**LOCAL, **VERBS}.items():
        command = importlib.import_module(module).command
        parts = {name: command}
        if isinstance(command, click.Group):
            parts = {f"{name} {part}": one for part, one in command.commands.items()}
        for words, one in parts.items():
            assert f"`{words}`" in text, words
            for option in one.params:
                if isinstance(option, click.Option):
                    assert any(f"`{flag}" in text for flag in option.opts), (words, option.opts)
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LocalError)
    }
    for code in codes | {0, 130}:
        assert f"| {code} |" in text


async def test_a_person_at_a_terminal_sees_how_far_a_courier_has_come(tmp_path, monkeypatch):
    import io

    from p2pnode.cli import progress
    from p2pnode.cli.terminal import Terminal

    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(progress, "EVERY", 0.01)
    async with served(tmp_path) as api:
        api.node.courier = {"read": 4_096}
        terminal = Terminal()
        terminal.home_name = str(tmp_path)
        for quiet, shown in ((False, True), (True, False)):
            screen = Screen()
            monkeypatch.setattr(sys, "stderr", screen)
            terminal.quiet = quiet

            def work(screen=screen, shown=shown):
                with progress.progress(terminal, "read"):
                    while shown and "4096" not in screen.getvalue():
                        pass

            await trio.to_thread.run_sync(work)
            assert ("4096 envelopes so far" in screen.getvalue()) is shown
            assert screen.getvalue().endswith("\r\x1b[K") is shown


async def test_secrets_are_asked_for_where_there_is_somebody_to_ask(tmp_path):
    home, new = tmp_path / "home", tmp_path / "new"
    new.write_text("open sesame\n")
    home.mkdir()
    keys.create(home / "vault.key", passphrase=None)
    code, _, talk = await verb(home, "passphrase")
    assert (code, "--new-passphrase-file" in talk) == (2, True)
    code, _, talk = await verb(home, "passphrase", "--no-passphrase", "--new-key-file", str(new))
    assert (code, "choose one" in talk) == (2, True)
    code, out, _ = await verb(home, "passphrase", "--new-passphrase-file", str(new), "--json")
    assert (code, json.loads(out)["done"]) == (0, True)
    assert keys.kind(home / "vault.key") == "passphrase"
    code, _, talk = await verb(home, "passphrase", "--no-passphrase")
    assert (code, "Give --passphrase-file" in talk) == (2, True)
    async with served(home) as api:
        words = ("--passphrase-file", str(new), "--new-key-file", str(new))
        code, out, _ = await verb(home, "passphrase", *words)
        assert (code, "Changed" in out) == (0, True)
        [asked] = [one for one in api.node.calls if isinstance(one, schema.ChangeSecret)]
        assert asked == schema.ChangeSecret("open sesame", new_key_file=str(new))


async def test_a_locked_node_is_unlocked_by_its_passphrase(tmp_path):
    file = tmp_path / "passphrase"
    file.write_text("open sesame\n")
    (tmp_path / "home").mkdir()
    async with served(tmp_path / "home") as api:
        api.node.locked = True
        code, out, _ = await verb(tmp_path / "home", "unlock", "--passphrase-file", str(file))
        assert (code, out) == (0, "Unlocked.\n")
        [asked] = [one for one in api.node.calls if isinstance(one, schema.Unlock)]
        assert asked == schema.Unlock(passphrase="open sesame")
        file.write_bytes(b"\xff\xfe\n")
        code, _, talk = await verb(tmp_path / "home", "unlock", "--passphrase-file", str(file))
        assert code == 2
        assert "UTF-8" in talk


async def test_a_shell_completes_names_and_settings(tmp_path, monkeypatch):
    async def completed(*words):
        monkeypatch.setenv("_P2PNODE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"p2pnode --home {tmp_path} {' '.join(words)}")
        monkeypatch.setenv("COMP_CWORD", str(2 + len(words)))
        # the name that the installed command goes by
        code = "import sys; from p2pnode.__main__ import main; sys.argv[0] = 'p2pnode'; main()"
        command = [sys.executable, "-c", code]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
        assert done.stderr == b""
        return done.stdout.decode().split()

    assert await completed("send", "b") == []  # nobody runs here
    async with served(tmp_path) as api:
        for name in ("bob", "b$(reboot)", "b;x", "-b", "b x"):
            api.node.contacts[name] = msgspec.structs.replace(api.node.contact, name=name)
        assert await completed("send", "b") == ["plain,bo", "plain,bob"]
        assert await completed("contacts", "block", "''") == ["plain,bo", "plain,bob"]
    assert await completed("config", "get", "log.l") == ["plain,log.level"]


async def test_doctor_exits_1_when_something_fails(tmp_path):
    async with served(tmp_path) as api:
        api.node.adapter = "fail"
        code, out, _ = await verb(tmp_path, "doctor")
        assert (code, out[:9]) == (1, "FAIL ble ")


async def test_doctor_needs_no_daemon(tmp_path):
    code, out, talk = await verb(tmp_path / "none", "doctor")
    assert code == 1
    assert "No daemon" in talk
    assert "fix: p2pnode init" in out
    home = tmp_path / "home"
    await verb(home, "init", "--name", "ana", "--no-passphrase")
    (home / "config.toml").write_text("[transports]\nlan = false\n")
    home.chmod(0o755)
    code, out, _ = await verb(home, "doctor", "--json")
    found = {(one["area"], one["name"]): one for one in json.loads(out)["findings"]}
    assert found["home", "directory"]["result"] == "warn"
    assert found["home", "key"]["result"] == "warn"
    assert found["lan", "transport"]["result"] == "skip"
    assert found["clock", "wall clock"]["result"] == "pass"
    (home / "config.toml").write_text("nonsense = 1\n")
    code, out, _ = await verb(home, "doctor")
    assert code == 1
    assert "nonsense" in out


def test_a_clock_that_was_never_set_is_told():
    from p2pnode import diagnosis

    assert diagnosis.clock(600)[0].result == "warn"
    assert diagnosis.clock(1_800_000_000)[0].result == "pass"


async def test_a_transport_that_hangs_or_fails_does_not_hold_up_the_doctor(autojump_clock):
    from p2pnode import diagnosis
    from p2pnode.spi.transport import Check

    class Looks:
        def __init__(self, what):
            self.what = what

        async def diagnose(self):
            if self.what == "hangs":
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
            if self.what == "fails":
                raise ValueError("at /home/somebody")
            return [Check("port", "ok", "free")]

    kinds = ("hangs", "fails", "looks")
    told = await diagnosis.transports([(kind, Looks(kind)) for kind in kinds])
    assert [(one.area, one.result) for one in told] == [
        ("hangs", "fail"),
        ("fails", "fail"),
        ("looks", "pass"),
    ]
    assert "somebody" not in told[1].detail


def test_what_is_typed_and_is_no_text_is_refused(monkeypatch):
    """A terminal sends whatever bytes its keyboard makes."""

    class Typed(io.TextIOWrapper):
        def isatty(self):
            return True

    line = b"caf\xe9\n"
    monkeypatch.setattr(sys, "stdin", Typed(io.BytesIO(line), encoding="utf-8"))
    monkeypatch.setattr("getpass.getpass", lambda ask: line.decode())
    terminal = Terminal()
    with pytest.raises(errors.InvalidInput, match="UTF-8"):
        secrets.typed(terminal, twice=False)
    with pytest.raises(errors.InvalidInput, match="UTF-8"):
        terminal.ask("Name?")
