"""`metrics`: the counts, for a monitoring program."""

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags


@click.command("metrics")
@flags
@click.pass_obj
def command(terminal: Terminal) -> None:
    """Print the node's counts in Prometheus' text format; they name nobody.

    Off until `[metrics] enabled = true`. The same is at /v1/metrics on the local API's socket.
    """
    from p2pnode.schema import GetMetrics

    with terminal.client() as client:
        found = client.call(GetMetrics())
    terminal.show(found, found.text.rstrip("\n"))
