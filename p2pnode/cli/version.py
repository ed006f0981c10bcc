"""`version`: which p2pnode this is."""

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags


@click.command("version")
@flags
@click.pass_obj
def command(terminal: Terminal) -> None:
    """Print the version."""
    tell(terminal)


def tell(terminal: Terminal) -> None:
    """Print it, as `p2pnode --version` does, too."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("p2pnode")
    except PackageNotFoundError:
        found = "unknown"  # run from a source tree that was never installed
    terminal.show({"version": found}, f"p2pnode {found}")
