"""The confirmation: "my person said yes", repeated until it is known to have come.

A side that has not heard the other's yes sends `has_yours=False` on every link with it; a side
that hears that answers `has_yours=True`; a side that has heard either is done. So no last message
exists whose loss leaves one side paired alone, and nothing is answered for ever.
"""

from typing import Literal

from p2pnode.errors import RemoteError
from p2pnode.protocol import primitives, wire
from p2pnode.protocol.limits import MAX_PAIRING

CONFIRM = 7
"""The first element of an encoded Confirm; the other pairing messages have 1 to 6."""

_LABEL = b"p2pnode confirm"


class Confirm(wire.Wire, frozen=True, tag=CONFIRM):
    """has_yours: 1 when the sender has heard the receiver's confirmation; mac over role and it."""

    has_yours: Literal[0, 1]
    mac: wire.Bytes32


def confirmation(confirm_key: bytes, alice: bool, has_yours: bool) -> bytes:
    """Return the message of the side whose role is `alice`, for a PairingMessage on a link."""
    return wire.encode(Confirm(1 if has_yours else 0, _mac(confirm_key, alice, has_yours)))


def check_confirmation_untrusted(confirm_key: bytes, alice_is_sender: bool, raw: bytes) -> bool:
    """Return `has_yours` of the other side's confirmation.

    Raises RemoteError: bad-record, not-authentic.
    """
    return check_mac(
        confirm_key, alice_is_sender, wire.decode_untrusted(raw, Confirm, limit=MAX_PAIRING)
    )


def check_mac(confirm_key: bytes, alice_is_sender: bool, message: Confirm) -> bool:
    """Return `has_yours` of a decoded confirmation. Raises RemoteError not-authentic."""
    has_yours = message.has_yours == 1
    if not primitives.same(message.mac, _mac(confirm_key, alice_is_sender, has_yours)):
        raise RemoteError("not-authentic")
    return has_yours


def _mac(key: bytes, alice: bool, has_yours: bool) -> bytes:
    return primitives.prf(key, _LABEL, bytes([alice, has_yours]))
