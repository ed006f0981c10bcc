"""The command `p2pnode`: its verbs, loaded when used, and the way errors become exit codes."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.config import SYSTEM, Home
from p2pnode.errors import InvalidInput, LocalError, NoDaemon

VERBS = {
    "wait-ready": ("p2pnode.cli.wait_ready", "Wait until the daemon is up."),
    "pair": ("p2pnode.cli.pair", "Become contacts: show a code, or join one."),
    "contacts": ("p2pnode.cli.contacts", "List, rename, remove or block contacts."),
    "verify": ("p2pnode.cli.verify", "Compare fingerprints in person."),
    "send": ("p2pnode.cli.send", "Write to a contact."),
    "recv": ("p2pnode.cli.recv", "Print messages that have come."),
    "history": ("p2pnode.cli.history", "Print a conversation."),
    "chat": ("p2pnode.cli.chat", "Talk with a contact, line by line."),
    "courier": ("p2pnode.cli.courier", "Carry envelopes as files, on a stick or in a folder."),
    "status": ("p2pnode.cli.status", "Tell how the node is."),
    "peers": ("p2pnode.cli.peers", "Tell who is here, who was met, what waits for them."),
    "map": ("p2pnode.cli.map", "Show whom you met, over what and when."),
    "metrics": ("p2pnode.cli.metrics", "Print counts for a monitoring program."),
    "unlock": ("p2pnode.cli.unlock", "Open the vault of a node that only carries."),
    "lock": ("p2pnode.cli.lock", "Close the vault: carry only, until unlocked."),
    "why": ("p2pnode.cli.why", "Tell where a message is, and why."),
    "redact": ("p2pnode.cli.redact", "Ask to have a message of yours removed."),
    "disappear": ("p2pnode.cli.disappear", "Agree that messages disappear after a while."),
    "retention": ("p2pnode.cli.retention", "Say how long messages are kept here."),
    "export": ("p2pnode.cli.export", "Write all your data into an archive."),
    "rpc": ("p2pnode.cli.rpc", "Speak JSON-RPC on stdin and stdout, for bots."),
    "completion": ("p2pnode.cli.completion", "Print a shell's completion script."),
    "version": ("p2pnode.cli.version", "Print the version."),
}
"""Verb → module that holds the command `command`, and its line in the help."""

BEFORE = {"--home": 2, "--json": 1, "--no-color": 1, "--no-plain": 1, "--plain": 1, "--quiet": 1}
"""Flag that may stand before a verb's own verb → words it takes."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the signal's number."""

QUICK = 2.0
"""Seconds a shell that completes a name waits for the daemon."""

_BARE = re.compile(r"\w[\w.@+-]*")
"""What no shell takes for anything but a word: contacts choose what they are called first."""

F = TypeVar("F", bound=Callable[..., Any])


class Verbs(click.Group):
    """A group whose verbs are imported when they are used, not to print the help."""

    def __init__(self, verbs: dict[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in the order a person meets them."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self._verbs:
            return None
        found: click.Command = importlib.import_module(self._verbs[cmd_name][0]).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs' lines."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in self._verbs.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; suggest one that is near."""
        if args[0] not in self._verbs and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self._verbs, n=1)
            hint = f"Did you mean: {near[0]}?" if near else "See: p2pnode --help"
            if ctx.obj is not None and "--json" in args:  # which nobody reads any more
                ctx.obj.json = True
            raise InvalidInput(f'no verb "{args[0]}"', hint=hint)
        return super().resolve_command(ctx, args)


class DefaultGroup(click.Group):
    """A verb with verbs of its own, one of which is meant when none is named."""

    default = ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default verb where none stands."""
        rest = args
        while rest and rest[0] in BEFORE:
            rest = rest[BEFORE[rest[0]] :]
        if not rest or (rest[0] not in self.commands and rest[0] not in {"--help", "-h"}):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _set(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    terminal = ctx.find_root().obj
    name = option.name
    if terminal is not None and name is not None and value is not None and value is not False:
        setattr(terminal, name, value)


def flags(command: F) -> F:
    """Give a command the flags that may stand before and after any verb."""
    for option in (
        click.option("--quiet", is_flag=True, expose_value=False, callback=_set, help="No talk."),
        click.option(
            "--plain/--no-plain",
            "--no-color",
            "plain",
            default=None,
            expose_value=False,
            callback=_set,
            help="No colour, emoji or drawing.",
        ),
        click.option(
            "--json", is_flag=True, expose_value=False, callback=_set, help="Lines of JSON."
        ),
        click.option(
            "--home",
            "home_name",
            metavar="DIR",
            expose_value=False,
            callback=_set,
            help="Where the node lives.",
        ),
    ):
        command = option(command)
    return command


def contact_names(ctx: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    """Return the contacts a shell can complete; none whose name a shell would read otherwise."""
    from p2pnode.schema import ListContacts

    try:
        with ctx.find_root().obj.client(patience=QUICK) as client:
            names = [contact.name for contact in client.call(ListContacts()).contacts]
    except LocalError:
        return []
    return [name for name in names if name.startswith(incomplete) and _BARE.fullmatch(name)]


def _version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from p2pnode.cli.version import tell

        tell(ctx.obj)
        ctx.exit()


def group(more: dict[str, tuple[str, str]]) -> click.Group:
    """Return the command `p2pnode` with its verbs and `more` in front of them."""

    @click.pass_context
    def root(ctx: click.Context, patience: float | None) -> None:
        terminal = ctx.obj
        if patience is not None:
            terminal.patience = patience

    made = Verbs(
        {**more, **VERBS},
        name="p2pnode",
        callback=root,
        help="A messenger that needs no server: pair with people you meet, then write to them.",
        epilog="First: p2pnode init, p2pnode run; then, in another terminal: p2pnode pair",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
        params=[
            click.Option(
                ["--timeout", "patience"],
                type=click.FloatRange(0, 86_400),
                metavar="S",
                help="Seconds to wait for the daemon's answers (30).",
            ),
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                callback=_version,
                help="Print the version.",
            ),
        ],
    )
    return flags(made)


def misused(error: click.UsageError) -> InvalidInput:
    """Return what is wrong with a command line as all other errors say it."""
    see = f"See: {error.ctx.command_path if error.ctx else 'p2pnode'} --help"
    if isinstance(error, click.NoSuchOption):
        near = f"Did you mean: {error.possibilities[0]}?" if error.possibilities else see
        return InvalidInput(f"there is no option {error.option_name}", hint=near)
    what = error.format_message().rstrip(".")
    if "unexpected extra argument" in what:
        see = f"What has spaces goes in quotes. {see}"
    return InvalidInput(what[:1].lower() + what[1:], hint=see)


def unmade(home: Home, error: NoDaemon) -> NoDaemon:
    """Return the error where there is no identity: whoever is new is not sent to `run` first."""
    hint = "First: p2pnode init --name NAME, then: p2pnode run"
    if home == SYSTEM:
        hint = "First: sudo p2pnode init --system --name NAME"
    return NoDaemon(error.what, why=f"there is no identity in {home.root} yet", hint=hint)


def run(command: click.Group, arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code. Everything a person may meet is caught here."""
    terminal = Terminal()
    try:
        # click takes Ctrl-C for Abort and exits by itself unless it is told not to
        code = command.main(arguments, prog_name="p2pnode", standalone_mode=False, obj=terminal)
    except NoDaemon as error:
        terminal.failed(error if terminal.home.exists else unmade(terminal.home, error))
        return error.exit_code
    except LocalError as error:
        terminal.failed(error)
        return error.exit_code
    except click.UsageError as error:
        # what is wrong may have kept the flag from being read
        terminal.json = terminal.json or "--json" in (sys.argv if arguments is None else arguments)
        terminal.failed(wrong := misused(error))
        return wrong.exit_code
    except click.ClickException as error:
        error.show()
        return 1
    except (click.Abort, KeyboardInterrupt):
        terminal.talk("")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output is gone; the interpreter's own flush must not complain about it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0
