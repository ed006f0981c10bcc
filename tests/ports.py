"""TCP ports of loopback that nobody else takes while this process lives.

A port that is merely free now is anybody's in the next moment: the kernel hands ports of its own
range to whoever connects or listens, in this run and in the one beside it. These lie below that
range, and each process holds a block of them by the name of a socket, which goes when it does.
"""

import os
import socket
import sys
from collections.abc import Iterator

FIRST, BEYOND = 16_384, 32_768
"""The kernel's own range begins at 32768, where nobody has changed it."""

BLOCK = 256
"""Ports a process holds."""

BLOCKS = (BEYOND - FIRST) // BLOCK


def _held_block() -> int:
    """Hold a block from now on; return its first port."""
    if sys.platform != "linux":  # where sockets have no such names
        return FIRST + os.getpid() % BLOCKS * BLOCK
    for number in range(BLOCKS):
        block = (os.getpid() + number) % BLOCKS
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0p2pnode-tests-ports-{block}")
        except OSError:
            name.close()
            continue
        name.detach()  # stays open, as long as the process
        return FIRST + block * BLOCK
    raise RuntimeError("too many test runs on this machine")


def _in_turn() -> Iterator[int]:
    while True:
        yield from range(_FIRST_HERE, _FIRST_HERE + BLOCK)


_FIRST_HERE = _held_block()
_PORTS = _in_turn()


def free_port() -> int:
    """Return a port nobody listens on, and which nobody else is given soon."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody from outside the tests, or a daemon that still ends
                continue
        return port
    raise AssertionError("there is no end of ports")
