"""The reset: how a device without ratchet state and link keys begins anew with a contact.

It is for a person who restored a backup, or whose disk went back to an old image. What is left is
the reset secret and the reset keys that the two agreed on at their pairing or their last reset. One
envelope suffices: from it both sides derive a session, link keys and the next reset secret, so the
restored side may write at once; the contact answers inside the new session. Exact bytes:
docs/protocol/reset.md.
"""

from typing import Annotated, Literal

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.ids import AccountId
from p2pnode.protocol import envelope, identity, limits, primitives, wire
from p2pnode.protocol.content import ResetAnswer
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link import keys as link_keys
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.session import ratchet
from p2pnode.protocol.session.records import Session, TagRow

RESTORE_ID = 16
"""Bytes of the random id all resets of one restore carry."""

_MAC = 32
_KEYS = 32 + primitives.KEM_PUBLIC
_USED = _KEYS + primitives.KEM_CIPHERTEXT
_PADDING = bytes(envelope.HEADER - _USED)
_INFO = b"p2pnode reset 1 "
_TAG = b"p2pnode rst tag"
_HEADER = b"p2pnode rst head"
_BODY = b"p2pnode rst body"
_SEEDS = b"p2pnode rst seed"
_PAIR = b"p2pnode rst pair"
_TRANSCRIPT = b"p2pnode rst all"
_MAC_LABEL = b"p2pnode rst mac"
_MARK = b"p2pnode rst mark"
_HANDLE = b"p2pnode rst hand"


class ResetKeys(msgspec.Struct, frozen=True, array_like=True):
    """One generation of what lets a pair begin anew: made by a pairing, or by a reset.

    secret: 32 bytes both have. own_*: our private X25519 key and ML-KEM seed; their_*: public.
    """

    secret: bytes
    own_dh_private: bytes
    own_kem_seed: bytes
    their_dh_public: bytes
    their_kem_public: bytes


class Flight(wire.Wire, frozen=True):
    """What a reset says: which restore it belongs to, the sender's device, its next reset keys."""

    version: Literal[1]
    restore: wire.Bytes16
    certificate: Annotated[bytes, msgspec.Meta(max_length=identity.CERTIFICATE)]
    reset_dh: wire.Bytes32
    reset_kem: wire.KemPublic


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """A reset as it can be sealed, again too: header and content, and the seed of body keys."""

    header: bytes
    content: bytes
    seed: bytes


class Fresh(msgspec.Struct, frozen=True):
    """What a reset leaves on one side; the secrets are the same on both.

    restore: 16. transcript: 32, tells two resets that crossed apart. keys: the next generation.
    session, tags: the new session and its first rows. link: the new link key. certificate: as
    received, b"" on the side that began.
    """

    restore: bytes
    transcript: bytes
    keys: ResetKeys
    session: Session
    tags: list[TagRow]
    link: LinkKey
    certificate: bytes = b""


def tags(keys: ResetKeys, *, alice: bool) -> list[bytes]:
    """Return the tags under which the side with role `alice` may send resets."""
    return [_tag(keys.secret, alice, n) for n in range(limits.RESET_TAGS)]


def link_key(keys: ResetKeys, *, alice: bool) -> LinkKey:
    """Return the key of the reset mark: a chain that is never stepped. alice: our role."""
    return LinkKey(0, primitives.prf(keys.secret, _MARK), b"", alice)


def handle(keys: ResetKeys) -> bytes:
    """Return the 8 bytes that name this generation in index statements."""
    return primitives.prf(keys.secret, _HANDLE, size=8)


def begin(
    keys: ResetKeys, *, alice: bool, restore: bytes, certificate: bytes, entropy: Entropy
) -> tuple[Begun, Fresh]:
    """Begin anew with a contact. alice: our role in this generation; restore: 16 bytes.

    certificate: that of our device. The next generation's `their_*` stay the old ones until the
    answer brings new ones. Draws 32, 64, 32, 64, one encapsulation. Raises RemoteError when the
    contact's reset keys are unusable.
    """
    dh, kem_seed = entropy.take(32), entropy.take(primitives.KEM_SEED)
    reset_dh, reset_kem_seed = entropy.take(32), entropy.take(primitives.KEM_SEED)
    secret, ciphertext = entropy.encapsulate(keys.their_kem_public)
    header = primitives.x25519_public(dh) + entropy.kem_public(kem_seed) + ciphertext + _PADDING
    record = wire.encode(
        Flight(
            version=1,
            restore=restore,
            certificate=certificate,
            reset_dh=primitives.x25519_public(reset_dh),
            reset_kem=entropy.kem_public(reset_kem_seed),
        )
    )
    static = primitives.x25519(keys.own_dh_private, keys.their_dh_public)
    material = primitives.x25519(dh, keys.their_dh_public) + static + secret + keys.secret
    pair = _pair(_own_public(keys, entropy), keys.their_dh_public + keys.their_kem_public, alice)
    transcript = primitives.digest(_TRANSCRIPT, pair, header, record)
    mac = _mac(static, keys.secret, transcript)
    session, rows = ratchet.start(
        secret=_derive(transcript, material, b"session"),
        alice=False,
        own_dh_private=dh,
        their_dh_public=keys.their_dh_public,
        own_kem_seed=kem_seed,
        their_kem_public=keys.their_kem_public,
        entropy=entropy,
    )
    following = ResetKeys(
        secret=_derive(transcript, material, b"reset"),
        own_dh_private=reset_dh,
        own_kem_seed=reset_kem_seed,
        their_dh_public=keys.their_dh_public,
        their_kem_public=keys.their_kem_public,
    )
    link = link_keys.first(_derive(transcript, material, b"link"), alice=False)
    seed = _derive(primitives.digest(_SEEDS, pair, header), material, b"body")
    begun = Begun(header, record + mac, seed)
    return begun, Fresh(restore, transcript, following, session, rows, link)


def seal(begun: Begun, keys: ResetKeys, *, alice: bool, n: int, entropy: Entropy) -> bytes:
    """Return the envelope under the n-th tag (taken modulo the number of tags). Draws a nonce.

    Header and body keys depend on the nonce, so that two restores of one backup never share one.
    """
    n %= limits.RESET_TAGS
    nonce = entropy.take(primitives.NONCE)
    body_key, token = _body_keys(begun.seed, nonce)
    return envelope.assemble(
        tag=_tag(keys.secret, alice, n),
        lifetime=len(limits.LIFETIMES) - 1,
        token=token,
        nonce=nonce,
        header_key=_header_key(keys.secret, alice, n, nonce),
        header=begun.header,
        body_key=body_key,
        content=begun.content,
    )


def take_untrusted(
    keys: ResetKeys, outer: envelope.Outer, *, alice: bool, account: AccountId, entropy: Entropy
) -> Fresh:
    """Take a contact's reset. alice: our role in this generation; account: the contact's.

    Draws 32, 64, one encapsulation to look at the new KEM key, then what `ratchet.start` draws for
    alice. Raises RemoteError: unknown-tag, not-authentic, bad-header, bad-padding, bad-token,
    bad-record, wrong-proof, foreign-account, those of a certificate, bad-dh-key, bad-kem-key.
    """
    listed = tags(keys, alice=not alice)
    if outer.tag not in listed:
        raise RemoteError("unknown-tag")
    header_key = _header_key(keys.secret, not alice, listed.index(outer.tag), outer.nonce)
    header = envelope.open_header(outer, header_key)
    if header[_USED:] != _PADDING:
        raise RemoteError("bad-header")
    dh_public, kem_public = header[:32], header[32:_KEYS]
    static = primitives.x25519(keys.own_dh_private, keys.their_dh_public)
    material = (
        primitives.x25519(keys.own_dh_private, dh_public)
        + static
        + entropy.decapsulate(keys.own_kem_seed, header[_KEYS:_USED])
        + keys.secret
    )
    own = _own_public(keys, entropy)
    pair = _pair(keys.their_dh_public + keys.their_kem_public, own, not alice)
    seed = _derive(primitives.digest(_SEEDS, pair, header), material, b"body")
    body_key, token = _body_keys(seed, outer.nonce)
    content = envelope.open_body(outer, body_key)
    if envelope.token_hash(token) != outer.token_hash:
        raise RemoteError("bad-token")
    record, mac = content[:-_MAC], content[-_MAC:]
    transcript = primitives.digest(_TRANSCRIPT, pair, header, record)
    if not primitives.same(mac, _mac(static, keys.secret, transcript)):
        raise RemoteError("wrong-proof")
    flight = wire.decode_untrusted(record, Flight)
    certificate = identity.check_certificate_untrusted(flight.certificate)
    if certificate.account != account:
        raise RemoteError("foreign-account")
    reset_dh, reset_kem_seed = entropy.take(32), entropy.take(primitives.KEM_SEED)
    # Keys that could not be answered later are refused now, while the old ones still serve.
    primitives.x25519(reset_dh, flight.reset_dh)
    entropy.encapsulate(flight.reset_kem)
    session, rows = ratchet.start(
        secret=_derive(transcript, material, b"session"),
        alice=True,
        own_dh_private=keys.own_dh_private,
        their_dh_public=dh_public,
        own_kem_seed=keys.own_kem_seed,
        their_kem_public=kem_public,
        entropy=entropy,
    )
    following = ResetKeys(
        secret=_derive(transcript, material, b"reset"),
        own_dh_private=reset_dh,
        own_kem_seed=reset_kem_seed,
        their_dh_public=flight.reset_dh,
        their_kem_public=flight.reset_kem,
    )
    link = link_keys.first(_derive(transcript, material, b"link"), alice=True)
    return Fresh(flight.restore, transcript, following, session, rows, link, flight.certificate)


def answer(
    fresh_keys: ResetKeys, restore: bytes, *, clock: int, crossing: bytes, entropy: Entropy
) -> ResetAnswer:
    """Return what the side that took a reset says first in the new session.

    fresh_keys: its next generation; clock: the highest of the conversation; crossing: id of its own
    reset out of the same generation, b"" for none.
    """
    return ResetAnswer(
        restore=restore,
        reset_dh=primitives.x25519_public(fresh_keys.own_dh_private),
        reset_kem=entropy.kem_public(fresh_keys.own_kem_seed),
        clock=clock,
        crossing=crossing,
    )


def answered_untrusted(keys: ResetKeys, said: ResetAnswer, entropy: Entropy) -> ResetKeys:
    """Return the next generation with the contact's new keys in it.

    Draws one encapsulation. Raises RemoteError: bad-dh-key, bad-kem-key.
    """
    primitives.x25519(keys.own_dh_private, said.reset_dh)
    entropy.encapsulate(said.reset_kem)
    return msgspec.structs.replace(
        keys, their_dh_public=said.reset_dh, their_kem_public=said.reset_kem
    )


def _tag(secret: bytes, alice: bool, n: int) -> bytes:
    return primitives.prf(secret, _TAG, bytes((alice, n)), size=envelope.TAG)


def _header_key(secret: bytes, alice: bool, n: int, nonce: bytes) -> bytes:
    return primitives.prf(secret, _HEADER, bytes((alice, n)) + nonce)


def _body_keys(seed: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Return (body key, delivered-token)."""
    out = primitives.prf(seed, _BODY, nonce, size=primitives.KEY + 16)
    return out[: primitives.KEY], out[primitives.KEY :]


def _own_public(keys: ResetKeys, entropy: Entropy) -> bytes:
    return primitives.x25519_public(keys.own_dh_private) + entropy.kem_public(keys.own_kem_seed)


def _pair(beginner: bytes, taker: bytes, alice: bool) -> bytes:
    """Return the digest of the generation's public keys; alice: the role of who begins."""
    return primitives.digest(_PAIR, beginner, taker, bytes((alice,)))


def _mac(static: bytes, secret: bytes, transcript: bytes) -> bytes:
    key = primitives.hkdf(secret, static, _INFO + b"mac", primitives.KEY)
    return primitives.prf(key, _MAC_LABEL, transcript)


def _derive(salt: bytes, material: bytes, purpose: bytes) -> bytes:
    return primitives.hkdf(salt, material, _INFO + purpose, primitives.KEY)
