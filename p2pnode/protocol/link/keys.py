"""Link keys: the hash chain a pair of devices recognises each other by.

Every pair shares one chain of 32-byte keys. A proven link moves both ends one step on; the key
before and the key after the current one are accepted too, so that a crash between the two steps,
or two links at once, never locks a pair out. From each key come, under separate labels, the marks,
the proofs and the part that is mixed into the transport keys.
"""

from collections.abc import Hashable
from typing import NamedTuple

import msgspec

from p2pnode.protocol.primitives import digest, prf

MARK = 8
"""Bytes in a mark: 2,048 marks against 6,144 keys meet by chance once in 2**40 links."""

PROOF = 32
"""Bytes in a proof."""

_FIRST = b"p2pnode link 0"
_STEP = b"p2pnode lk step"
_PASS = b"p2pnode lk pass"
_MARKS = {True: b"p2pnode mark i", False: b"p2pnode mark r"}
_PROOFS = {True: b"p2pnode proof i", False: b"p2pnode proof r"}
_PAGES = b"p2pnode lk pages"
_RECOGNITION = b"p2pnode lk recog"
_KNOWN = b"p2pnode lk known"
_STRANGER = b"p2pnode lk alone"
_SIDES = {True: b"\x01", False: b"\x00"}


class LinkKey(msgspec.Struct, frozen=True, array_like=True):
    """Where this device stands in the chain it shares with one other.

    index: steps taken so far; it differs by at most one from the other device's.
    current, previous: 32 bytes each; previous is empty at index 0.
    alice: which of the pair this device is; the other one holds False. Without it a node whose
        own frames are reflected to it would recognise itself as its contact.
    """

    index: int
    current: bytes
    previous: bytes
    alice: bool


class Candidate(msgspec.Struct, frozen=True):
    """One device or open pairing that may be at the other end.

    ref: the owner's own name for it; the link only hands it back.
    rank: when several match, the initiator prefers the higher.
    """

    ref: Hashable
    key: LinkKey
    rank: int = 0


class Expected(NamedTuple):
    """One key under which a candidate may show itself, and the index of that key."""

    candidate: Candidate
    proven: int
    key: bytes


def first(secret: bytes, *, alice: bool) -> LinkKey:
    """Return the start of the chain that belongs to a 32-byte secret of a pairing.

    alice: True on exactly one of the two sides.
    """
    return LinkKey(0, prf(secret, _FIRST), b"", alice)


def of_pass(secret: bytes, *, holder: bool) -> LinkKey:
    """Return the key of a carry pass: a chain that is never stepped.

    secret: the 32 bytes a node gave its contacts. holder: whether it is ours.
    """
    return LinkKey(0, prf(secret, _PASS), b"", holder)


def following(current: bytes) -> bytes:
    """Return the key one step on."""
    return prf(current, _STEP)


def stepped(key: LinkKey, proven: int) -> LinkKey:
    """Return the key after a link was proven with index `proven`; it never goes back.

    `proven` is at most one ahead of the index; a candidate loaded earlier may be any way behind.
    """
    if proven > key.index + 1:
        raise ValueError("a link cannot be proven with a key further ahead than the next")
    while key.index <= proven:
        key = LinkKey(key.index + 1, following(key.current), key.current, key.alice)
    return key


def expected(candidate: Candidate) -> list[Expected]:
    """Return the keys the responder accepts from a candidate: current, next, previous."""
    key = candidate.key
    found = [
        Expected(candidate, key.index, key.current),
        Expected(candidate, key.index + 1, following(key.current)),
    ]
    if key.previous:
        found.append(Expected(candidate, key.index - 1, key.previous))
    return found


def mark(key: bytes, *, initiator: bool, alice: bool, handshake: bytes) -> bytes:
    """Return the 8-byte mark that the device in this role, on this side of the pair, shows."""
    return prf(key, _MARKS[initiator], _SIDES[alice] + handshake, size=MARK)


def pages_digest(asked: bytes, answered: bytes) -> bytes:
    """Return the 32-byte digest of both recognition pages, as plaintext."""
    return digest(_PAGES, asked, answered)


def proof(key: bytes, *, initiator: bool, alice: bool, handshake: bytes, pages: bytes) -> bytes:
    """Return the 32 bytes by which the device in this role proves that it holds the key."""
    return prf(key, _PROOFS[initiator], _SIDES[alice] + handshake + pages, size=PROOF)


def recognition_key(noise: bytes) -> bytes:
    """Return the key of one direction for pages and proofs, from its Noise key."""
    return prf(noise, _RECOGNITION)


def transport_key(noise: bytes, proven: bytes | None) -> bytes:
    """Return the first transport key of one direction.

    With a proven link key it stays secret while either that key or the Noise key does; without
    one the link is a stranger's.
    """
    return prf(noise, _STRANGER) if proven is None else prf(proven, _KNOWN, noise)
