"""`retention`: how long messages are kept here."""

from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import contact_names, flags
from p2pnode.errors import InvalidInput

if TYPE_CHECKING:
    from p2pnode.schema import Rule, Rules

LONG = 600.0
"""Seconds a large conversation may take."""


@click.command("retention")
@click.argument("name", shell_complete=contact_names, required=False)
@click.argument("days", required=False, metavar="[DAYS|off|default]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@flags
@click.pass_obj
def command(terminal: Terminal, name: str | None, days: str | None, yes: bool) -> None:
    """Tell how long messages are kept, or set it for a contact: days, off, or as the settings say.

    For all conversations without a rule of their own: `[retention] days` in config.toml.
    """
    from p2pnode.schema import GetRules, SetRetention

    if name == "":
        raise InvalidInput("the name is empty", hint="See: p2pnode contacts list")
    with terminal.client(patience=LONG) as client:
        if name is None or days is None:
            found = client.call(GetRules(name or ""))
        else:
            kept = _days(days)
            before = client.call(GetRules(name))
            shorter = before.default if kept is None else kept
            contact = clean(before.rules[0].contact)
            question = f"Messages with {contact} older than {shorter} days go now, for good. Go on?"
            if shorter and not yes and not terminal.sure(question):
                raise click.Abort
            found = client.call(SetRetention(name, kept))
    terminal.show(found, "\n".join(_lines(found, everybody=name is None)))


def _days(text: str) -> int | None:
    if text == "default":
        return None
    if text == "off":
        return 0
    number = text.removesuffix("d")
    if not number.isascii() or not number.isdecimal() or not 1 <= int(number[:6]) <= 36_500:
        raise InvalidInput(f'"{clean(text)}" is no number of days', hint="For example: 30, off")
    return int(number)


def _lines(found: "Rules", *, everybody: bool) -> list[str]:
    default = f"kept {found.default} days" if found.default else "kept for ever"
    first = [f"messages are {default}, unless a conversation says otherwise"] if everybody else []
    return first + [
        f"{clean(rule.contact)}  {_kept(rule, default)}"
        for rule in found.rules
        if not everybody or rule.days is not None
    ]


def _kept(rule: "Rule", default: str) -> str:
    if rule.days is None:
        return f"{default} (as the settings say)"
    return f"kept {rule.days} days" if rule.days else "kept for ever"
