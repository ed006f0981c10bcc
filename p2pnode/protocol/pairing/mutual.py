"""Mutual scan: each has shown a code and scanned the other's; the keys follow by any path.

Scanning both ways counts as comparing words, because each code binds its shower's whole reveal.
Each side sends two pairing envelopes, which carriers cannot tell from others:

    flight 1   its reveal, sealed under a key made of both codes
    flight 2   once it has the other's reveal: a KEM ciphertext and a proof of its keys

and is done when the other's flight 2 proves right. The one with the lower commitment is alice.
`Mutual` is a frozen record for the vault; every function is pure and takes repetitions and any
order. Exact bytes: docs/protocol/pairing.md.
"""

import msgspec

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import envelope, limits, primitives, wire
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.pairing.agreement import (
    Agreed,
    Half,
    Peer,
    agreed,
    check_reveal_untrusted,
    derive,
    encapsulate_untrusted,
    exchange,
)
from p2pnode.protocol.pairing.code import Code, commitment

MAX_EARLY = 4
"""Second flights kept that came before the first: one is true, the others are somebody's junk."""

_LIFETIME = len(limits.LIFETIMES) - 1
_LENGTH = 2
_ROOT_LABEL = b"p2pnode mutual"
_LINK_LABEL = b"p2pnode mutlink"
_TAG_LABEL = b"p2pnode mut tag"
_HEADER_LABEL = b"p2pnode mut head"
_BODY_LABEL = b"p2pnode mut body"
_TOKEN_LABEL = b"p2pnode mut tokn"
_OPENING_LABEL = b"p2pnode mut open"
_PROOF_LABEL = b"p2pnode mutproof"
_TRANSCRIPT_LABEL = b"p2pnode pairing"


class Second(wire.Wire, frozen=True):
    """The content of flight 2."""

    ciphertext: wire.KemCiphertext
    proof: wire.Bytes32


class Mutual(msgspec.Struct, frozen=True, array_like=True):
    """A mutual scan under way.

    reveal: the other side's, encoded, or empty while it is awaited; kem_secret, ciphertext: drawn
    for it; early: contents of second flights that came before it; done: keys were agreed.
    """

    own: Code
    half: Half
    theirs: Code
    reveal: bytes = b""
    kem_secret: bytes = b""
    ciphertext: bytes = b""
    early: tuple[bytes, ...] = ()
    done: bool = False

    @property
    def alice(self) -> bool:
        """Whether this side is alice: its commitment is the lower one."""
        return self.own.commitment < self.theirs.commitment

    @property
    def codes(self) -> tuple[Code, Code]:
        """Alice's code and bob's."""
        return (self.own, self.theirs) if self.alice else (self.theirs, self.own)


def begin(own: Code, half: Half, theirs: Code, entropy: Entropy) -> tuple[Mutual, list[bytes]]:
    """Return the record and the envelope of flight 1, to be kept until it has arrived.

    `half` is the one `own` was made of. Raises InvalidInput when the code is the own one.
    """
    if theirs.commitment == own.commitment:
        raise InvalidInput("this is your own code", hint="Scan the code on the other device")
    mutual = Mutual(own, half, theirs)
    return mutual, [_envelope(mutual, 1, half.reveal, entropy)]


def tags(mutual: Mutual) -> list[bytes]:
    """Return the tags of the envelopes that are awaited."""
    return [] if mutual.done else [_tag(mutual, not mutual.alice, flight) for flight in (1, 2)]


def link_secret(mutual: Mutual) -> bytes:
    """Return the 32-byte secret by which both sides recognise each other on a link meanwhile."""
    alice, bob = mutual.codes
    return primitives.digest(_LINK_LABEL, alice.payload, bob.payload)


def peer_account(mutual: Mutual) -> bytes:
    """Return the other side's account key, empty while its reveal is awaited."""
    if not mutual.reveal:
        return b""
    return check_reveal_untrusted(mutual.half, mutual.reveal).certificate.account


def receive_untrusted(
    mutual: Mutual, outer: envelope.Outer, entropy: Entropy
) -> tuple[Mutual, list[bytes], Agreed | None]:
    """Take an envelope with one of `tags`: return the record, envelopes to send, and the outcome.

    Raises RemoteError when it is not what it should be; the record then stands as before and the
    true envelope is still awaited. A repetition changes nothing.
    """
    sender = not mutual.alice
    for flight, take in ((1, _reveal_untrusted), (2, _second_untrusted)):
        if outer.tag == _tag(mutual, sender, flight):
            content = _open_untrusted(mutual, flight, outer)
            return (mutual, [], None) if mutual.done else take(mutual, content, entropy)
    raise RemoteError("unknown-tag")


def _reveal_untrusted(
    mutual: Mutual, reveal: bytes, entropy: Entropy
) -> tuple[Mutual, list[bytes], Agreed | None]:
    if not primitives.same(commitment(reveal), mutual.theirs.commitment):
        raise RemoteError("wrong-commitment")
    if mutual.reveal:
        return mutual, [], None
    peer = check_reveal_untrusted(mutual.half, reveal)
    shared = exchange(mutual.half, peer, alice=mutual.alice)
    kem_secret, ciphertext = encapsulate_untrusted(peer, entropy)
    proof = _proof(mutual, peer, shared + kem_secret, ciphertext, alice=mutual.alice)
    second = wire.encode(Second(ciphertext, proof))
    early = mutual.early
    mutual = msgspec.structs.replace(
        mutual, reveal=reveal, kem_secret=kem_secret, ciphertext=ciphertext, early=()
    )
    sent = [_envelope(mutual, 2, second, entropy)]
    for content in early:
        try:
            after, _, outcome = _second_untrusted(mutual, content, entropy)
        except RemoteError:
            continue
        return after, sent, outcome
    return mutual, sent, None


def _second_untrusted(
    mutual: Mutual, content: bytes, entropy: Entropy
) -> tuple[Mutual, list[bytes], Agreed | None]:
    second = wire.decode_untrusted(content, Second)
    if not mutual.reveal:
        if content in mutual.early:
            return mutual, [], None
        early = (*mutual.early, content)[-MAX_EARLY:]
        return msgspec.structs.replace(mutual, early=early), [], None
    peer = check_reveal_untrusted(mutual.half, mutual.reveal)
    shared = exchange(mutual.half, peer, alice=mutual.alice)
    theirs = entropy.decapsulate(mutual.half.kem_seed, second.ciphertext)
    expected = _proof(mutual, peer, shared + theirs, second.ciphertext, alice=not mutual.alice)
    if not primitives.same(second.proof, expected):
        raise RemoteError("wrong-proof")
    done = msgspec.structs.replace(mutual, done=True)
    return done, [], _agreed(mutual, peer, shared, theirs, second.ciphertext)


def _agreed(mutual: Mutual, peer: Peer, shared: bytes, theirs: bytes, ciphertext: bytes) -> Agreed:
    secrets, sent = [mutual.kem_secret, theirs], [mutual.ciphertext, ciphertext]
    if not mutual.alice:
        secrets.reverse()
        sent.reverse()
    opening = _opening(mutual, peer)
    return agreed(
        mutual.half,
        peer,
        alice=mutual.alice,
        transcript=primitives.digest(_TRANSCRIPT_LABEL, b"mutual", opening, *sent),
        material=shared + b"".join(secrets) + _code_secrets(mutual),
    )


def _opening(mutual: Mutual, peer: Peer) -> bytes:
    mine, theirs = mutual.half.reveal, peer.raw
    alice, bob = mutual.codes
    reveals = (mine, theirs) if mutual.alice else (theirs, mine)
    return primitives.digest(_OPENING_LABEL, alice.payload, bob.payload, *reveals)


def _proof(mutual: Mutual, peer: Peer, secrets: bytes, ciphertext: bytes, *, alice: bool) -> bytes:
    """Return the proof of the ciphertext's sender; secrets: ee ‖ es ‖ se ‖ its KEM secret."""
    salt = primitives.digest(_PROOF_LABEL, _opening(mutual, peer), ciphertext)
    return derive(salt, secrets + _code_secrets(mutual), b"proof alice" if alice else b"proof bob")


def _code_secrets(mutual: Mutual) -> bytes:
    alice, bob = mutual.codes
    return alice.secret + bob.secret


# Envelopes ---------------------------------------------------------------------------------------


def _key(mutual: Mutual, label: bytes, alice: bool, flight: int, size: int = 32) -> bytes:
    alice_code, bob_code = mutual.codes
    root = primitives.digest(_ROOT_LABEL, alice_code.payload, bob_code.payload)
    return primitives.prf(root, label, bytes([alice, flight]), size=size)


def _tag(mutual: Mutual, alice: bool, flight: int) -> bytes:
    return _key(mutual, _TAG_LABEL, alice, flight, envelope.TAG)


def _envelope(mutual: Mutual, flight: int, content: bytes, entropy: Entropy) -> bytes:
    whole = len(content).to_bytes(_LENGTH, "big") + content
    return envelope.assemble(
        tag=_tag(mutual, mutual.alice, flight),
        lifetime=_LIFETIME,
        token=_key(mutual, _TOKEN_LABEL, mutual.alice, flight, 16),
        nonce=entropy.take(primitives.NONCE),
        header_key=_key(mutual, _HEADER_LABEL, mutual.alice, flight),
        header=whole[: envelope.HEADER].ljust(envelope.HEADER, b"\0"),
        body_key=_key(mutual, _BODY_LABEL, mutual.alice, flight),
        content=whole[envelope.HEADER :],
    )


def _open_untrusted(mutual: Mutual, flight: int, outer: envelope.Outer) -> bytes:
    sender = not mutual.alice
    header = envelope.open_header(outer, _key(mutual, _HEADER_LABEL, sender, flight))
    body = envelope.open_body(outer, _key(mutual, _BODY_LABEL, sender, flight))
    whole = header + body
    end = _LENGTH + int.from_bytes(whole[:_LENGTH], "big")
    padding = whole[end:]
    if end > len(whole) or len(body) != max(0, end - envelope.HEADER) or any(padding):
        raise RemoteError("bad-padding")
    return whole[_LENGTH:end]
