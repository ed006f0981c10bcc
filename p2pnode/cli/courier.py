"""`courier`: envelopes as files, on a stick or in any folder."""

from pathlib import Path

import click

from p2pnode.cli.progress import progress
from p2pnode.cli.terminal import Terminal, as_daemon
from p2pnode.cli.verbs import flags

LONG = 3_600.0
"""Seconds a slow stick may take."""


@click.group("courier")
@flags
def command() -> None:
    """Carry envelopes as files: on a USB stick, or in any folder."""


@command.command("write")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--for", "name", default="", metavar="NAME", help="Own mail to this contact alone.")
@click.option(
    "--all", "everything", is_flag=True, help="Own mail and all that is carried (default)."
)
@click.option("--max-size", type=click.IntRange(min=1), metavar="MB", help="Write at most this.")
@flags
@click.pass_obj
def write(
    terminal: Terminal, path: Path, name: str, everything: bool, max_size: int | None
) -> None:
    """Write envelopes into the folder PATH; again adds only what is new."""
    from p2pnode.errors import InvalidInput
    from p2pnode.schema import WriteCourier

    if name and everything:
        raise InvalidInput("choose one of --for and --all")
    size = (max_size or 0) * 1_000_000
    with (
        progress(terminal, "write"),
        as_daemon(terminal.home),
        terminal.client(patience=LONG) as client,
    ):
        done = client.call(WriteCourier(str(path.resolve()), name, size))
    terminal.show(done, f"{done.envelopes} envelopes written, {done.bytes / 1e6:.1f} MB")
    terminal.talk("Safe to unplug. Read them there: p2pnode courier read PATH")


@command.command("read")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@flags
@click.pass_obj
def read(terminal: Terminal, path: Path) -> None:
    """Take in the envelopes in the folder PATH; nothing there is changed."""
    from p2pnode.schema import ReadCourier

    with (
        progress(terminal, "read"),
        as_daemon(terminal.home),
        terminal.client(patience=LONG) as client,
    ):
        done = client.call(ReadCourier(str(path.resolve())))
    terminal.show(
        done,
        f"{done.found} envelopes found, {done.new} new, {done.opened} for you"
        + (f", no room for {done.refused}" if done.refused else ""),
    )
