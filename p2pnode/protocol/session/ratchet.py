"""The Double Ratchet with header encryption (Signal, "The Double Ratchet Algorithm", rev. 4, §4).

What differs from it, and why: the header key is not one for a chain but one for each envelope,
found by a single-use tag, because a carrier must not link envelopes; each root step also takes an
ML-KEM-768 secret and the hash of all public values; both sides have a first sending chain, because
either may write first; our half of a turn happens at the next seal, because that is when fresh
keys heal most. Every function is pure: a step that fails leaves no trace.
"""

import struct

import msgspec
from msgspec.structs import replace

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope, primitives
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.limits import MAX_JUMP
from p2pnode.protocol.session import keys, tags
from p2pnode.protocol.session.records import Listing, Opened, Sealed, Session, TagRow

_COUNTERS = struct.Struct(">IIQ")
_END = keys.RATCHET + _COUNTERS.size
_PADDING = bytes(envelope.HEADER - _END)


class Header(msgspec.Struct, frozen=True, gc=False):
    """What the sealed header of a session envelope says."""

    ratchet: bytes
    """2,304: sender's DH key, KEM key, and KEM ciphertext to the receiver."""
    n: int
    previous: int
    count: int


def start(
    *,
    secret: bytes,
    alice: bool,
    own_dh_private: bytes,
    their_dh_public: bytes,
    own_kem_seed: bytes,
    their_kem_public: bytes,
    entropy: Entropy,
) -> tuple[Session, list[TagRow]]:
    """Return a new session and its first rows.

    `secret` is the pairing's 32-byte session secret; the other keys are the first ratchet keys
    both sides showed while pairing. Alice steps at once, so her first envelope already heals; Bob
    writes from a chain of the secret until he has heard her. Draws, for alice: 32, 64, one
    encapsulation. Raises RemoteError when the contact's keys are unusable.
    """
    own = primitives.x25519_public(own_dh_private) + entropy.kem_public(own_kem_seed)
    theirs = their_dh_public + their_kem_public
    shared = keys.first(secret, *((own, theirs) if alice else (theirs, own)))
    quiet = bytes(primitives.KEM_CIPHERTEXT)
    if not alice:
        coming, rows = tags.begin(1, shared.alice_tags)
        session = _empty(shared, own + quiet, tags.SILENT, coming)
        block, step = keys.open_block(shared.bob_tags)
        return replace(
            session,
            sending_key=shared.bob_key,
            sending_block=block,
            sending_step=step,
            sending_next=shared.bob_next_tags,
            dh_private=own_dh_private,
            kem_seed=own_kem_seed,
        ), rows
    current, rows = tags.begin(0, shared.bob_tags)
    coming, more = tags.begin(1, shared.bob_next_tags)
    session = replace(
        _empty(shared, b"", current, coming),
        sending_next=shared.alice_tags,
        theirs=theirs,
        receiving_key=shared.bob_key,
        receiving_start=keys.start_digest(theirs + quiet, 0),
    )
    return _answered(session, entropy), rows + more


def seal(session: Session, content: bytes, *, lifetime: int, entropy: Entropy) -> Sealed:
    """Seal content (bytes, at most the largest of `limits.MAX_CONTENT`) into the next envelope.

    `lifetime` is a class. Draws, when new keys wait for an answer: 32, 64, one encapsulation; then
    always a 24-byte nonce, random although keys serve once, because a copied state must not become
    a keystream used twice. Raises InvalidInput when the content is too long.
    """
    if session.theirs:
        session = _answered(session, entropy)
    n, count = session.sending_n, session.sent + 1
    tag, header_key = keys.header_keys(session.sending_step)
    sending_key, message_key = keys.chain_step(session.sending_key)
    body_key, token = keys.message_keys(message_key)
    raw = envelope.assemble(
        tag=tag,
        lifetime=lifetime,
        token=token,
        nonce=entropy.take(primitives.NONCE),
        header_key=header_key,
        header=session.ours + _COUNTERS.pack(n, session.previous, count) + _PADDING,
        body_key=body_key,
        content=content,
    )
    block, step = tags.walk(n, session.sending_block, session.sending_step, n + 1)
    after = replace(
        session,
        sent=count,
        sending_key=sending_key,
        sending_n=n + 1,
        sending_block=block,
        sending_step=step,
    )
    return Sealed(after, raw, envelope.envelope_id(raw), token, count)


def open_untrusted(
    session: Session, row: TagRow, outer: envelope.Outer, *, entropy: Entropy
) -> Opened:
    """Open a foreign envelope with the row its tag was found under.

    Raises RemoteError when anything is not as the other side would have made it; the row then
    still waits for the true envelope. Work is bounded: junk costs one failed header, a contact's
    worst envelope two chains of `limits.MAX_JUMP` hashes. Draws only in a root step, and only to
    check the contact's KEM key.
    """
    header = _header_untrusted(envelope.open_header(outer, row.header_key))
    if header.n != row.n:
        raise RemoteError("wrong-index")
    if row.message_key:
        return _open_skipped_untrusted(session, row, outer, header)
    if row.chain == session.coming.chain:
        return _open_coming_untrusted(session, outer, header, entropy)
    if row.chain != session.current.chain or row.n < session.current.next:
        raise RemoteError("key-gone")
    return _open_current_untrusted(session, outer, header)


def _open_skipped_untrusted(
    session: Session, row: TagRow, outer: envelope.Outer, header: Header
) -> Opened:
    if not 0 < header.count < session.received:
        raise RemoteError("bad-count")
    content, token = _body_untrusted(outer, row.message_key)
    return Opened(session, content, header.count, token, [], [], 0)


def _open_current_untrusted(session: Session, outer: envelope.Outer, header: Header) -> Opened:
    n, listing = header.n, session.current
    if keys.start_digest(header.ratchet, header.previous) != session.receiving_start:
        raise RemoteError("chain-changed")
    if header.count != session.receiving_base + n + 1:
        raise RemoteError("bad-count")
    if n - listing.next > MAX_JUMP:
        raise RemoteError("jump-too-far")
    key, skipped = tags.skip_keys(listing, session.receiving_key, n)
    key, message_key = keys.chain_step(key)
    content, token = _body_untrusted(outer, message_key)
    rows = tags.skip_rows(listing, skipped)
    current, ahead = tags.move(listing, n + 1)
    after = replace(session, received=header.count, receiving_key=key, current=current)
    return Opened(after, content, header.count, token, rows + ahead, [], len(rows))


def _open_coming_untrusted(
    session: Session, outer: envelope.Outer, header: Header, entropy: Entropy
) -> Opened:
    """Take the other side's half of a turn: close its old chain, open the new one.

    More envelopes of the old chain than MAX_JUMP are given up rather than refused, so that a pair
    that lost very much goes on.
    """
    n, old, ratchet = header.n, session.current, header.ratchet
    if not session.dh_private:
        raise RemoteError("out-of-turn")
    if header.previous < old.next or (header.previous and not session.receiving_key):
        raise RemoteError("bad-previous")
    base = session.receiving_base + header.previous
    if header.count != base + n + 1:
        raise RemoteError("bad-count")
    if n > MAX_JUMP:
        raise RemoteError("jump-too-far")
    step = keys.root_step(
        session.root,
        primitives.x25519(session.dh_private, ratchet[: primitives.KEY]),
        entropy.decapsulate(session.kem_seed, ratchet[keys.DH_AND_KEM :]),
        session.ours[: keys.DH_AND_KEM],
        ratchet,
    )
    key, skipped = tags.skip_keys(session.coming, step.key, n)
    key, message_key = keys.chain_step(key)
    content, token = _body_untrusted(outer, message_key)
    # A KEM key that cannot be answered must be refused here, not when our person next writes.
    entropy.encapsulate(ratchet[primitives.KEY : keys.DH_AND_KEM])
    end = min(header.previous, old.next + MAX_JUMP)
    closed = tags.skip_keys(old, session.receiving_key, end)[1]
    rows = tags.skip_rows(old, closed) + tags.skip_rows(session.coming, skipped)
    current, ahead = tags.move(session.coming, n + 1)
    coming, later = tags.begin(current.chain + 1, step.next_tags)
    after = replace(
        session,
        received=header.count,
        root=step.root,
        sending_key=b"",
        sending_block=b"",
        sending_step=b"",
        ours=b"",
        dh_private=b"",
        kem_seed=b"",
        theirs=ratchet[: keys.DH_AND_KEM],
        receiving_key=key,
        receiving_start=keys.start_digest(ratchet, header.previous),
        receiving_base=base,
        current=current,
        coming=coming,
    )
    forget = [(old.chain, 0)] if session.receiving_key else []
    return Opened(after, content, header.count, token, rows + ahead + later, forget, len(rows))


def _answered(session: Session, entropy: Entropy) -> Session:
    """Take our half of a turn: fresh keys, and a sending chain that answers `session.theirs`."""
    dh_private = entropy.take(primitives.KEY)
    kem_seed = entropy.take(primitives.KEM_SEED)
    theirs = session.theirs
    secret, ciphertext = entropy.encapsulate(theirs[primitives.KEY :])
    ours = primitives.x25519_public(dh_private) + entropy.kem_public(kem_seed) + ciphertext
    dh = primitives.x25519(dh_private, theirs[: primitives.KEY])
    step = keys.root_step(session.root, dh, secret, theirs, ours)
    block, first = keys.open_block(session.sending_next)
    return replace(
        session,
        root=step.root,
        sending_key=step.key,
        previous=session.sending_n,
        sending_n=0,
        sending_block=block,
        sending_step=first,
        sending_next=step.next_tags,
        ours=ours,
        dh_private=dh_private,
        kem_seed=kem_seed,
        theirs=b"",
    )


def _header_untrusted(raw: bytes) -> Header:
    if raw[_END:] != _PADDING:
        raise RemoteError("bad-header")
    return Header(raw[: keys.RATCHET], *_COUNTERS.unpack(raw[keys.RATCHET : _END]))


def _body_untrusted(outer: envelope.Outer, message_key: bytes) -> tuple[bytes, bytes]:
    """Return (content, delivered-token)."""
    body_key, token = keys.message_keys(message_key)
    content = envelope.open_body(outer, body_key)
    if envelope.token_hash(token) != outer.token_hash:
        raise RemoteError("bad-token")
    return content, token


def _empty(shared: keys.First, ours: bytes, current: Listing, coming: Listing) -> Session:
    return Session(
        handle=shared.handle,
        sent=0,
        received=0,
        root=shared.root,
        sending_key=b"",
        sending_n=0,
        sending_block=b"",
        sending_step=b"",
        sending_next=b"",
        previous=0,
        ours=ours,
        dh_private=b"",
        kem_seed=b"",
        theirs=b"",
        receiving_key=b"",
        receiving_start=b"",
        receiving_base=0,
        current=current,
        coming=coming,
    )
