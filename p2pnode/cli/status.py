"""`status`: how the node is, in one look."""

from typing import TYPE_CHECKING

import click

from p2pnode.cli.terminal import Terminal, ago, clean
from p2pnode.cli.verbs import flags

if TYPE_CHECKING:
    from p2pnode.schema import Erasing, Status


KINDS = {"pairing": "a pairing", "stranger": "a stranger", "friend": "a friend"}
"""What a link without a petname is called."""

PROGRAMS = {"on_message": "hook on_message", "desktop": "desktop notifications"}
"""What a program run for events is called."""


@click.command("status")
@flags
@click.pass_obj
def command(terminal: Terminal) -> None:
    """Tell how the node is: links, messages under way, transports, warnings."""
    from p2pnode.schema import GetStatus

    with terminal.client() as client:
        status = client.call(GetStatus())
    terminal.show(status, "\n".join(_lines(status)))


def _lines(status: "Status") -> list[str]:
    outbox, custody = status.outbox, status.custody
    pending = f" ({status.pending} pending)" if status.pending else ""
    oldest = f" (oldest {ago(outbox.oldest)})" if outbox.count else ""
    states = ", ".join(
        f"{clean(name)} {clean(found.state)}"
        + (f" ({clean(found.detail)})" if found.detail else "")
        for name, found in sorted(status.transports.items())
    )
    people = "1 contact" if status.contacts == 1 else f"{status.contacts} contacts"
    # A locked node does not know whom its owner knows, nor what waits.
    own = "locked" if status.locked else f"{people}{pending} | outbox {outbox.count}{oldest}"
    first = (
        f"up {ago(status.uptime)} | {own}"
        f" | carrying {custody.bytes / 1e6:.0f}/{custody.limit / 1e6:.0f} MB"
        f" | {states or 'no transports'}"
    )
    lines = [first]
    if status.locked:
        lines.append("locked: it only carries. Open the vault: p2pnode unlock")
    shares = {
        "own": custody.own,
        "contacts": custody.contacts,
        "couriers": custody.couriers,
        "strangers": custody.strangers,
    }
    held = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in shares.items() if size)
    if held:
        lines.append(f"carries for {clean(custody.carries_for)}; MB by source: {held}")
    for link in status.links:
        whom = clean(link.contact) or KINDS.get(link.kind, "a contact")
        locked = ", who only carries (locked)" if link.kind == "carrier" else ""
        moved = f", {link.sent} out, {link.received} in" if link.sent or link.received else ""
        left = f", {link.waiting} to go" if link.waiting else ""
        place = clean(link.transport)
        lines.append(f"link: {whom} over {place} for {ago(link.age)}{moved}{left}{locked}")
    lines += [f"! {erasing(one)}. Cancel: p2pnode erase --cancel" for one in status.erasing]
    for what, count in status.work.items():
        lines.append(f"{clean(what)} under way, {count} rows so far")
    for what, count in status.courier.items():
        lines.append(f"courier: {clean(what)} under way, {count} envelopes so far")
    for name, one in sorted(status.programs.items()):
        lost = f", {one.skipped} skipped" if one.skipped else ""
        tries = f", {one.failed} failed{lost}" if one.failed else ""
        last = f" ({clean(one.detail)})" if one.detail else ""
        lines.append(
            f"{PROGRAMS.get(name, clean(name))}: {one.state}, {one.done} done{tries}{last}"
        )
    if status.rejected:
        count = sum(status.rejected.values())
        reasons = ", ".join(f"{clean(k)} {n}" for k, n in sorted(status.rejected.items()))
        lines.append(f"refused from outside: {count} ({reasons})")
    lines += [f"! {clean(warning)}" for warning in status.warnings]
    saved = status.backup
    if saved is not None and saved.at is None:
        lines.append("! no backup yet: p2pnode backup create FILE")
    elif saved is not None and saved.missing:
        lines.append(
            f"! the last backup lacks {saved.missing} of your contacts: p2pnode backup create FILE"
        )
    return lines


def erasing(one: "Erasing") -> str:
    """Return a planned erasure as people read it."""
    what = {
        "contact": f"{clean(one.contact)}, with all messages",
        "conversation": f"all messages with {clean(one.contact)}",
        "all": "everything of this node",
    }
    return f"to be erased in {ago(one.left)}: {what[one.what]}"
