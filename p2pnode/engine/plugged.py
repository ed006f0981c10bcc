"""Asking something of a transport, which is somebody's plug-in: its defects end nothing here."""

from collections.abc import Awaitable
from typing import TypeVar

from p2pnode.errors import LocalError
from p2pnode.logs import EventLog, Private, traced
from p2pnode.spi.transport import Transport

log = EventLog("transports")

T = TypeVar("T")


async def spared(transport: Transport, asked: Awaitable[T], otherwise: T) -> T:
    """Return what a transport answers; `otherwise` where it fails, which the log tells."""
    try:
        return await asked
    except LocalError as error:  # no room on the disk, say
        log.warning("refused", transport=transport.name, reason=error.code)
    except Exception as error:
        log.fault("failed", transport=transport.name, at=traced(error), text=Private(error))
    return otherwise


async def done(transport: Transport, asked: Awaitable[None]) -> bool:
    """Tell whether a transport did what it was asked to do; where it failed the log tells."""

    async def did() -> bool:
        await asked
        return True

    return await spared(transport, did(), False)
