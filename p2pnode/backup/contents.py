"""What is in a backup: its records, as they are written and read."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from p2pnode.errors import RemoteError, StoreCorrupt
from p2pnode.protocol import identity, limits, wire
from p2pnode.protocol.delivery import State
from p2pnode.protocol.session.reset import RESTORE_ID
from p2pnode.store import sealed_file

OptionalId = Annotated[bytes, msgspec.Meta(max_length=RESTORE_ID)]

Digest = Annotated[bytes, msgspec.Meta(max_length=32)]

Text = Annotated[str, msgspec.Meta(max_length=limits.MAX_NAME)]

Address = Annotated[bytes, msgspec.Meta(min_length=1, max_length=limits.MAX_ADDRESS)]

Transport = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]


class Owner(wire.Wire, frozen=True, tag=1):
    """Whose backup it is, and when it was made."""

    version: Literal[1]
    seed: wire.Bytes32
    name: Text
    made: wire.Unsigned


class Settings(wire.Wire, frozen=True, tag=2):
    """config.toml as it was."""

    text: str


class Generation(wire.Wire, frozen=True):
    """One generation of reset keys. parent: its place among these from 1 on, 0 for none."""

    secret: wire.Bytes32
    own_dh: wire.Bytes32
    own_kem: wire.Bytes64
    their_dh: wire.Bytes32
    their_kem: wire.KemPublic
    alice: bool
    own: OptionalId
    theirs: OptionalId
    transcript: Digest
    parent: Annotated[int, msgspec.Meta(ge=0, le=limits.RESET_GENERATIONS)]


class Person(wire.Wire, frozen=True, tag=3):
    """A contact, its device, how to begin anew with it, how long messages are kept, and where it
    said it may be reached."""

    account: wire.Bytes32
    name: Text
    hint: Text
    state: Literal["active", "blocked", "suspect"]
    verified: Literal["no", "words", "scan", "person"]
    doubt: Literal["", "mismatch", "rollback", "clone", "replaced"]
    created: wire.Unsigned
    clock: wire.Unsigned
    retention: wire.Unsigned | None
    span: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_SPAN)]
    least: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_SPAN)]
    certificate: Annotated[bytes, msgspec.Meta(max_length=identity.CERTIFICATE)]
    generations: Annotated[
        tuple[Generation, ...], msgspec.Meta(min_length=1, max_length=limits.RESET_GENERATIONS)
    ]
    addresses: Annotated[
        tuple[
            tuple[
                Transport,
                Annotated[tuple[Address, ...], msgspec.Meta(max_length=limits.MAX_ADDRESSES)],
            ],
            ...,
        ],
        msgspec.Meta(max_length=limits.MAX_TRANSPORTS),
    ]


class Said(wire.Wire, frozen=True, tag=4):
    """A message of a conversation."""

    account: wire.Bytes32
    id: wire.Bytes16
    mine: bool
    text: str
    heads: Annotated[tuple[wire.Bytes16, ...], msgspec.Meta(max_length=limits.MAX_HEADS)]
    clock: wire.Unsigned
    at: wire.Unsigned
    arrived: wire.Unsigned
    state: State
    lifetime: Annotated[int, msgspec.Meta(ge=0, lt=len(limits.LIFETIMES))]
    handed: wire.Unsigned


Record: TypeAlias = Owner | Settings | Person | Said


def decoded_untrusted(raw: bytes) -> Record:
    """Return what a piece of a backup says. Raises StoreCorrupt."""
    try:
        record: Record = wire.decode_untrusted(raw, Record, limit=sealed_file.MAX_PIECE)  # type: ignore[arg-type]
    except RemoteError as error:
        raise StoreCorrupt("the backup cannot be read", why=error.reason) from None
    return record
