"""The one way of an own envelope into the outbox: with the age it claims and its delays."""

from p2pnode.ids import DeviceId, PairingId
from p2pnode.protocol import limits
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.envelope import envelope_id
from p2pnode.store.records import OutboxRow
from p2pnode.turns import carry
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

AGES_AT_BIRTH = 7
"""Authors start the age of an envelope at a random 0..6 hours, so that 0 does not say 'mine'."""

LONGEST = len(limits.LIFETIMES) - 1
"""Lifetime class of what belongs to pairings and resets."""


def age_at_birth(entropy: Entropy) -> int:
    """Choose how many hours old a fresh envelope says it is."""
    return entropy.take(1)[0] % AGES_AT_BIRTH


def post(
    stores: Stores,
    raw: bytes,
    now: Moment,
    entropy: Entropy,
    *,
    age: int,
    lifetime: int = LONGEST,
    born: int | None = None,
    message: int | None = None,
    pairing: PairingId | None = None,
    device: DeviceId | None = None,
    token: bytes = b"",
) -> int:
    """Put a sealed envelope into the outbox; return its row.

    age: hours it claims at birth. born: node time of that, when it was not now. message: the row of
    the message in it. device: whom it is for; without one only carriers, or a pairing, have it.
    """
    due = carry.delays(stores, now, entropy)
    return stores.vault.outbox.add(
        OutboxRow(
            envelope=envelope_id(raw),
            message=message,
            pairing=pairing,
            device=device,
            raw=raw,
            lifetime=lifetime,
            age=age,
            born=now.node if born is None else born,
            accepted=False,
            first=due.first,
            spread=due.spread,
            token=token,
        )
    )
