"""Pairing over a link: one side shows a code, the other joins by it, both compare words.

    joiner                              shower
      Commit(hash of reveal and nonce) →
                                       ← Shown(reveal, nonce)         reveal must fit the code
      Opened(reveal, nonce, ciphertext) →                             must fit the commitment
                                       ← Sealed(ciphertext, proof)
      Proof(proof)                      →
    both persons compare words; each side then sends Confirm or Refuse

The joiner is alice. Each side's words are fixed before the last nonce it did not choose is known
to the other, which is what makes 40 bits enough. The machine fails closed: anything unexpected
voids the code. It survives the loss of a link (`resume`): what was sent is sent again, nothing is
drawn anew, so a new link is no new guess. Exact bytes: docs/protocol/pairing.md.
"""

from enum import Enum
from typing import Annotated, TypeAlias, cast

import msgspec

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import primitives, wire
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.limits import MAX_PAIRING
from p2pnode.protocol.pairing.agreement import (
    MAX_REVEAL,
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
from p2pnode.protocol.pairing.confirm import Confirm, check_mac
from p2pnode.protocol.pairing.sas import sas

NONCE = 32
"""Bytes of the random number each side adds to the words that people compare."""

_COMMIT_LABEL = b"p2pnode join"
_OPENING_LABEL = b"p2pnode opening"
_TRANSCRIPT_LABEL = b"p2pnode pairing"

RawReveal = Annotated[bytes, msgspec.Meta(max_length=MAX_REVEAL)]


class Commit(wire.Wire, frozen=True, tag=1):
    """The joiner binds itself to its reveal and nonce."""

    commitment: wire.Bytes32


class Shown(wire.Wire, frozen=True, tag=2):
    """The shower's reveal and fresh nonce."""

    reveal: RawReveal
    nonce: wire.Bytes32


class Opened(wire.Wire, frozen=True, tag=3):
    """The joiner's reveal and nonce, and a KEM ciphertext to the shower's key."""

    reveal: RawReveal
    nonce: wire.Bytes32
    ciphertext: wire.KemCiphertext


class Sealed(wire.Wire, frozen=True, tag=4):
    """The shower's KEM ciphertext to the joiner's key, and proof that it holds the keys."""

    ciphertext: wire.KemCiphertext
    proof: wire.Bytes32


class Proof(wire.Wire, frozen=True, tag=5):
    """The joiner's proof that it holds the keys."""

    proof: wire.Bytes32


class Refuse(wire.Wire, frozen=True, tag=6):
    """The sender gives up; the code is void."""


Message: TypeAlias = Commit | Shown | Opened | Sealed | Proof | Refuse | Confirm


class SendPairing(msgspec.Struct, frozen=True):
    """Send these bytes as a PairingMessage on the link this pairing runs on."""

    raw: bytes


class Compare(msgspec.Struct, frozen=True):
    """Show the person the words (with emoji) to compare, and answer with `answer`."""

    words: list[str]
    emoji: list[str]


class Keep(msgspec.Struct, frozen=True):
    """The person said yes: keep a pending contact durably, then send confirmations.

    theirs_confirmed: the other person's yes has come already, the contact is whole.
    """

    agreed: Agreed
    theirs_confirmed: bool


class Confirmed(msgspec.Struct, frozen=True):
    """After Keep: the other person's yes has come. has_yours: it has heard of this side's."""

    has_yours: bool


class Failed(msgspec.Struct, frozen=True):
    """The pairing is void and its code with it; reason is a slug. Forget everything of it."""

    reason: str


Effect: TypeAlias = SendPairing | Compare | Keep | Confirmed | Failed


class _Phase(Enum):
    FRESH = "fresh"
    """Nothing sent, nothing received."""
    COMMITTED = "committed"
    """Joiner: Commit sent, Shown awaited. Shower: Shown sent, Opened awaited."""
    OPENED = "opened"
    """Joiner: Opened sent, Sealed awaited. Shower: Sealed sent, Proof awaited."""
    COMPARING = "comparing"
    """Both sides hold proven keys; the person's answer is awaited."""
    KEPT = "kept"
    VOID = "void"


class LinkPairing:
    """One pairing over a link, on one side; make it with `show` or `join`."""

    def __init__(self, code: Code, half: Half, entropy: Entropy, *, joiner: bool) -> None:
        self._code = code
        self._half = half
        self._entropy = entropy
        self._joiner = joiner
        self._nonce = entropy.take(NONCE)
        self._phase = _Phase.FRESH
        self._commitment = b""
        self._opening = b""
        self._material = b""
        self._ciphertext = b""
        self._kem_secret = b""
        self._peer: Peer | None = None
        self._agreed: Agreed | None = None
        self._theirs_confirmed = False
        self._sent = b""
        self._answers: dict[bytes, list[Effect]] = {}

    @classmethod
    def show(cls, code: Code, half: Half, entropy: Entropy) -> "LinkPairing":
        """Return the side whose code is shown; `half` is the one the code was made of."""
        return cls(code, half, entropy, joiner=False)

    @classmethod
    def join(cls, code: Code, half: Half, entropy: Entropy) -> "LinkPairing":
        """Return the side that scanned the code."""
        return cls(code, half, entropy, joiner=True)

    def start(self) -> list[Effect]:
        """Begin on the first link recognised by the code's secret; the shower only listens."""
        if not self._joiner or self._phase is not _Phase.FRESH:
            return self.resume()
        self._phase = _Phase.COMMITTED
        self._commitment = _committed(self._half.reveal, self._nonce)
        return [self._send(Commit(self._commitment))]

    def resume(self) -> list[Effect]:
        """Go on over another link: send the last message again."""
        return [SendPairing(self._sent)] if self._sent and self._phase is not _Phase.VOID else []

    def receive_untrusted(self, raw: bytes) -> list[Effect]:
        """Take a message from the other side.

        Never raises: whatever is wrong voids the pairing (`Failed`). A repetition is answered as
        the first one was; an answer is always a later message, so this ends.
        """
        if self._phase is _Phase.VOID:
            return []
        if raw in self._answers:
            return self._answers[raw]
        try:
            message = _decode_untrusted(raw)
            effects = self._take_untrusted(message)
        except RemoteError as error:
            # After Keep the contact is the person's decision; bad bytes no longer undo it.
            return [] if self._phase is _Phase.KEPT else self._void(error.reason)
        if not isinstance(message, Confirm):
            self._answers[raw] = [one for one in effects if isinstance(one, SendPairing)]
        return effects

    def answer(self, yes: bool) -> list[Effect]:
        """Take the person's answer to Compare. Raises InvalidInput when there is none to give."""
        if self._phase is not _Phase.COMPARING or self._agreed is None:
            raise InvalidInput("there are no words to compare in this pairing now")
        if not yes:
            return self._void("refused")
        self._phase = _Phase.KEPT
        return [Keep(self._agreed, self._theirs_confirmed)]

    def cancel(self, reason: str = "cancelled") -> list[Effect]:
        """Void the pairing, unless the person has said yes already."""
        return [] if self._phase in (_Phase.KEPT, _Phase.VOID) else self._void(reason)

    # The transition table: what is taken, in which phase, by which side -----------------------

    def _take_untrusted(self, message: Message) -> list[Effect]:
        match message, self._phase, self._joiner:
            case Commit(), _Phase.FRESH, False:
                return self._committed(message)
            case Shown(), _Phase.COMMITTED, True:
                return self._shown_untrusted(message)
            case Opened(), _Phase.COMMITTED, False:
                return self._opened_untrusted(message)
            case Sealed(), _Phase.OPENED, True:
                return self._sealed_untrusted(message)
            case Proof(), _Phase.OPENED | _Phase.COMPARING | _Phase.KEPT, False:
                self._check_proof_untrusted(message.proof)
                return self._proven()
            case Confirm(), _Phase.OPENED | _Phase.COMPARING | _Phase.KEPT, _ if self._agreed:
                return self._confirm_untrusted(message, self._agreed)
            case Refuse(), _Phase.KEPT, _ if self._theirs_confirmed:
                return []
            case Refuse(), _, _:
                self._phase = _Phase.VOID
                return [Failed("refused-by-peer")]
            case _:
                raise RemoteError("unexpected-message")

    def _committed(self, message: Commit) -> list[Effect]:
        self._commitment = message.commitment
        self._phase = _Phase.COMMITTED
        return [self._send(Shown(self._half.reveal, self._nonce))]

    def _shown_untrusted(self, message: Shown) -> list[Effect]:
        if not primitives.same(commitment(message.reveal), self._code.commitment):
            raise RemoteError("wrong-commitment")
        peer = self._meet_untrusted(message.reveal, shown=message, joined=None)
        self._kem_secret, self._ciphertext = encapsulate_untrusted(peer, self._entropy)
        self._phase = _Phase.OPENED
        return [self._send(Opened(self._half.reveal, self._nonce, self._ciphertext))]

    def _opened_untrusted(self, message: Opened) -> list[Effect]:
        if not primitives.same(_committed(message.reveal, message.nonce), self._commitment):
            raise RemoteError("wrong-commitment")
        peer = self._meet_untrusted(message.reveal, shown=None, joined=message)
        theirs = self._entropy.decapsulate(self._half.kem_seed, message.ciphertext)
        mine, ciphertext = encapsulate_untrusted(peer, self._entropy)
        self._agree(peer, (theirs, mine), (message.ciphertext, ciphertext))
        self._phase = _Phase.OPENED
        return [self._send(Sealed(ciphertext, self._proof(joiner=False)))]

    def _sealed_untrusted(self, message: Sealed) -> list[Effect]:
        assert self._peer is not None
        theirs = self._entropy.decapsulate(self._half.kem_seed, message.ciphertext)
        self._agree(self._peer, (self._kem_secret, theirs), (self._ciphertext, message.ciphertext))
        self._check_proof_untrusted(message.proof)
        return [self._send(Proof(self._proof(joiner=True))), *self._proven()]

    def _confirm_untrusted(self, message: Confirm, keys: Agreed) -> list[Effect]:
        has_yours = check_mac(keys.confirm_key, not self._joiner, message)
        self._theirs_confirmed = True
        # It is made with the agreed keys: when it overtakes the proof it proves as much.
        return [Confirmed(has_yours)] if self._phase is _Phase.KEPT else self._proven()

    # Keys --------------------------------------------------------------------------------------

    def _meet_untrusted(self, raw: bytes, *, shown: Shown | None, joined: Opened | None) -> Peer:
        peer = check_reveal_untrusted(self._half, raw)
        mine = (self._half.reveal, self._nonce)
        self._opening = primitives.digest(
            _OPENING_LABEL,
            self._code.payload,
            self._commitment,
            *((shown.reveal, shown.nonce) if shown else mine),
            *((joined.reveal, joined.nonce) if joined else mine),
        )
        self._material = exchange(self._half, peer, alice=self._joiner)
        self._peer = peer
        return peer

    def _agree(self, peer: Peer, secrets: tuple[bytes, bytes], sent: tuple[bytes, bytes]) -> None:
        transcript = primitives.digest(_TRANSCRIPT_LABEL, b"link", self._opening, *sent)
        self._material += b"".join(secrets) + self._code.secret
        self._agreed = agreed(
            self._half,
            peer,
            alice=self._joiner,
            transcript=transcript,
            material=self._material,
        )

    def _proof(self, *, joiner: bool) -> bytes:
        assert self._agreed is not None
        purpose = b"proof alice" if joiner else b"proof bob"
        return derive(self._agreed.transcript, self._material, purpose)

    def _check_proof_untrusted(self, proof: bytes) -> None:
        if not primitives.same(proof, self._proof(joiner=not self._joiner)):
            raise RemoteError("wrong-proof")

    # Effects -----------------------------------------------------------------------------------

    def _proven(self) -> list[Effect]:
        if self._phase is not _Phase.OPENED:
            return []
        self._phase = _Phase.COMPARING
        pairs = sas(self._opening)
        return [Compare([word for word, _ in pairs], [emoji for _, emoji in pairs])]

    def _send(self, message: Message) -> SendPairing:
        self._sent = wire.encode(message)
        return SendPairing(self._sent)

    def _void(self, reason: str) -> list[Effect]:
        self._phase = _Phase.VOID
        return [self._send(Refuse()), Failed(reason)]


def _committed(reveal: bytes, nonce: bytes) -> bytes:
    return primitives.digest(_COMMIT_LABEL, reveal, nonce)


def _decode_untrusted(raw: bytes) -> Message:
    shape = cast("type[Message]", Message)
    return wire.decode_untrusted(raw, shape, limit=MAX_PAIRING)
