"""The records of a session: what the vault keeps, and what a step hands back.

All are frozen; a step returns new ones. Sizes are in bytes.
"""

import msgspec

from p2pnode.ids import EnvelopeId


class TagRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One tag a session listens on.

    `chain` and `n` place it among what the other side may send; they only grow. `header_key` opens
    the header of the one envelope under this tag. `message_key` is empty until that envelope was
    skipped: from then on the row alone holds what opens it.
    """

    tag: bytes
    chain: int
    n: int
    header_key: bytes
    message_key: bytes = b""


class Listing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far one receiving chain's tags have been listed, and the keys that go on from there.

    Three places on the same one-way chain, so that nothing used can be computed again: `next` (the
    first index neither opened nor skipped), `listed` (one past the last of the unbroken run of
    listed indexes) and `far` (one past the last block whose first index is listed, in blocks). The
    step keys belong to their index, the block keys to the block after it (`far_block`: to block
    `far` itself).
    """

    chain: int
    next: int
    next_block: bytes
    next_step: bytes
    listed: int
    listed_block: bytes
    listed_step: bytes
    far: int
    far_block: bytes


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The whole state of one ratchet between two devices; one row in the vault.

    The Double Ratchet with header encryption; Signal's names stand in brackets. Keys a side needs
    only in one half of a turn are empty in the other.
    """

    handle: bytes
    """8, the same on both sides; says which session a link's index statement is about."""
    sent: int
    """Envelopes sealed in all chains so far."""
    received: int
    """Highest `count` opened so far."""
    root: bytes
    """32 [RK]."""
    sending_key: bytes
    """32 [CKs]."""
    sending_n: int
    """[Ns] the next envelope's index in the sending chain."""
    sending_block: bytes
    sending_step: bytes
    """32 each: where the sending chain's tags stand."""
    sending_next: bytes
    """32 [NHKs]: where the tags of the next sending chain begin."""
    previous: int
    """[PN] envelopes in the sending chain before this one."""
    ours: bytes
    """2,304: our DH key, KEM key and KEM ciphertext as each header of the sending chain repeats
    them; empty from the other side's new keys until our answer."""
    dh_private: bytes
    kem_seed: bytes
    """32 [DHs] and 64; empty like `ours`."""
    theirs: bytes
    """1,216: the DH key [DHr] and KEM key our next envelope answers; empty once answered."""
    receiving_key: bytes
    """32 [CKr]; empty before the first chain that has one."""
    receiving_start: bytes
    """32: digest of the keys and ciphertext every header of the receiving chain repeats."""
    receiving_base: int
    """Envelopes the other side sealed in chains before the receiving one."""
    current: Listing
    """Tags of the receiving chain [HKr]; `current.next` is [Nr]."""
    coming: Listing
    """Tags of the receiving chain after it [NHKr]."""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A sealed envelope: save `session` in the transaction that keeps `raw`."""

    session: Session
    raw: bytes
    id: EnvelopeId
    token: bytes
    """16: proves delivery to a carrier that knows the envelope; its hash is in the outer bytes."""
    count: int
    """1 for the first envelope of the session, and so on over all chains."""


class Opened(msgspec.Struct, frozen=True):
    """An opened envelope: save `session`, delete the used row, then apply what follows.

    The order of `listed` and `forget` does not matter. When `skipped` is not 0, delete afterwards
    all but the newest (by chain, then n) `limits.MAX_SKIPPED` rows of the session that hold a
    message key: only the vault knows how many of the older ones are still there.
    """

    session: Session
    content: bytes
    count: int
    token: bytes
    listed: list[TagRow]
    """Rows to insert; each replaces the row with the same chain and n."""
    forget: list[tuple[int, int]]
    """(chain, first n): delete the chain's rows from there on that hold no message key."""
    skipped: int
    """How many of `listed` hold a message key."""
