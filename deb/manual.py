"""Manual pages from the command line itself: p2pnode(1), and one page for each verb.

python -m deb.manual DIRECTORY
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from p2pnode import __version__, errors
from p2pnode.__main__ import LOCAL
from p2pnode.cli.verbs import VERBS, group

GLOBAL = ("--home", "--json", "--plain", "--quiet")
"""Options of every verb, told once, in p2pnode(1)."""

FILES = (
    ("~/.local/share/p2pnode", "a person's node: identity, messages, envelopes carried"),
    ("~/.config/p2pnode/config.toml", "its settings"),
    ("/var/lib/p2pnode", "the machine's node, of the user p2pnode"),
    ("/etc/p2pnode/config.toml", "its settings"),
    ("/run/p2pnode/api.sock", "where the group p2pnode talks to it"),
    ("/etc/credstore/p2pnode-passphrase", "opens its vault at start, if it is there"),
    ("/etc/credstore/p2pnode-key", "the same, as a key file"),
)

ENVIRONMENT = (
    ("P2PNODE_HOME", "where the node lives; --home goes before it"),
    ("NO_COLOR", "no colour, emoji or drawing"),
    ("CREDENTIALS_DIRECTORY", "where systemd puts p2pnode-passphrase or p2pnode-key for `run`"),
    ("NOTIFY_SOCKET", "where `run` tells systemd that it is ready, lives and stops"),
)


def pages() -> dict[str, str]:
    """Return every page's text by its file name."""
    root = group(LOCAL)
    found = {"p2pnode.1": _main_page(root)}
    for verb, (module, _) in {**LOCAL, **VERBS}.items():
        command: click.Command = importlib.import_module(module).command
        found[f"p2pnode-{verb}.1"] = _verb_page(verb, command)
    return found


def _main_page(root: click.Group) -> str:
    verbs = {**LOCAL, **VERBS}
    lines = [
        *_head("p2pnode", "a messenger that needs no server"),
        ".SH SYNOPSIS",
        r".B p2pnode",
        "[OPTION]... VERB [ARGUMENT]...",
        ".SH DESCRIPTION",
        *_prose(root.help or ""),
        *_prose(root.epilog or ""),
        ".SH VERBS",
    ]
    for name, (_, told) in verbs.items():
        lines += [".TP", rf".BR p2pnode\-{_roff(name)} (1)", _roff(told)]
    lines += [".SH OPTIONS", *_options(root, everything=True), ".SH EXIT STATUS"]
    codes: dict[int, list[str]] = {0: ["It is done."], 130: ["Interrupted."]}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.LocalError):
            codes.setdefault(kind.exit_code, []).append((kind.__doc__ or "").split("\n")[0])
    for code, told_by in sorted(codes.items()):
        lines += [".TP", f".B {code}", _roff(" ".join(told_by))]
    for title, table in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)):
        lines.append(f".SH {title}")
        for name, told in table:
            lines += [".TP", f".I {_roff(name)}", _roff(told)]
    return "\n".join(lines) + "\n"


def _verb_page(verb: str, command: click.Command) -> str:
    name = f"p2pnode-{verb}"
    lines = [*_head(name, (command.help or "").split(".")[0]), ".SH SYNOPSIS"]
    parts = dict(_parts(verb, command))
    for words, one in parts.items():
        lines += [f".B p2pnode {_roff(words)}", _roff(_usage(one)), ".br"]
    lines += [".SH DESCRIPTION", *_prose(command.help or "")]
    for words, one in parts.items():
        if one is not command:
            lines += [f".SS p2pnode {_roff(words)}", *_prose(one.help or "")]
        options = _options(one)
        if options and one is command:
            lines.append(".SH OPTIONS")
        lines += options
    lines += [
        ".SH SEE ALSO",
        r".BR p2pnode (1)",
        r"for \-\-home, \-\-json, \-\-plain and \-\-quiet, exit status and files",
    ]
    return "\n".join(lines) + "\n"


def _parts(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command, or those below it, with the words that call it."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name, below in command.commands.items():
        yield from _parts(f"{words} {name}", below)


def _head(name: str, told: str) -> list[str]:
    title = _roff(name.upper())
    return [
        f'.TH "{title}" 1 "" "p2pnode {__version__}" "p2pnode"',
        ".SH NAME",
        rf"{_roff(name)} \- {_roff(told[:1].lower() + told[1:].rstrip('.'))}",
    ]


def _usage(command: click.Command) -> str:
    with click.Context(command) as context:
        return " ".join(command.collect_usage_pieces(context))


def _options(command: click.Command, *, everything: bool = False) -> list[str]:
    lines: list[str] = []
    with click.Context(command) as context:
        for one in command.get_params(context):
            if not isinstance(one, click.Option):
                continue
            if not everything and any(flag in GLOBAL for flag in one.opts):
                continue
            record = one.get_help_record(context)
            if record is not None:
                flags, told = record
                lines += [".TP", f".B {_roff(flags)}", _roff(told)]
    return lines


def _prose(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        if words:
            lines += [".PP", _roff(words)]
    return lines


def _roff(text: str) -> str:
    """Return text that roff shows as it is."""
    found = text.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + found if found.startswith((".", "'")) else found


def main() -> None:
    """Write the pages into the directory named on the command line."""
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (place / name).write_text(text)


if __name__ == "__main__":
    main()
