"""What the two sides of a pairing bring, and the keys they come away with.

The agreement is hybrid: X25519 (both ephemeral keys together, each with the other's static one),
ML-KEM-768 in both directions and the secret of the code or codes, bound to the whole transcript.
Nobody signs anything, so a pairing proves nothing to others. Exact bytes: docs/protocol/pairing.md.
"""

from typing import Annotated, Literal

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import AccountId, DeviceId
from p2pnode.protocol import identity, limits, primitives, wire
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.pairing.code import Code, commitment

MAX_REVEAL = 3_072
"""Bytes of an encoded reveal: 2,908 with the longest hint; it must fit a 4 KiB envelope."""

_INFO = b"p2pnode pairing 1 "


class Half(msgspec.Struct, frozen=True, array_like=True):
    """One side's own secrets of one pairing, and the reveal made of them.

    static is the device's X25519 private key; dh and kem_seed are ephemeral and become the first
    ratchet keys; the reset keys wait for a day on which the session is lost. Delete after use.
    """

    static: bytes
    dh: bytes
    kem_seed: bytes
    reset_dh: bytes
    reset_kem_seed: bytes
    reveal: bytes


class Reveal(wire.Wire, frozen=True):
    """The public side of a half: what a code's commitment binds. hint: its person's name."""

    version: Literal[1]
    certificate: Annotated[bytes, msgspec.Meta(max_length=identity.CERTIFICATE)]
    dh: wire.Bytes32
    kem: wire.KemPublic
    reset_dh: wire.Bytes32
    reset_kem: wire.KemPublic
    hint: Annotated[str, msgspec.Meta(max_length=limits.MAX_NAME)]


class Agreed(msgspec.Struct, frozen=True):
    """What a finished pairing leaves on one side; the secrets are the same on both.

    alice: which of the two roles this side has in the session. account, device, certificate, hint:
    the other side. session_secret, link_secret, reset_secret, confirm_key: 32 bytes each.
    own_* and their_*: first ratchet keys and reset keys. transcript: 32-byte hash of it all.
    """

    alice: bool
    account: AccountId
    device: DeviceId
    certificate: bytes
    hint: str
    session_secret: bytes
    link_secret: bytes
    reset_secret: bytes
    confirm_key: bytes
    own_dh_private: bytes
    their_dh_public: bytes
    own_kem_seed: bytes
    their_kem_public: bytes
    own_reset_dh_private: bytes
    own_reset_kem_seed: bytes
    their_reset_dh_public: bytes
    their_reset_kem_public: bytes
    transcript: bytes


class Peer(msgspec.Struct, frozen=True):
    """The other side's reveal, decoded and checked, with the bytes as they came."""

    raw: bytes
    reveal: Reveal
    certificate: identity.Certificate


def new_half(own: identity.Own, entropy: Entropy) -> Half:
    """Return fresh secrets for one pairing."""
    dh, kem_seed = entropy.take(32), entropy.take(primitives.KEM_SEED)
    reset_dh, reset_kem_seed = entropy.take(32), entropy.take(primitives.KEM_SEED)
    reveal = Reveal(
        version=1,
        certificate=own.device.certificate,
        dh=primitives.x25519_public(dh),
        kem=entropy.kem_public(kem_seed),
        reset_dh=primitives.x25519_public(reset_dh),
        reset_kem=entropy.kem_public(reset_kem_seed),
        hint=own.name[: limits.MAX_NAME],
    )
    static = own.device.dh_private
    return Half(static, dh, kem_seed, reset_dh, reset_kem_seed, wire.encode(reveal))


def new_code(half: Half, entropy: Entropy, *, expires: int, onion: bytes | None = None) -> Code:
    """Return a code that shows `half`; expires is in minutes since 1970."""
    return Code(commitment(half.reveal), entropy.take(16), expires, onion)


def check_reveal_untrusted(half: Half, raw: bytes) -> Peer:
    """Return the other side's reveal.

    Raises RemoteError: record-too-long, bad-record, those of `check_certificate_untrusted`, and
    own-account when it carries this side's own account.
    """
    reveal = wire.decode_untrusted(raw, Reveal, limit=MAX_REVEAL)
    certificate = identity.check_certificate_untrusted(reveal.certificate)
    mine = wire.decode_untrusted(half.reveal, Reveal)
    if certificate.account == identity.check_certificate_untrusted(mine.certificate).account:
        raise RemoteError("own-account")
    return Peer(raw, reveal, certificate)


def encapsulate_untrusted(peer: Peer, entropy: Entropy) -> tuple[bytes, bytes]:
    """Return a secret and its ciphertext for the other side's ephemeral KEM key.

    Raises RemoteError bad-kem-key, also for a reset key nobody could use: it would be found out
    by a restore, years later, when nothing can be asked for any more.
    """
    entropy.check_kem(peer.reveal.reset_kem)
    return entropy.encapsulate(peer.reveal.kem)


def exchange(half: Half, peer: Peer, *, alice: bool) -> bytes:
    """Return ee ‖ es ‖ se, 96 bytes: the first letter is alice's key, the second bob's.

    Raises RemoteError bad-dh-key when a public key of the other side is of low order.
    """
    both = primitives.x25519(half.dh, peer.reveal.dh)
    to_static = primitives.x25519(half.dh, peer.certificate.dh)
    from_static = primitives.x25519(half.static, peer.reveal.dh)
    # A reset key that is of low order is found now, while the person can still do something.
    primitives.x25519(half.reset_dh, peer.reveal.reset_dh)
    return both + (to_static + from_static if alice else from_static + to_static)


def derive(transcript: bytes, material: bytes, purpose: bytes) -> bytes:
    """Return the 32-byte key of one purpose from a pairing's key material."""
    return primitives.hkdf(transcript, material, _INFO + purpose, 32)


def agreed(half: Half, peer: Peer, *, alice: bool, transcript: bytes, material: bytes) -> Agreed:
    """Return the outcome. material: ee ‖ es ‖ se ‖ alice's KEM secret ‖ bob's ‖ code secrets."""
    return Agreed(
        alice=alice,
        account=AccountId(peer.certificate.account),
        device=peer.certificate.device,
        certificate=peer.reveal.certificate,
        hint=peer.reveal.hint,
        session_secret=derive(transcript, material, b"session"),
        link_secret=derive(transcript, material, b"link"),
        reset_secret=derive(transcript, material, b"reset"),
        confirm_key=derive(transcript, material, b"confirm"),
        own_dh_private=half.dh,
        their_dh_public=peer.reveal.dh,
        own_kem_seed=half.kem_seed,
        their_kem_public=peer.reveal.kem,
        own_reset_dh_private=half.reset_dh,
        own_reset_kem_seed=half.reset_kem_seed,
        their_reset_dh_public=peer.reveal.reset_dh,
        their_reset_kem_public=peer.reveal.reset_kem,
        transcript=transcript,
    )
