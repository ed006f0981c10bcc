"""`pair`: become contacts, by showing a code or joining one, with words compared by people."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pnode.cli.terminal import Terminal, clean, read_stdin
from p2pnode.cli.verbs import DefaultGroup, flags
from p2pnode.errors import InvalidInput, LocalError, PairingFailed

if TYPE_CHECKING:
    from p2pnode.cli.qr import Kind
    from p2pnode.client import BlockingClient
    from p2pnode.schema import Pairing, PairingStep

MAX_CODE = 1_024
"""Bytes of a code read from stdin."""

STEP = 30.0
"""Seconds of one wait for the next step."""

COMES_UP = 60.0
"""Seconds a transport that a code can name, Tor, may take to be up."""

AGAIN = "Begin anew: p2pnode pair show"

UNHEARD = (
    "Nobody heard so far; still looking. p2pnode status tells how this node's transports are. Guest"
    " networks often keep devices apart: use another one, a hotspot, or p2pnode pair mutual."
)
"""What is said once to who joins a code when a wait for the first step was in vain."""

REASONS = {
    "refused": ("the words do not match; this code is now void", AGAIN),
    "refused-by-peer": ("the other side said no, or its words differ; this code is void", AGAIN),
    "expired": ("nobody used the code in time", AGAIN),
    "cancelled": ("the pairing was cancelled", ""),
    "own-account": ("this is your own code", "Let the other person join it."),
    "wrong-commitment": ("somebody else answered than the code promised; nothing was kept", AGAIN),
    "wrong-proof": ("the other side does not hold its keys; nothing was kept", AGAIN),
    "unconfirmed": (
        "the other side has not said yes so far; the contact stays pending for 7 days",
        "See: p2pnode contacts list",
    ),
}
"""Reason → what happened, and what to do."""


class _Pair(DefaultGroup):
    default = "show"


@click.group("pair", cls=_Pair)
@flags
def command() -> None:
    """Become contacts. One side shows a code, the other joins it; both compare the words.

    `p2pnode pair` alone shows a code.
    """


def _accept(wrapped: Any) -> Any:
    for option in (
        click.option("--petname", default="", metavar="P", help="What to call the new contact."),
        click.option(
            "--accept", is_flag=True, help="Say yes to the words unseen. For scripts and tests."
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


@command.command("show")
@_accept
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Write the QR code.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write the QR code.")
@click.option("--remote", is_flag=True, help="Let somebody far away use it, through Tor.")
@flags
@click.pass_obj
def show(
    terminal: Terminal,
    petname: str,
    accept: bool,
    png: Path | None,
    svg: Path | None,
    remote: bool,
) -> None:
    """Show a code, once usable, and wait for the other side to join it."""
    from p2pnode.schema import ShowCode

    with terminal.client() as client, _voided(terminal, client) as opened:
        if remote:
            terminal.talk(
                "Opening a place where they can reach you. After a start it takes a while."
            )
        pairing = client.call(ShowCode(remote=remote, timeout=COMES_UP if remote else 0))
        opened.append(pairing.pairing)
        _tell_code(terminal, pairing, {"png": png, "svg": svg})
        _follow(terminal, client, pairing.pairing, accept=accept, petname=petname)


@command.command("join", short_help="Join the code another node shows.")
@click.argument("uri", required=False)
@click.option("--image", type=click.Path(path_type=Path, exists=True), help="Read a QR code.")
@_accept
@flags
@click.pass_obj
def join(
    terminal: Terminal, uri: str | None, image: Path | None, petname: str, accept: bool
) -> None:
    """Join the code another node shows: its URI, - for stdin, or --image FILE."""
    from p2pnode.schema import JoinCode

    code = _given(uri, image)
    with terminal.client() as client, _voided(terminal, client) as opened:
        pairing = client.call(JoinCode(code, petname))
        opened.append(pairing.pairing)
        terminal.talk("Looking for the other side. Keep both nodes running.")
        _follow(terminal, client, pairing.pairing, accept=accept, petname=petname, unheard=UNHEARD)


@command.command("mutual", short_help="Both show and scan a code: needs no network.")
@click.argument("uri", required=False)
@click.option("--image", type=click.Path(path_type=Path, exists=True), help="Read a QR code.")
@click.option("--pairing", default="", metavar="ID", help="Complete a code shown earlier.")
@_accept
@flags
@click.pass_obj
def mutual(
    terminal: Terminal,
    uri: str | None,
    image: Path | None,
    pairing: str,
    petname: str,
    accept: bool,
) -> None:
    """Both show a code and scan the other's: needs no network; keys follow over any path.

    Shows this side's code, then takes the other's (as an argument, from --image, or from stdin).
    """
    from p2pnode.schema import JoinCode, ShowCode

    with terminal.client() as client, _voided(terminal, client) as opened:
        if not pairing:
            own = client.call(ShowCode(mutual=True))
            pairing = own.pairing
            opened.append(pairing)
            _tell_code(terminal, own, {})
        if uri is None and image is None:
            uri = terminal.ask("The other's code:") or ""
        code = _given(uri, image)
        client.call(JoinCode(code, petname, pairing))
        _follow(terminal, client, pairing, accept=accept, petname=petname)


@command.command("cancel")
@click.argument("pairing")
@flags
@click.pass_obj
def cancel(terminal: Terminal, pairing: str) -> None:
    """Void a code that was shown or joined."""
    from p2pnode.schema import CancelPairing

    with terminal.client() as client:
        done = client.call(CancelPairing(pairing))
    terminal.show(done, "The code is void.")


def _given(uri: str | None, image: Path | None) -> str:
    if image is not None:
        from p2pnode.cli.qr import read

        return read(image)
    if uri == "-":
        uri = read_stdin(MAX_CODE)
    if not uri or not uri.strip():
        raise InvalidInput("no code was given", hint="It begins with P2PNODE:, or use --image FILE")
    return uri.strip()


@contextmanager
def _voided(terminal: Terminal, client: "BlockingClient") -> Iterator[list[str]]:
    """Void what was opened when the person (or the system) ends us half-way."""
    opened: list[str] = []
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    for name in before:
        signal.signal(name, signal.default_int_handler)
    try:
        yield opened
    except (KeyboardInterrupt, BrokenPipeError, InvalidInput):
        from p2pnode.schema import CancelPairing

        for pairing in opened:
            try:
                client.call(CancelPairing(pairing))
                terminal.talk("\nThe code is void.")
            except LocalError as error:
                terminal.failed(error)
        raise
    finally:
        for name, action in before.items():
            signal.signal(name, action)


def _tell_code(terminal: Terminal, pairing: "Pairing", files: "dict[Kind, Path | None]") -> None:
    from p2pnode.cli.qr import drawn, written

    for kind, path in files.items():
        if path is not None:
            written(pairing.uri, path, kind)
    if terminal.json:
        terminal.record({"event": "code", "uri": pairing.uri, "pairing": pairing.pairing})
        return
    if not terminal.plain:
        import sys

        for row in drawn(pairing.uri, colour=sys.stdout.isatty()):
            terminal.line(row)
    terminal.line(clean(pairing.uri))
    minutes, seconds = divmod(int(pairing.expires_in), 60)
    terminal.talk(f"Single use, expires in {minutes}:{seconds:02}. Ctrl-C voids it.")


def _follow(
    terminal: Terminal,
    client: "BlockingClient",
    pairing: str,
    *,
    accept: bool,
    petname: str,
    unheard: str = "",
) -> None:
    """Go through the steps of a pairing to its end; unheard: said when the first keeps away.

    Raises PairingFailed.
    """
    from p2pnode.schema import AnswerPairing, NextStep

    seen = 0
    said: bool | None = True
    while True:
        step = client.call(NextStep(pairing, seen, STEP))
        if step.step <= seen:
            if unheard and not seen:
                terminal.talk(unheard)
                unheard = ""
            continue
        seen = step.step
        if step.event == "compare":
            _tell_words(terminal, step)
            said = accept or terminal.confirmed("The same on both?")
            client.call(AnswerPairing(pairing, said is True, petname))
        elif step.event == "confirming":
            terminal.talk("Waiting for the other side's yes.")
        elif step.event == "keys-under-way":
            terminal.show(
                {"event": "keys-under-way", "pairing": pairing},
                "Both codes are known. The keys follow over any path; texts wait until then.",
            )
            return
        elif step.event == "paired":
            terminal.show(
                {"event": "paired", "contact": step.contact, "fingerprint": step.fingerprint},
                f"Paired: {clean(step.contact)}  {clean(step.fingerprint)}",
            )
            return
        elif step.event == "failed":
            raise _failure(terminal, step, unsaid=said is None)


def _tell_words(terminal: Terminal, step: "PairingStep") -> None:
    if terminal.json:
        terminal.record({"event": "compare", "words": step.words, "emoji": step.emoji})
        return
    emoji = [""] * len(step.words) if terminal.plain else [f" {mark}" for mark in step.emoji]
    terminal.line("Compare:  " + "  ".join(a + b for a, b in zip(step.words, emoji, strict=True)))


def _failure(terminal: Terminal, step: "PairingStep", *, unsaid: bool) -> PairingFailed:
    if terminal.json:
        terminal.record({"event": "failed", "reason": step.reason})
    if unsaid and step.reason == "refused":
        return PairingFailed("nobody said whether the words match; this code is void", hint=AGAIN)
    if step.reason in REASONS:
        what, hint = REASONS[step.reason]
        return PairingFailed(what, hint=hint)
    # Either a local reason in words (then `contact` holds them) or the other side broke the rules.
    return PairingFailed(step.contact or f"the pairing failed ({step.reason})", hint=AGAIN)
