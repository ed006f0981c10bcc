"""What a person is told when a contact, or oneself, begins anew or runs twice."""

from typing import TYPE_CHECKING

from p2pnode.cli.terminal import clean

if TYPE_CHECKING:
    from p2pnode.schema import Event

NOTICES = {
    "restored": (
        "{0} begins anew, from a backup or an old state. Not verified any more: when you meet,"
        " p2pnode verify {0}"
    ),
    "reset-answered": "{0} has heard that you begin anew; all is as before.",
    "set-back": "your own node was set back to an old state; it begins anew with {0}.",
    "known-already": (
        "whom you scanned is {0}, a contact already; that scan has ended. To start afresh:"
        " p2pnode contacts remove {0}"
    ),
    "rollback": "{0}'s node was set back to an old state; nothing is sent until it begins anew.",
    "clone": (
        "two copies of {0} are in use; nothing is sent. Ask {0}. If a backup was restored:"
        " p2pnode verify {0}"
    ),
    "restored-twice": (
        "{0} was restored twice from one backup; nothing is sent. Ask {0}. If so:"
        " p2pnode verify {0}"
    ),
    "replaced": (
        "{0} says that your own identity was restored on another device; nothing is sent. If that"
        " was not you, somebody has your backup: tell {0}, and pair again."
    ),
}
"""By an event's reason; {0} is the contact."""


def notice(event: "Event") -> str:
    """Return what to say about an event of a contact, "" for nothing."""
    return NOTICES.get(event.reason, "").format(clean(event.contact))
