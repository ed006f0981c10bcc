"""The link: one channel's handshake, frames, keep-alive and death, without any IO.

The owner hands in frames and answers; effects come out, to be performed in their order. Times are
monotonic milliseconds of the owner's clock.
"""

from collections.abc import Hashable, Sequence

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.limits import (
    DEAD_AFTER,
    HANDSHAKE_TIMEOUT,
    MAX_FRAME,
    PAGE_MARKS,
    PING_AFTER,
    SMALL_PAGE_MARKS,
)
from p2pnode.protocol.link.effects import (
    Dead,
    DeadReason,
    Effect,
    Established,
    Received,
    SendFrame,
)
from p2pnode.protocol.link.frames import Opening, Sealing
from p2pnode.protocol.link.handshake import Handshake, Number, State
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.link.layout import decode_message_untrusted, encode_message
from p2pnode.protocol.link.messages import (
    TOKEN,
    EnvelopeOut,
    LinkMessage,
    Ping,
    Pong,
    Unknown,
)

NEVER = 2**63 - 1
"""The deadline of a link that is over."""


class Link:
    """One end of one channel.

    initiator: whether this side opened the channel. marks: PAGE_MARKS or SMALL_PAGE_MARKS, by the
    medium. Any RemoteError, and Dead, ends the link: the owner closes the channel.

    handshake_hash: 64 bytes, the same at both ends and in no other link, once Noise is done;
    empty before. peer: the recognised candidate's ref; None before, and for a stranger.
    """

    def __init__(self, *, initiator: bool, marks: int, entropy: Entropy, now: int) -> None:
        if marks not in (PAGE_MARKS, SMALL_PAGE_MARKS):
            raise ValueError("a page has PAGE_MARKS or SMALL_PAGE_MARKS marks")
        self.handshake_hash = b""
        self.peer: Hashable | None = None
        self._entropy = entropy
        self._handshake: Handshake | None = Handshake(
            initiator=initiator, marks=marks, entropy=entropy
        )
        self._sealing: Sealing | None = None
        self._opening: Opening | None = None
        self._over = False
        self._now = now
        self._started = now
        self._sent = now
        self._heard = now

    @property
    def established(self) -> bool:
        """Whether the link stands."""
        return self._opening is not None and not self._over

    @property
    def claimed(self) -> tuple[Hashable, ...] | None:
        """Whom the other side showed itself to be, before anything is proved; None until then.

        An owner that checks index statements takes what it knows of these as of now, before it
        performs the effects just returned: what comes later may overtake a true statement.
        """
        return None if self._handshake is None else self._handshake.claimed

    @property
    def dropped(self) -> int:
        """Frames dropped since the link stands: repeated, too late, or not authentic."""
        return 0 if self._opening is None else self._opening.repeated + self._opening.bad

    def start(self) -> list[Effect]:
        """Begin: the initiator sends its first frame."""
        return [] if self._handshake is None else self._handshake.start()

    def receive_untrusted(self, frame: bytes, now: int) -> list[Effect]:
        """Take one frame of the channel.

        After AskCandidates or AskStep the next frame may come before the answer, but an owner
        that answers first never meets the limit of early frames. Raises RemoteError when the link
        must end.
        """
        self._now = now
        try:
            if self._over:
                raise RemoteError("link-over")
            if len(frame) > MAX_FRAME:
                raise RemoteError("frame-too-long")
            if self._opening is not None:
                return self._received_untrusted(self._opening, frame, now)
            assert self._handshake is not None
            effects = self._handshake.receive_untrusted(frame)
            self.handshake_hash = self._handshake.hash
            return effects + self._finish_untrusted()
        except RemoteError:
            self._over = True
            raise

    def candidates(self, found: Sequence[Candidate]) -> list[Effect]:
        """Answer AskCandidates with everyone who may be at the other end.

        The initiator shows itself to at most MAX_PAGES pages of them, highest ranks first.
        """
        return [] if self._over else self._waiting().candidates(found)

    def stepped(self) -> list[Effect]:
        """Answer AskStep: the stepped key is durable. Raises RemoteError for bad early frames."""
        if self._over:
            return []
        try:
            return self._waiting().stepped() + self._finish_untrusted()
        except RemoteError:
            self._over = True
            raise

    def seal(self, message: LinkMessage, now: int) -> bytes:
        """Return the next frame, which carries one message; it must be sent.

        Raises ChannelClosed when the link is over, RuntimeError before it stands, ValueError when
        the message breaks one of its own bounds.
        """
        if self._over:
            raise ChannelClosed
        if self._sealing is None:
            raise RuntimeError("the link does not stand yet")
        self._sent = now
        return self._sealing.seal(encode_message(message), now)

    def tick(self, now: int) -> list[Effect]:
        """Do what is due; call it at `deadline` or any time."""
        self._now = now
        if self._over:
            return []
        if self._sealing is None:
            late = now >= self._started + HANDSHAKE_TIMEOUT * 1000
            return self._die("handshake-timeout") if late else []
        if now >= self._heard + DEAD_AFTER * 1000:
            return self._die("silent")
        if self._sealing.worn:
            return self._die("worn-out")
        if now >= self._sent + PING_AFTER * 1000:
            return [SendFrame(self.seal(Ping(self._entropy.take(TOKEN)), now))]
        return []

    def deadline(self) -> int:
        """Return when `tick` has something to do at the earliest."""
        if self._over:
            return NEVER
        if self._sealing is None:
            return self._started + HANDSHAKE_TIMEOUT * 1000
        return min(self._sent + PING_AFTER * 1000, self._heard + DEAD_AFTER * 1000)

    def _received_untrusted(self, opening: Opening, frame: bytes, now: int) -> list[Effect]:
        plaintext = opening.open_untrusted(frame)
        if plaintext is None:
            return []
        self._heard = now
        message = decode_message_untrusted(plaintext)
        kind = type(message)
        if kind is EnvelopeOut:
            return [Received(message)]
        if isinstance(message, Ping):
            return [SendFrame(self.seal(Pong(message.token), now))]
        if kind is Pong or kind is Unknown:
            return []
        return [Received(message)]

    def _waiting(self) -> Handshake:
        if self._handshake is None:
            raise RuntimeError("the link asked for nothing")
        return self._handshake

    def _finish_untrusted(self) -> list[Effect]:
        """Stand, once the handshake is done; then take the frames that came too early."""
        handshake = self._handshake
        if handshake is None or handshake.state is not State.DONE:
            return []
        outgoing, incoming = handshake.transport_keys()
        if handshake.proven is not None:
            self.peer = handshake.proven.candidate.ref
        self._handshake = None
        self._sealing = Sealing(outgoing, first=Number.FIRST, now=self._now)
        self._opening = Opening(incoming, first=Number.FIRST)
        self._sent = self._heard = self._now
        effects: list[Effect] = [Established(self.peer)]
        for frame in handshake.early:
            effects += self._received_untrusted(self._opening, frame, self._now)
        return effects

    def _die(self, reason: DeadReason) -> list[Effect]:
        self._over = True
        return [Dead(reason)]
