"""How long messages are kept: the rules with each contact."""

from typing import Annotated

import msgspec

from p2pnode.schema.base import Answer, Asks, Name


class GetRules(Asks["Rules"], frozen=True):
    """Ask how long messages are kept, with one contact or with all."""

    contact: Name = ""


class SetRetention(Asks["Rules"], frozen=True):
    """Keep messages with a contact for so many days: 0 for ever, None as the settings say."""

    contact: Name
    days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] | None


class Propose(Asks["Rules"], frozen=True):
    """Propose that messages disappear so many seconds after they were written, and after they came;
    0: that they stay. The same as the other proposed accepts it."""

    contact: Name
    seconds: Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)]


class AnswerProposal(Asks["Rules"], frozen=True):
    """Accept or decline what a contact proposed."""

    contact: Name
    accepted: bool


class Rule(Answer, frozen=True):
    """How long messages with a contact are kept.

    days: as set for it, None for as the settings say. seconds: after which messages disappear, as
    both agreed, 0 for never. proposed: what waits for the other's answer; offered: for ours.
    """

    contact: str
    days: int | None
    seconds: int
    proposed: int | None = None
    offered: int | None = None


class Rules(Answer, frozen=True):
    """The rules of one contact, or of all; default: days the settings say, 0 for ever."""

    default: int
    rules: list[Rule]
