"""Asking something of a transport, which is somebody's plug-in: its defects end nothing here."""

from collections.abc import Awaitable
from typing import TypeVar

from p2pnode.logs import EventLog, Private, traced
from p2pnode.spi.transport import Transport

log = EventLog("transports")

T = TypeVar("T")


async def spared(transport: Transport, asked: Awaitable[T], otherwise: T) -> T:
    """Return what a transport answers; `otherwise` where it fails, which the log tells."""
    try:
        return await asked
    except Exception as error:
        log.fault("failed", transport=transport.name, at=traced(error), text=Private(error))
        return otherwise
