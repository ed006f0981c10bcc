"""Buckets of ids and their digests: what a store caches, and what tells where two sets differ.

A leaf's digest resists collisions, so it needs no salt and may be kept. What goes over the link is
always salted, so nothing can be prepared to look alike there, and no two exchanges look alike.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import isqrt

import msgspec

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.primitives import digest, prf
from p2pnode.protocol.reconcile.limits import LEAVES

GROUP_DIGEST = 2
"""Bytes of a group's digest. One in 65,536 differing groups looks equal; REST notices that."""

REST = 8
"""Bytes that stand for all groups said to be equal."""

ROOT = 16
"""Bytes that stand for a whole set."""


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """One of the LEAVES buckets: how many ids it holds and their 32-byte digest."""

    count: int
    digest: bytes


def leaf_of(envelope: EnvelopeId) -> int:
    """Return the leaf an envelope's id belongs to: its first 10 bits."""
    return envelope[0] << 2 | envelope[1] >> 6


def leaf(ids: Sequence[EnvelopeId]) -> Leaf:
    """Return the leaf of these ids, which are all of one bucket, sorted and without doubles."""
    state = blake2b(b"".join(ids), digest_size=32, person=b"p2pnode rc leaf")
    return Leaf(len(ids), state.digest())


def leaves(ids: Iterable[EnvelopeId]) -> list[Leaf]:
    """Return all leaves of a set: what a store's cache must agree with."""
    sorted_in: list[list[EnvelopeId]] = [[] for _ in range(LEAVES)]
    for one in sorted(set(ids)):
        sorted_in[leaf_of(one)].append(one)
    return [leaf(one) for one in sorted_in]


def root(all_leaves: Sequence[Leaf], salt: bytes) -> bytes:
    """Return 16 bytes that stand for a whole set, under the initiator's salt."""
    joined = b"".join(one.digest for one in all_leaves)
    return digest(b"p2pnode rc root", salt, joined, size=ROOT)


def groups_for(count: int) -> int:
    """Return into how many groups of leaves a set of `count` ids is best divided: a power of two.

    About twice the square root: 2 bytes for every group on one hand, and on the other the ids of a
    differing group, which must all be looked at.
    """
    wanted = max(1, min(LEAVES, isqrt(4 * count)))
    return 1 << (wanted.bit_length() - 1)


def group_digests(all_leaves: Sequence[Leaf], groups: int, salt: bytes) -> bytes:
    """Return the joined 2-byte digests of the groups, each of LEAVES / groups neighbours."""
    width = LEAVES // groups
    return b"".join(
        prf(
            salt,
            b"p2pnode rc group",
            b"".join(one.digest for one in all_leaves[at : at + width]),
            size=GROUP_DIGEST,
        )
        for at in range(0, LEAVES, width)
    )


def differing(mine: bytes, theirs: bytes) -> list[int]:
    """Return the groups whose digests differ; both strings have the same length."""
    return [
        at // GROUP_DIGEST
        for at in range(0, len(mine), GROUP_DIGEST)
        if mine[at : at + GROUP_DIGEST] != theirs[at : at + GROUP_DIGEST]
    ]


def bitmap(numbers: Iterable[int], groups: int) -> bytes:
    """Return one bit for each group, the first one highest, in whole bytes."""
    bits = bytearray(-(-groups // 8))
    for one in numbers:
        bits[one >> 3] |= 0x80 >> (one & 7)
    return bytes(bits)


def chosen(bits: bytes, groups: int) -> list[int]:
    """Return the groups whose bit is set; bits after the last group mean nothing."""
    return [at for at in range(groups) if bits[at >> 3] & 0x80 >> (at & 7)]


def leaves_in(groups_chosen: Iterable[int], groups: int) -> list[int]:
    """Return the leaves that the chosen groups are made of."""
    width = LEAVES // groups
    return [leaf for one in groups_chosen for leaf in range(one * width, one * width + width)]


def rest(all_leaves: Sequence[Leaf], apart: Iterable[int], salt: bytes) -> bytes:
    """Return 8 bytes that stand for all leaves except those `apart`."""
    without = set(apart)
    joined = b"".join(one.digest for at, one in enumerate(all_leaves) if at not in without)
    return prf(salt, b"p2pnode rc rest", joined, size=REST)
