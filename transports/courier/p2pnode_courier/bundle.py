"""The bytes of a bundle: a row of equal slots that hold records, one for each parcel.

A record stands on its own, so what is torn or damaged costs the records it hits and no other.
Exact format: docs/protocol/courier.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import Parcel

HEAD = Struct(">3sBHH24s")
"""Mark, version, age in hours, slots of the record, checksum."""

MARK = b"p2p"
VERSION = 1

SLOT = 4_128
"""Bytes in a slot: a head and the smallest envelope."""

SLOTS = {4_096: 1, 16_384: 4, 65_536: 16}
"""Slots a record takes, by bytes of its envelope."""

SIZES = {slots: size for size, slots in SLOTS.items()}

CAPACITIES = (4, 16, 64, 256)
"""Slots in a bundle: its size tells how many envelopes it holds within a factor of four at best."""

MAX_BUNDLE = CAPACITIES[-1] * SLOT
"""Bytes in the largest bundle; no larger file is read."""

MAX_AGE = 65_535
"""Hours an age can say."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle holds: the whole parcels, in order, and how many slots are spoilt."""

    parcels: tuple[Parcel, ...]
    damaged: int


def check(parcel: Parcel) -> None:
    """Raise ValueError for a parcel no record can hold: the caller's mistake."""
    if len(parcel.envelope) not in SLOTS:
        raise ValueError("an envelope has 4,096, 16,384 or 65,536 bytes")
    if not 0 <= parcel.age <= MAX_AGE:
        raise ValueError("an age is 0 to 65,535 whole hours")


def fill(parcels: Sequence[Parcel], room: int) -> list[Parcel]:
    """Return the first parcels, as many as fit into one bundle of at most `room` bytes."""
    most = max((slots for slots in CAPACITIES if slots * SLOT <= room), default=0)
    used = 0
    for count, parcel in enumerate(parcels):
        used += SLOTS[len(parcel.envelope)]
        if used > most:
            return list(parcels[:count])
    return list(parcels)


def encode(parcels: Sequence[Parcel]) -> bytes:
    """Return the smallest bundle that holds all parcels.

    They lie in the order of their hashes, which says nothing of who wrote what when. Raises
    ValueError for what does not fit into one bundle.
    """
    for parcel in parcels:
        check(parcel)
    records = b"".join(_record(parcel) for parcel in sorted(parcels, key=_place))
    for slots in CAPACITIES:
        if len(records) <= slots * SLOT:
            return records.ljust(slots * SLOT, b"\0")
    raise ValueError("a bundle has at most 256 slots")


def read_untrusted(raw: bytes) -> Contents:
    """Return every whole parcel of at most MAX_BUNDLE bytes; never raises on smaller ones.

    Raises RemoteError: file-too-long.
    """
    if len(raw) > MAX_BUNDLE:
        raise RemoteError("file-too-long")
    parcels, damaged, at = [], 0, 0
    empty = bytes(SLOT)
    while at < len(raw):
        try:
            parcel = record_untrusted(raw[at : at + SIZES[16] + HEAD.size])
        except RemoteError:
            damaged += raw[at : at + SLOT] != empty
            at += SLOT
            continue
        parcels.append(parcel)
        at += SLOTS[len(parcel.envelope)] * SLOT
    cut = len(raw) not in {slots * SLOT for slots in CAPACITIES}
    return Contents(tuple(parcels), max(damaged, cut))


def record_untrusted(raw: bytes) -> Parcel:
    """Return the parcel of the record that begins here; what follows it is not looked at.

    Raises RemoteError: bad-mark, unknown-version, bad-size, too-short, bad-checksum.
    """
    if len(raw) < HEAD.size:
        raise RemoteError("too-short")
    mark, version, age, slots, checksum = HEAD.unpack_from(raw)
    if mark != MARK:
        raise RemoteError("bad-mark")
    if version != VERSION:
        raise RemoteError("unknown-version")
    if slots not in SIZES:
        raise RemoteError("bad-size")
    envelope = raw[HEAD.size : HEAD.size + SIZES[slots]]
    if len(envelope) < SIZES[slots]:
        raise RemoteError("too-short")
    if _checksum(age, slots, envelope) != checksum:
        raise RemoteError("bad-checksum")
    return Parcel(envelope, age)


def _record(parcel: Parcel) -> bytes:
    slots = SLOTS[len(parcel.envelope)]
    checksum = _checksum(parcel.age, slots, parcel.envelope)
    head = HEAD.pack(MARK, VERSION, parcel.age, slots, checksum)
    return (head + parcel.envelope).ljust(slots * SLOT, b"\0")


def _checksum(age: int, slots: int, envelope: bytes) -> bytes:
    state = blake2b(digest_size=24, person=b"p2pnode courier")
    state.update(HEAD.pack(MARK, VERSION, age, slots, b"")[: -state.digest_size])
    state.update(envelope)
    return state.digest()


def _place(parcel: Parcel) -> bytes:
    return blake2b(parcel.envelope, digest_size=16, person=b"p2pnode order").digest()
