"""`erase`: a contact, a conversation, or this whole node; planned, cancelled, or done at once."""

import click

from p2pnode.cli.status import erasing
from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import flags
from p2pnode.config import Home
from p2pnode.errors import InvalidInput, NoDaemon, StoreError, VaultLocked
from p2pnode.schema import CancelErasures, Erase, Erasing, Erasures, GetErasures

LONG = 600.0
"""Seconds a large conversation may take."""

WHAT = {
    "contact": "{name} goes: keys, addresses and all messages. What {name} has stays with {name}.",
    "conversation": "All messages with {name} go from this node. What {name} has stays there.",
    "all": "Everything of this node goes: identity, keys, contacts, messages, what it carries.",
}


@click.command("erase")
@click.option("--contact", metavar="NAME", help="Erase a contact with all that belongs to it.")
@click.option("--conversation", metavar="NAME", help="Erase the messages with a contact.")
@click.option("--all", "everything", is_flag=True, help="Erase this node; works without a daemon.")
@click.option("--settings", is_flag=True, help="With --all: config.toml as well.")
@click.option("--now", is_flag=True, help="At once, without a day in which it can be cancelled.")
@click.option("--cancel", is_flag=True, help="Cancel what is planned (of --contact alone, or all).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@flags
@click.pass_obj
def command(
    terminal: Terminal,
    contact: str | None,
    conversation: str | None,
    everything: bool,
    settings: bool,
    now: bool,
    cancel: bool,
    yes: bool,
) -> None:
    """Erase what this node keeps; without options, tell what is planned.

    It happens after a day of this node's time, in which `erase --cancel` undoes it, or with --now.
    """
    home = terminal.home
    if finish(terminal, home):
        return
    chosen = [one for one in (contact, conversation, everything or None) if one is not None]
    if cancel:
        if conversation is not None or everything or now:
            raise InvalidInput("--cancel goes with --contact or alone")
        _cancel(terminal, home, contact or "")
        return
    if len(chosen) > 1:
        raise InvalidInput("choose one of --contact, --conversation and --all")
    if settings and not everything:
        raise InvalidInput("--settings goes with --all")
    if not chosen:
        if now:
            raise InvalidInput("say what: --contact NAME, --conversation NAME or --all")
        _show(terminal, _planned(terminal, home))
    elif everything:
        _all(terminal, home, now=now, settings=settings, yes=yes)
    else:
        name = contact if contact is not None else conversation or ""
        _one(terminal, "conversation" if contact is None else "contact", name, now=now, yes=yes)


def finish(terminal: Terminal, home: Home) -> bool:
    """Finish an erasure of this home that something cut short; tell whether there was one."""
    from p2pnode import erasure
    from p2pnode.home import home_lock

    if not erasure.begun(home):
        return False
    with home_lock(home):
        left = erasure.carry_out(home)
    terminal.talk(erasure.last_word(home, left))
    return True


def _one(terminal: Terminal, what: str, name: str, *, now: bool, yes: bool) -> None:
    from p2pnode.schema import ContactRef

    with terminal.client(patience=LONG) as client:
        found = client.call(ContactRef(name))
        _confirm(terminal, what, found.name, yes=yes)
        assert what in ("contact", "conversation")
        done = client.call(Erase(what, found.name, now))  # type: ignore[arg-type]
    if now:
        gone = "is erased" if what == "contact" else "has no messages here any more"
        terminal.show(done, f"{clean(found.name)} {gone}")
    else:
        _show(terminal, done)
    aside = sorted(clean(one.name) for one in terminal.home.root.glob("*.damaged-*"))
    if aside:
        files = ", ".join(aside)
        terminal.talk(f"! Not in what repair has set aside; delete that yourself: {files}")


def _all(terminal: Terminal, home: Home, *, now: bool, settings: bool, yes: bool) -> None:
    from p2pnode import erasure
    from p2pnode.daemon import check_owner
    from p2pnode.engine.clock import wall_time
    from p2pnode.home import home_lock
    from p2pnode.schema import GetIdentity

    if not home.exists:
        raise StoreError(f"there is no identity in {home.root}", hint="Name another: --home DIR")
    try:
        with terminal.client(patience=LONG) as client:
            try:
                word = client.call(GetIdentity()).name
            except VaultLocked:
                word = "erase"
            _confirm(terminal, "all", word, yes=yes)
            done = client.call(Erase("all", now=now, settings=settings))
    except NoDaemon:
        if not now:  # its owner has to read the plan
            check_owner(home)
        with home_lock(home):  # no daemon comes between
            _confirm(terminal, "all", "erase", yes=yes)
            at = erasure.kept_time(home, wall_time())
            after = 0 if now else erasure.GRACE
            planned = erasure.plan(home, at, after=after, settings=settings)
            if now:
                terminal.talk(erasure.last_word(home, erasure.carry_out(home, planned)))
                if terminal.json:
                    terminal.record(Erasures(erasing=[]))
                return
        done = _planned(terminal, home)
        terminal.talk("No daemon runs: it happens when one does after that, or now with --now.")
    if now:
        terminal.show(Erasures(erasing=[]), "The daemon erases everything and ends.")
    else:
        _show(terminal, done)


def _confirm(terminal: Terminal, what: str, word: str, *, yes: bool) -> None:
    """Have the name typed. Raises InvalidInput when nobody can be asked, Abort for another."""
    if yes:
        return
    if terminal.json:
        raise InvalidInput("nobody can be asked with --json", hint="Add --yes")
    terminal.talk(WHAT[what].format(name=clean(word)))
    if (terminal.ask(f"To confirm, type {clean(word)}:") or "") != clean(word):
        terminal.talk("Nothing was erased.")
        raise click.Abort


def _planned(terminal: Terminal, home: Home) -> Erasures:
    from p2pnode import erasure
    from p2pnode.engine.clock import wall_time

    try:
        with terminal.client() as client:
            return client.call(GetErasures())
    except NoDaemon:
        planned = erasure.intent(home)
        if planned is None:
            raise
        left = max(0, planned.due - erasure.kept_time(home, wall_time()))
        return Erasures(erasing=[Erasing(what="all", contact="", left=left)])


def _cancel(terminal: Terminal, home: Home, contact: str) -> None:
    from p2pnode import erasure

    try:
        with terminal.client() as client:
            done = client.call(CancelErasures(contact))
    except NoDaemon:
        if contact or erasure.intent(home) is None:
            raise
        done = Erasures(erasing=[], cancelled=int(erasure.cancel(home)))
    count = done.cancelled
    nothing = "nothing was cancelled" if done.locked else "nothing was planned"
    terminal.show(done, f"cancelled: {count}" if count else nothing)
    _tell_locked(terminal, done)


def _show(terminal: Terminal, found: Erasures) -> None:
    lines = [erasing(one) for one in found.erasing]
    nothing = (
        "of the whole node nothing is planned"
        if found.locked
        else "nothing is planned to be erased"
    )
    terminal.show(found, "\n".join(lines) or nothing)
    if found.erasing:
        terminal.talk("To cancel: p2pnode erase --cancel")
    _tell_locked(terminal, found)


def _tell_locked(terminal: Terminal, found: Erasures) -> None:
    if found.locked:
        terminal.talk(
            "! The vault is locked: what is planned for contacts and conversations stands, and can"
            " be told and cancelled after: p2pnode unlock"
        )
