"""Index statements: what a contact says of a session, held against what is known here.

Indexes only grow. One that went back means that somebody restored an old copy, or that two copies
are running: no message may be trusted to be fresh or whole, and the person must hear of it.
"""

from typing import Literal

from p2pnode.protocol.link.messages import Statement

Verdict = Literal["ok", "they-rolled-back", "we-rolled-back"]


def check(
    own_sent: int,
    own_received: int,
    last_stated_sent: int,
    last_stated_received: int,
    theirs: Statement,
) -> Verdict:
    """Return what a contact's statement means.

    own_sent: envelopes this side has sealed, as of now. own_received: the highest count it has
    opened, and last_stated_*: the highest the contact ever stated; all three as they were when
    the other side showed itself (`Link.claimed`), before its statement was made: what arrives on
    other links meanwhile may overtake a statement that was true. Counts of envelopes, from 0.
    """
    if theirs.received > own_sent:
        return "we-rolled-back"
    if theirs.sent < max(own_received, last_stated_sent):
        return "they-rolled-back"
    if theirs.received < last_stated_received:
        return "they-rolled-back"
    return "ok"
