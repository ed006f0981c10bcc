"""Every key derivation of a session, each with its own label.

Root step: HKDF-SHA256 (RFC 5869). All chains: keyed, personalised BLAKE2b (RFC 7693), each step
one-way, so that what is left of a chain says nothing about what was used of it.
"""

from typing import NamedTuple

from p2pnode.protocol import primitives
from p2pnode.protocol.primitives import KEY, digest, hkdf, prf

DH_AND_KEM = KEY + primitives.KEM_PUBLIC
"""Bytes of a side's public ratchet keys: DH key, then KEM key (1,216)."""

RATCHET = DH_AND_KEM + primitives.KEM_CIPHERTEXT
"""Bytes of the part every header of a chain repeats: public keys, then KEM ciphertext (2,304)."""

TOKEN = 16
"""Bytes of a delivered-token."""

HANDLE = 8
"""Bytes that name a session in index statements."""


class First(NamedTuple):
    """What both sides derive from the pairing's session secret."""

    root: bytes
    alice_tags: bytes
    bob_tags: bytes
    bob_key: bytes
    bob_next_tags: bytes
    handle: bytes


class Step(NamedTuple):
    """What a root step yields: root key, chain key, and the seed of the next chain's tags."""

    root: bytes
    key: bytes
    next_tags: bytes


def first(secret: bytes, alice: bytes, bob: bytes) -> First:
    """Split the 32-byte session secret, bound to both sides' 1,216 bytes of public keys."""
    salt = digest(b"p2pnode first", alice, bob)
    out = hkdf(salt, secret, b"p2pnode session 1", 5 * KEY + HANDLE)
    root, alice_tags, bob_tags, bob_key, bob_next_tags = (
        out[at : at + KEY] for at in range(0, 5 * KEY, KEY)
    )
    return First(root, alice_tags, bob_tags, bob_key, bob_next_tags, out[5 * KEY :])


def root_step(root: bytes, dh: bytes, kem: bytes, answered: bytes, ratchet: bytes) -> Step:
    """Return the step from the side with `ratchet` (2,304) to the side that showed `answered`.

    dh and kem are the two 32-byte secrets. The public values go in whole, so none of them can be
    exchanged or left out without both sides falling apart.
    """
    context = digest(b"p2pnode ratchet", answered, ratchet)
    out = hkdf(root, dh + kem + context, b"p2pnode root step 1", 3 * KEY)
    return Step(out[:KEY], out[KEY : 2 * KEY], out[2 * KEY :])


def chain_step(key: bytes) -> tuple[bytes, bytes]:
    """Return (next chain key, message key)."""
    out = prf(key, b"p2pnode chain", size=2 * KEY)
    return out[:KEY], out[KEY:]


def message_keys(message_key: bytes) -> tuple[bytes, bytes]:
    """Return (32-byte body key, 16-byte delivered-token) of one envelope."""
    out = prf(message_key, b"p2pnode body", size=KEY + TOKEN)
    return out[:KEY], out[KEY:]


def open_block(block: bytes) -> tuple[bytes, bytes]:
    """Return (key of the block after, step key of this block's first index).

    A tag seed is the block key of block 0.
    """
    out = prf(block, b"p2pnode block", size=2 * KEY)
    return out[:KEY], out[KEY:]


def next_step(step: bytes) -> bytes:
    """Return the step key of the next index in the same block."""
    return prf(step, b"p2pnode step")


def header_keys(step: bytes) -> tuple[bytes, bytes]:
    """Return (16-byte tag, 32-byte header key) of the index a step key belongs to."""
    out = prf(step, b"p2pnode header", size=16 + KEY)
    return out[:16], out[16:]


def start_digest(ratchet: bytes, previous: int) -> bytes:
    """Return the digest of what every header of one chain repeats."""
    return digest(b"p2pnode chain 0", ratchet, previous.to_bytes(4, "big"))
