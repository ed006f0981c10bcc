"""`doctor`: look at everything that could be wrong, with the daemon or without one."""

import click
import trio

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import flags
from p2pnode.errors import LocalError, NoDaemon
from p2pnode.schema import Diagnose, Diagnosis

LONG = 600.0
"""Seconds a large store on a slow card may take to be read."""

MARKS = {"pass": "OK  ", "warn": "WARN", "fail": "FAIL", "skip": "skip"}


@click.command("doctor")
@flags
@click.pass_context
def command(context: click.Context) -> None:
    """Look at home, clock, stores and transports; tell what is wrong and what would mend it.

    Exits with 1 when something fails.
    """
    terminal: Terminal = context.obj
    try:
        with terminal.client(patience=LONG) as client:
            found = client.call(Diagnose())
    except NoDaemon:
        terminal.talk("No daemon runs here; looking at what can be seen without one.")
        found = _without_daemon(terminal)
    if terminal.json:
        terminal.record(found)
    else:
        wide = max((len(one.area) for one in found.findings), default=0)
        for one in found.findings:
            lead = "  fix: " if one.result in ("warn", "fail") else "  "
            fix = lead + clean(one.fix) if one.fix and one.result != "pass" else ""
            terminal.line(
                f"{MARKS[one.result]} {clean(one.area):{wide}}  {clean(one.name)}:"
                f" {clean(one.detail)}{fix}"
            )
    if any(one.result == "fail" for one in found.findings):
        context.exit(1)


def _without_daemon(terminal: Terminal) -> Diagnosis:
    from p2pnode import diagnosis, plugins
    from p2pnode.automation.hooks import look
    from p2pnode.card import batches
    from p2pnode.config import load
    from p2pnode.node import policy

    home = terminal.home
    found = diagnosis.clock()
    try:
        config = load(home.config, plugins.names())
    except LocalError as error:
        found.append(diagnosis.finding("settings", "config.toml", "fail", error.what, error.hint))
        return Diagnosis(findings=found)
    found.append(diagnosis.finding("settings", "config.toml", "pass", "understood"))
    if home.exists:
        found += diagnosis.home(home, batching=batches(config.store.batch_writes, home.root))
        found.append(diagnosis.lock(home))
        found += diagnosis.carried(home, policy(config))
    else:
        found.append(
            diagnosis.finding(
                "home", "identity", "fail", "there is none", "p2pnode init --name NAME"
            )
        )
    found.append(diagnosis.unread("only the daemon can open it", "p2pnode run"))
    loaded = plugins.load(home.config, config.enabled())
    found += diagnosis.switched_off(config.enabled())
    found += look(config.hooks)
    found += trio.run(diagnosis.transports, [(one.name, one) for one in loaded])
    return Diagnosis(findings=found)
