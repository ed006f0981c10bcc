"""What comes on a link, before and after the handshake."""

from typing import NamedTuple

from p2pnode.protocol import envelope, pieces
from p2pnode.protocol.link import layout, recognition
from p2pnode.protocol.link import messages as link_messages
from p2pnode.protocol.link.frames import seal_numbered
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.primitives import ChaChaPoly
from p2pnode.spi.frames import FrameReader, framed
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.moments import chosen, moments
from tests.fuzz.samples import vectors
from tests.link_ends import End, end, pair_keys


def _ends() -> tuple[End, End]:
    one, other = pair_keys()
    return (
        end(initiator=True, known=[Candidate("bob", one)], marks=64),
        end(initiator=False, known=[Candidate("alice", other)], marks=64),
    )


_HANDSHAKE = 6
"""Frames in a handshake; by turns they are the initiator's and the responder's."""


class _Moment(NamedTuple):
    receiver: End
    sender: End
    sealing: ChaChaPoly | None
    """What the sender seals its handshake frames with, once it can."""
    carried: list[bytes]


def _until(frames: int) -> _Moment:
    """Carry so many frames between two ends; the receiver is who would get the next one."""
    sender, receiver = _ends()
    waiting, carried = sender.take(sender.link.start()), []
    sealing: dict[bool, ChaChaPoly | None] = {True: None, False: None}
    for number in range(frames):
        carried.append(waiting.pop(0))
        waiting += receiver.receive(carried[-1])
        handshake = receiver.link._handshake
        if handshake is not None:
            sealing[number % 2 == 1] = handshake._sealing
        receiver, sender = sender, receiver
    return _Moment(receiver, sender, sealing[frames % 2 == 0], carried)


def _plain_messages() -> list[bytes]:
    """Return link messages, and for every kind there may be some of plausible sizes."""
    sizes = (0, 1, 2, 8, 16, 32, 33, 48, 1_023, 4_098)
    blank = [bytes((kind,)) + bytes(size) for kind in range(24) for size in sizes]
    counted = [bytes((kind,)) + b"\0\7" + bytes(range(62)) for kind in range(24)]
    hello = link_messages.Hello(1, 0, (link_messages.Statement(b"12345678", 1, 2),))
    addresses = link_messages.Addresses((("lan", (b"\4\x0a\0\0\1\x10\0",)),))
    own = [layout.encode_message(one) for one in (hello, addresses)]
    return own + vectors("link", "messages") + vectors("link", "refused_messages") + blank + counted


def _messages() -> Prepared:
    return _plain_messages(), layout.decode_message_untrusted


def _pieces() -> Prepared:
    """A foreign message after some true pieces of an envelope; nothing else ever comes of them."""
    body = bytes(range(256)) * 64
    true = list(pieces.cut(envelope.envelope_id(body), 0, body))

    def receive(raw: bytes) -> None:
        place, told = chosen(raw)
        held: pieces.Partial | None = None
        for piece in true[: place % len(true)]:
            held = pieces.joined_untrusted(held, piece)
        message = layout.decode_message_untrusted(told)
        if isinstance(message, link_messages.Piece):
            held = pieces.joined_untrusted(held, message)
            assert not pieces.whole_untrusted(held) or held.raw == body

    return moments(*([layout.encode_message(piece)] for piece in true)), receive


def _frames() -> Prepared:
    """Foreign frames at any moment, and a second time; then the true one."""
    stood = _until(_HANDSHAKE)
    frames = [*stood.carried, stood.sender.link.seal(link_messages.Ping(b"12345678"), 0)]

    def receive(raw: bytes) -> None:
        place, frame = chosen(raw)
        here = _until(min(place % len(frames), _HANDSHAKE)).receiver
        here.receive(frame)
        here.receive(frame)

    early = (2).to_bytes(8) + bytes(30)  # as of a standing link
    refused = vectors("link", "refused_frames")
    return moments(*([frame, early] for frame in frames), refused), receive


def _sealed_frames() -> Prepared:
    """What the other end of a link can seal: pages, proofs, and messages once it stands."""
    pages = [bytes(range(256)) * (64 * 8 // 256), bytes(2 * 64 * 8)]
    proofs = [bytes(32)]

    def receive(raw: bytes) -> None:
        place, plaintext = chosen(raw)
        carried = 2 + place % (_HANDSHAKE - 1)
        moment = _until(carried)
        if carried == _HANDSHAKE:
            assert moment.sender.link._sealing is not None
            moment.receiver.receive(moment.sender.link._sealing.seal(plaintext, 0))
            return
        assert moment.sealing is not None
        moment.receiver.receive(seal_numbered(moment.sealing, carried // 2 - 1, plaintext))

    return moments(pages, pages, proofs, proofs, _plain_messages()), receive


def _pages() -> Prepared:
    sizes = [bytes(8 * marks) for marks in (64, 128, 256, 2_048, 1)]
    return sizes, recognition.check_size_untrusted


def _stream_frames() -> Prepared:
    """What comes of a stream, in two reads."""
    frames = [framed(bytes(size)) for size in (1, 32, 2_000)]
    bad = [bytes(4), b"\xff" * 8, (66_561).to_bytes(4) + bytes(100)]

    def read(raw: bytes) -> None:
        reader = FrameReader()
        for part in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
            reader.add(part)
            while reader.take_untrusted() is not None:
                pass

    return [*frames, *bad, frames[0] * 3 + frames[1], frames[2] + bad[1]], read


TARGETS = [
    Target("link.message", _messages),
    Target("link.pieces", _pieces, most=5_000),
    Target("link.frame", _frames),
    Target("link.sealed", _sealed_frames, most=66_000),
    Target("link.page", _pages),
    Target("spi.frames", _stream_frames, most=150_000),
]
