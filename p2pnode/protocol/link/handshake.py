"""From the first frame to the transport keys: Noise NN, then recognition, as a state machine.

    initiator                               responder
    e                                 →
                                      ←     e, ee
    page of marks                     →
                                      ←     page of marks
    proof                             →
                                      ←     proof            (real: after its step is durable)

Every frame exists in every handshake with the same size; only the two ends know which were real.
"""

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum, IntEnum, auto

from p2pnode.errors import RemoteError
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.limits import MAX_EARLY_FRAMES
from p2pnode.protocol.link import keys, recognition
from p2pnode.protocol.link.effects import AskCandidates, AskStep, Effect, SendFrame
from p2pnode.protocol.link.frames import number_untrusted, open_numbered_untrusted, seal_numbered
from p2pnode.protocol.link.keys import Candidate, Expected
from p2pnode.protocol.link.noise import NN
from p2pnode.protocol.primitives import ChaChaPoly, same

PROLOGUE = b"p2pnode link 1"
"""Names the version of everything on a link; another version fails in the second frame."""


class Number(IntEnum):
    """Sequences of the page, the proof and the first frame of the standing link, each way."""

    PAGE = 0
    PROOF = 1
    FIRST = 2


class State(Enum):
    """What the handshake waits for."""

    START = auto()
    NOISE = auto()
    CANDIDATES = auto()
    PAGE = auto()
    PROOF = auto()
    STEP = auto()
    DONE = auto()


class Handshake:
    """One side of one handshake. It is over when `state` is DONE.

    proven: then the key that both sides proved, or None among strangers.
    early: frames that came before their time and belong to the standing link.
    """

    def __init__(self, *, initiator: bool, marks: int, entropy: Entropy) -> None:
        self.state = State.START if initiator else State.NOISE
        self.hash = b""
        self.proven: Expected | None = None
        self.early: list[bytes] = []
        self._initiator = initiator
        self._marks = marks
        self._entropy = entropy
        self._noise = NN(initiator=initiator, prologue=PROLOGUE, ephemeral=entropy.take(32))
        self._awaited: dict[bytes, Expected] | None = None
        self._hits: list[Expected] = []
        self._asked = b""
        self._pages = b""
        self._taken = 0
        self._split = b"", b""

    def start(self) -> list[Effect]:
        """Return the initiator's first frame; the responder has none."""
        if self.state is not State.START:
            return []
        self.state = State.NOISE
        return [SendFrame(self._noise.write())]

    def receive_untrusted(self, frame: bytes) -> list[Effect]:
        """Take the next frame. Raises RemoteError when it is not what may come now."""
        if self.state is State.NOISE:
            return self._noise_untrusted(frame)
        number = number_untrusted(frame)
        if number < self._taken:
            return []  # the medium repeats itself
        match self._initiator, self.state, number:
            case False, State.CANDIDATES | State.PAGE, Number.PAGE:
                return self._asked_untrusted(frame)
            case True, State.PAGE, Number.PAGE:
                return self._answered_untrusted(frame)
            case _, State.PROOF, Number.PROOF:
                return self._proof_untrusted(frame)
            case True, State.PROOF | State.STEP, _ if number >= Number.FIRST:
                return self._early_untrusted(frame)
            case _:
                raise RemoteError("unexpected-frame")

    def candidates(self, found: Sequence[Candidate]) -> list[Effect]:
        """Answer AskCandidates."""
        if self.state is not State.CANDIDATES:
            raise RuntimeError("nobody asked for candidates")
        if not self._initiator:
            self._await(expected for one in found for expected in keys.expected(one))
            if self._asked:
                return self._answer()
            self.state = State.PAGE
            return []
        marks = recognition.room(len(found), self._marks)
        shown = recognition.offered(found, marks)
        self._await(shown)
        self._asked = self._page(shown, marks)
        self.state = State.PAGE
        return [self._numbered(Number.PAGE, self._asked)]

    def stepped(self) -> list[Effect]:
        """Answer AskStep: the step is durable."""
        if self.state is not State.STEP:
            raise RuntimeError("nobody asked for a step")
        self.state = State.DONE
        return [] if self._initiator else [self._proof(self.proven)]

    @property
    def claimed(self) -> tuple[Hashable, ...] | None:
        """The refs of the matches on the other side's page; None before it came."""
        if self.state not in (State.PROOF, State.STEP):
            return None
        return tuple(one.candidate.ref for one in self._hits)

    def transport_keys(self) -> tuple[bytes, bytes]:
        """Return the first keys to send and to receive with, once DONE."""
        proven = None if self.proven is None else self.proven.key
        outgoing, incoming = self._split
        return keys.transport_key(outgoing, proven), keys.transport_key(incoming, proven)

    # Frames, by state ----------------------------------------------------------------------

    def _noise_untrusted(self, frame: bytes) -> list[Effect]:
        if self._noise.read_untrusted(frame):
            raise RemoteError("handshake-payload")
        effects: list[Effect] = []
        if not self._initiator:
            effects.append(SendFrame(self._noise.write()))
        from_initiator, to_initiator = self._noise.split()
        if self._initiator:
            self._split = from_initiator, to_initiator
        else:
            self._split = to_initiator, from_initiator
        self._sealing, self._opening = (
            ChaChaPoly(keys.recognition_key(one)) for one in self._split
        )
        self.hash = self._noise.handshake_hash
        self.state = State.CANDIDATES
        return [*effects, AskCandidates()]

    def _asked_untrusted(self, frame: bytes) -> list[Effect]:
        """The responder takes the page; its candidates may still be on their way."""
        asked = self._open_untrusted(frame, Number.PAGE)
        recognition.check_size_untrusted(asked)
        self._asked = asked
        return [] if self._awaited is None else self._answer()

    def _answered_untrusted(self, frame: bytes) -> list[Effect]:
        """The initiator takes the answer and proves its best match, so only that can come back."""
        answered = self._open_untrusted(frame, Number.PAGE)
        if len(answered) != len(self._asked):
            raise RemoteError("bad-page-size")
        self._hits = self._matches(answered)[:1]
        self._pages = keys.pages_digest(self._asked, answered)
        self.state = State.PROOF
        return [self._proof(self._hits[0] if self._hits else None)]

    def _proof_untrusted(self, frame: bytes) -> list[Effect]:
        plaintext = self._open_untrusted(frame, Number.PROOF)
        if len(plaintext) != keys.PROOF:
            raise RemoteError("bad-proof-size")
        for one in self._hits:
            if same(self._proof_value(one, initiator=not self._initiator), plaintext):
                self.proven = one
                self.state = State.STEP
                return [AskStep(one.candidate.ref, one.proven)]
        # A match whose proof is wrong is nobody we know: chance, or somebody who only saw a mark.
        self.state = State.DONE
        return [] if self._initiator else [self._proof(None)]

    def _early_untrusted(self, frame: bytes) -> list[Effect]:
        """The responder stands before we do, and a medium may let its frames overtake."""
        if len(self.early) == MAX_EARLY_FRAMES:
            raise RemoteError("too-many-early-frames")
        self.early.append(frame)
        return []

    # Parts ---------------------------------------------------------------------------------

    def _open_untrusted(self, frame: bytes, number: int) -> bytes:
        self._taken = number + 1
        return open_numbered_untrusted(self._opening, frame)

    def _answer(self) -> list[Effect]:
        """The responder has page and candidates: answer with marks for the matches."""
        self._hits = self._matches(self._asked)
        answered = self._page(self._hits, len(self._asked) // keys.MARK)
        self._pages = keys.pages_digest(self._asked, answered)
        self.state = State.PROOF
        return [self._numbered(Number.PAGE, answered)]

    def _await(self, expected: Iterable[Expected]) -> None:
        self._awaited = recognition.awaited(
            expected, initiator=self._initiator, handshake=self.hash
        )

    def _matches(self, raw: bytes) -> list[Expected]:
        """Return the matches on a page, the highest rank first, then the lowest mark."""
        assert self._awaited is not None
        found = recognition.hits(raw, self._awaited)
        return sorted(found, key=lambda one: -one.candidate.rank)

    def _page(self, real: Iterable[Expected], marks: int) -> bytes:
        own = [
            recognition.own_mark(one, initiator=self._initiator, handshake=self.hash)
            for one in real
        ]
        return recognition.page(own, marks, self._entropy)

    def _proof(self, real: Expected | None) -> SendFrame:
        value = self._entropy.take(keys.PROOF)
        if real is not None:
            value = self._proof_value(real, initiator=self._initiator)
        return self._numbered(Number.PROOF, value)

    def _proof_value(self, one: Expected, *, initiator: bool) -> bytes:
        """Return the proof that the device in this role gives."""
        ours = initiator is self._initiator
        return keys.proof(
            one.key,
            initiator=initiator,
            alice=one.candidate.key.alice is ours,
            handshake=self.hash,
            pages=self._pages,
        )

    def _numbered(self, number: int, plaintext: bytes) -> SendFrame:
        return SendFrame(seal_numbered(self._sealing, number, plaintext))
