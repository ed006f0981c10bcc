"""`disappear`: messages that go on both sides after a while, as both agreed."""

import re
from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, ago, clean
from p2pnode.cli.verbs import contact_names, flags
from p2pnode.errors import InvalidInput

if TYPE_CHECKING:
    from p2pnode.schema import Rule

UNITS = {"min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SHORTEST, LONGEST = 300, 366 * 86_400


@click.command("disappear")
@click.argument("name", shell_complete=contact_names, required=False)
@click.argument("span", required=False, metavar="[SPAN|off]")
@click.option("--accept", is_flag=True, help="Accept what the contact proposed.")
@click.option("--decline", is_flag=True, help="Decline it.")
@flags
@click.pass_obj
def command(
    terminal: Terminal, name: str | None, span: str | None, accept: bool, decline: bool
) -> None:
    """Propose that messages disappear after SPAN (5min, 12h, 7d, 4w), or tell what is agreed.

    It is in force when the contact's person accepts. Each message then goes SPAN after it was
    written here, and SPAN after it came there.
    """
    from p2pnode.schema import AnswerProposal, GetRules, Propose

    if (accept or decline) and (name is None or span is not None or accept == decline):
        raise InvalidInput("give a contact, and one of --accept, --decline and a span")
    with terminal.client() as client:
        if name is not None and span is not None:
            found = client.call(Propose(name, _seconds(span)))
        elif name is not None and (accept or decline):
            found = client.call(AnswerProposal(name, accept))
        else:
            found = client.call(GetRules(name or ""))
    shown = [rule for rule in found.rules if name is not None or _of_note(rule)]
    text = "\n".join(_line(rule) for rule in shown)
    terminal.show(found, text or "messages disappear in no conversation")


def _seconds(text: str) -> int:
    if text == "off":
        return 0
    found = re.fullmatch(r"([0-9]{1,6})(min|h|d|w)", text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not SHORTEST <= seconds <= LONGEST:
        raise InvalidInput(
            f'"{clean(text)}" is no span',
            why="it takes a number and a unit, from 5min to 366d",
            hint="For example: 12h, 7d, off",
        )
    return seconds


def _of_note(rule: "Rule") -> bool:
    return bool(rule.seconds) or rule.proposed is not None or rule.offered is not None


def _line(rule: "Rule") -> str:
    name = clean(rule.contact)
    parts = [f"{name}  {_after(rule.seconds)}"]
    if rule.proposed is not None:
        parts.append(f"you proposed: {_after(rule.proposed)} (no answer yet)")
    if rule.offered is not None:
        parts.append(
            f"{name} proposes: {_after(rule.offered)}; answer: p2pnode disappear {name}"
            " --accept, or --decline"
        )
    return "; ".join(parts)


def _after(seconds: int) -> str:
    return f"messages disappear after {ago(seconds)}" if seconds else "messages stay"
