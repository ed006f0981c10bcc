"""Fragments: what is written to RX and notified on TX, and how their bytes are read.

| line (4) | channel (2) | kind (1) | number (2) | ack (2) | limit (2) | body |

All numbers are big-endian. The line is a random tag of the central for one connection: BlueZ
notifies every subscribed central, and the tag tells whom a notification is meant for. A channel's
lowest bit says who opened it: 0 the central, 1 the peripheral. Numbered kinds count up from 0 in
each direction of a channel, modulo 2**16. `ack` is the lowest number that has not arrived yet,
`limit` the lowest one the sender must not send yet: its credit.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from p2pnode.errors import RemoteError

MAX_FRAGMENT = 500
"""Bytes in one fragment, whatever the stack reports: BlueZ 5.66 drops writes over 510 silently."""

MIN_FRAGMENT = 20
"""Bytes every Bluetooth LE stack carries at once."""

WINDOW = 64
"""Numbered fragments under way in one direction of a channel."""

LINE = 4
"""Bytes of a line's tag."""

_HEADER = struct.Struct(f">{LINE}sHBHHH")

HEADER = _HEADER.size
"""Bytes before the body."""


class Kind(IntEnum):
    """What a fragment is. All but STATE and RESET are numbered."""

    PART = 0
    LAST = 1
    OPEN = 2
    CLOSE = 3
    STATE = 4
    RESET = 5


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment. number, ack and limit are their lowest 16 bits; number is 0 if unnumbered."""

    line: bytes
    channel: int
    kind: Kind
    number: int
    ack: int
    limit: int
    body: bytes = b""

    @property
    def numbered(self) -> bool:
        """Whether it arrives for certain and in its place."""
        return self.kind < Kind.STATE


def encode(fragment: Fragment) -> bytes:
    """Return a fragment's bytes."""
    head = _HEADER.pack(
        fragment.line,
        fragment.channel,
        fragment.kind,
        fragment.number & 0xFFFF,
        fragment.ack & 0xFFFF,
        fragment.limit & 0xFFFF,
    )
    return head + fragment.body


def decode_untrusted(raw: bytes) -> Fragment:
    """Return the fragment in foreign bytes. Raises RemoteError."""
    if not HEADER <= len(raw) <= MAX_FRAGMENT:
        raise RemoteError("ble-fragment-size")
    line, channel, kind, number, ack, limit = _HEADER.unpack_from(raw)
    if kind > Kind.RESET:
        raise RemoteError("ble-fragment-kind")
    if (limit - ack) & 0xFFFF > WINDOW:
        raise RemoteError("ble-fragment-limit")
    body = bytes(raw[HEADER:])
    if (kind <= Kind.LAST) != bool(body):
        raise RemoteError("ble-fragment-body")
    if kind >= Kind.STATE and number:
        raise RemoteError("ble-fragment-number")
    return Fragment(line, channel, Kind(kind), number, ack, limit, body)


def nearest(reference: int, low: int) -> int:
    """Return the number with these lowest 16 bits that is nearest to reference; may be negative."""
    return reference + ((low - reference + 0x8000) & 0xFFFF) - 0x8000
