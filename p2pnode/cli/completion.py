"""`completion`: what a shell needs to complete p2pnode's verbs and options."""

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@flags
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: p2pnode completion bash > ~/.local/share/bash-completion/completions/p2pnode
    """
    from click.shell_completion import get_completion_class

    terminal: Terminal = ctx.obj
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "p2pnode", "_P2PNODE_COMPLETE").source()
    terminal.show({"shell": shell, "script": script}, script.rstrip("\n"))
