"""`chat`: a conversation line by line, for terminals, pipes and screen readers alike."""

import threading
from typing import TYPE_CHECKING

import click

from p2pnode.cli.history import shown
from p2pnode.cli.notices import notice
from p2pnode.cli.terminal import Terminal, clean, read_line
from p2pnode.cli.verbs import contact_names, flags
from p2pnode.errors import LocalError

if TYPE_CHECKING:
    from p2pnode.client import BlockingClient
    from p2pnode.schema import Event, Message

CONSUMER = "chat"

PAGE = 1_000
"""Events passed over at once at the start."""

STEP = 30.0
"""Seconds of one wait for events."""

BACKLOG = 20
"""Messages shown at the start."""


AGREEMENTS = {
    "disappear.proposed": "proposes how long messages live",
    "disappear.agreed": "and you agree how long messages live",
    "disappear.declined": "declines how long messages should live",
    "disappear.withdrawn": "began anew: a proposal that still stands comes again",
}
"""What to say of events about disappearing messages."""


@click.command("chat")
@click.argument("name", shell_complete=contact_names)
@flags
@click.pass_obj
def command(terminal: Terminal, name: str) -> None:
    """Talk with a contact: each line you type is a message, what comes is printed.

    /why tells about your last message, /quit (or the end of input) leaves; a line that shall
    begin with / begins with //.
    """
    from p2pnode.schema import ContactRef, GetHistory

    seen: set[str] = set()
    with terminal.client() as client:
        contact = client.call(ContactRef(name))
        cursor = _skip(client)
        for message in client.call(GetHistory(name, BACKLOG)).messages:
            seen.add(message.id)
            terminal.show(message, shown(message))
        listener = threading.Thread(
            target=_listen, args=(terminal, contact.name, cursor, seen), daemon=True
        )
        listener.start()
        terminal.talk(
            f"Talking with {clean(contact.name)}. /why tells where your last line is, /quit leaves."
        )
        _talk(terminal, client, name)


def _skip(client: "BlockingClient") -> int:
    """Pass over the events of before (history shows them); return where new ones begin."""
    from p2pnode.schema import AckEvents, TakeEvents

    cursor = -1
    while True:
        page = client.call(TakeEvents(CONSUMER, after=cursor, limit=PAGE)).events
        if page:
            cursor = page[-1].cursor
        if len(page) < PAGE:
            break
    if cursor >= 0:
        client.call(AckEvents(CONSUMER, cursor))
    return cursor


def _listen(terminal: Terminal, name: str, cursor: int, seen: set[str]) -> None:
    """Print what comes from one contact, and how its messages fare, until the process ends."""
    from p2pnode.schema import TakeEvents

    try:
        with terminal.client() as client:
            while True:
                page = client.call(TakeEvents(CONSUMER, after=cursor, limit=100, timeout=STEP))
                for event in page.events:
                    cursor = event.cursor
                    _tell(terminal, name, event, seen)
    except LocalError as error:
        terminal.failed(error)
    except OSError:
        return  # our output is gone; the main thread finds out by itself


def _tell(terminal: Terminal, name: str, event: "Event", seen: set[str]) -> None:
    message = event.message
    if event.kind in AGREEMENTS and event.contact == name and not terminal.json:
        terminal.talk(f"  {clean(name)} {AGREEMENTS[event.kind]}: p2pnode disappear {clean(name)}")
    if message is None:
        if event.contact == name and (told := notice(event)):
            terminal.talk(f"! {told}")
        return
    if event.kind == "message.received" and message.from_ == name and message.id not in seen:
        seen.add(message.id)
        terminal.show(message, shown(message))
    elif event.kind == "message.redacted" and message.from_ == name:
        terminal.show(message, shown(message))
    elif event.kind == "message.state" and message.to == name and message.state == "delivered":
        _note(terminal, message)


def _note(terminal: Terminal, message: "Message") -> None:
    if terminal.json:
        terminal.record(message)
    else:
        terminal.talk(f"  delivered: {clean(message.text)[:40]}")


def _talk(terminal: Terminal, client: "BlockingClient", name: str) -> None:
    from p2pnode.schema import Send, Why

    last = ""
    while line := read_line():
        text = line.rstrip("\r\n")
        try:
            if text == "/quit":
                return
            if text == "/why":
                told = client.call(Why(last)).summary if last else "You have not written yet."
                terminal.talk(f"  {clean(told)}")
            elif text.startswith("/") and not text.startswith("//"):
                terminal.talk("  Known are /why and /quit; a line with / begins with //.")
            elif text:
                sent = client.call(Send(name, text.removeprefix("/") if text[:2] == "//" else text))
                last = sent.id
                if terminal.json:
                    terminal.record(sent)
        except LocalError as error:
            terminal.failed(error)
            if error.exit_code in {3, 9}:
                raise
