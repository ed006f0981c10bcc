"""Tells a person at a terminal how far a long piece of the daemon's work has come."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from p2pnode.cli.terminal import Terminal
from p2pnode.errors import LocalError

EVERY = 0.5
"""Seconds between two looks."""


@contextmanager
def progress(terminal: Terminal, what: str, unit: str = "envelopes") -> Iterator[None]:
    """Show on stderr how far the long work `what` has come, while it goes on.

    Nothing is shown where nobody looks: in pipes, with --quiet, --plain or --json.
    """
    if terminal.quiet or terminal.plain or terminal.json or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    shows = threading.Thread(target=_show, args=(terminal, what, unit, done), daemon=True)
    shows.start()
    try:
        yield
    finally:
        done.set()
        shows.join()


def _show(terminal: Terminal, what: str, unit: str, done: threading.Event) -> None:
    from p2pnode.schema import GetStatus

    shown = False
    try:
        with terminal.client() as client:
            while not done.wait(EVERY):
                status = client.call(GetStatus())
                count = {**status.courier, **status.work}.get(what)
                if count is not None:
                    sys.stderr.write(f"\r\x1b[K{count} {unit} so far")
                    sys.stderr.flush()
                    shown = True
    except LocalError:
        pass  # the call itself tells what is wrong
    if shown:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
