"""`export`: everything this node keeps, in one archive to read and to take along."""

from pathlib import Path

import click

from p2pnode.cli.progress import progress
from p2pnode.cli.terminal import Terminal, as_daemon, clean
from p2pnode.cli.verbs import flags

LONG = 3_600.0
"""Seconds a slow disk may take."""


@click.command("export")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace the file that is there.")
@flags
@click.pass_obj
def command(terminal: Terminal, path: Path, replace: bool) -> None:
    """Write everything this node keeps into the archive PATH (zip), for programs and for reading.

    It is not encrypted, and no backup: no key is in it. README.txt inside tells what is left out.
    """
    from p2pnode.schema import Export

    whole = path.expanduser().absolute()
    with (
        progress(terminal, "export", "rows"),
        as_daemon(terminal.home),
        terminal.client(patience=LONG) as client,
    ):
        done = client.call(Export(str(whole), replace))
    counted = " and ".join(
        f"{count} {what}" + ("" if count == 1 else "s")
        for count, what in ((done.messages, "message"), (done.contacts, "contact"))
    )
    terminal.show(done, f"{counted} in {clean(done.path)} ({done.bytes / 1e6:.1f} MB)")
    terminal.talk("It is readable by whoever has it. Unpack it and open index.html.")
