"""Frames after the Noise handshake: numbered, sealed, rekeyed; repeats refused, disorder borne.

A frame is an 8-byte header (16-bit epoch, 48-bit sequence, big-endian), which is the associated
data, and ChaCha20-Poly1305 ciphertext with its tag; the nonce is four zero bytes and the header.
The sequence runs on through the epochs; each epoch's key comes from the one before it by REKEY.
"""

from struct import Struct

from p2pnode.errors import RemoteError
from p2pnode.protocol.limits import MAX_BAD_FRAMES, REKEY_AFTER, REPLAY_WINDOW
from p2pnode.protocol.link.noise import rekeyed
from p2pnode.protocol.primitives import AEAD_TAG, ChaChaPoly

HEADER = 8
SMALLEST = HEADER + AEAD_TAG
EPOCH_FRAMES = 2**32
"""Frames under one key at most."""

LAST_EPOCH = 0xFFFE
"""After it the link is worn out; the nonce of REKEY, all ones, is therefore never a frame's."""

_NUMBER = Struct(">Q")
_NONCE = bytes(4)
_SEQUENCE_BITS = 48
_SEQUENCE = 2**_SEQUENCE_BITS - 1
_WINDOW = 2**REPLAY_WINDOW - 1


def number_untrusted(frame: bytes) -> int:
    """Return a frame's header as a number. Raises RemoteError when the frame is too short."""
    if len(frame) < SMALLEST:
        raise RemoteError("frame-too-short")
    return int.from_bytes(frame[:HEADER], "big")


def seal_numbered(cipher: ChaChaPoly, number: int, plaintext: bytes) -> bytes:
    """Return the frame with this header."""
    header = _NUMBER.pack(number)
    return header + cipher.seal(_NONCE + header, plaintext, header)


def open_numbered_untrusted(cipher: ChaChaPoly, frame: bytes) -> bytes:
    """Return a frame's plaintext. Raises RemoteError when it does not authenticate."""
    header = frame[:HEADER]
    return cipher.open_untrusted(_NONCE + header, frame[HEADER:], header)


class Sealing:
    """The outgoing half of a link's frames. first: the sequence of the first one."""

    __slots__ = ("_cipher", "_key", "_next", "_rekey_at", "_rekey_from", "worn")

    def __init__(self, key: bytes, *, first: int, now: int) -> None:
        self.worn = False
        self._next = first
        self._begin(key, now)

    def seal(self, plaintext: bytes, now: int) -> bytes:
        """Return the next frame; moves to the next key first when the present one is old."""
        if now >= self._rekey_at or self._next >= self._rekey_from:
            self._rekey(now)
        number = self._next
        self._next = number + 1
        return seal_numbered(self._cipher, number, plaintext)

    def _begin(self, key: bytes, now: int) -> None:
        self._key = key
        self._cipher = ChaChaPoly(key)
        self._rekey_at = now + REKEY_AFTER * 1000
        self._rekey_from = self._next + EPOCH_FRAMES

    def _rekey(self, now: int) -> None:
        if self._next >> _SEQUENCE_BITS >= LAST_EPOCH:
            self.worn = True
            return
        self._next += 1 << _SEQUENCE_BITS
        self._begin(rekeyed(self._key), now)


class Opening:
    """The incoming half. first: the lowest sequence that may come.

    repeated: frames refused because they came before or too late. bad: frames that did not
    authenticate. Both kinds are dropped, since a medium may repeat, delay and garble.
    """

    __slots__ = (
        "_current",
        "_epoch",
        "_following",
        "_highest",
        "_key",
        "_previous",
        "_seen",
        "bad",
        "repeated",
    )

    def __init__(self, key: bytes, *, first: int) -> None:
        self._key = key
        self._epoch = 0
        self._previous: ChaChaPoly | None = None
        self._current = ChaChaPoly(key)
        self._following: ChaChaPoly | None = None
        self._highest = first - 1
        self._seen = _WINDOW
        self.repeated = 0
        self.bad = 0

    def open_untrusted(self, frame: bytes) -> bytes | None:
        """Return a frame's plaintext, or None when the frame is dropped.

        Raises RemoteError after more than MAX_BAD_FRAMES that do not authenticate.
        """
        if len(frame) < SMALLEST:
            self._count_bad()
            return None
        header = frame[:HEADER]
        number = int.from_bytes(header, "big")
        ahead = (number & _SEQUENCE) - self._highest
        if ahead <= 0 and (ahead <= -REPLAY_WINDOW or self._seen >> -ahead & 1):
            self.repeated += 1
            return None
        epoch = number >> _SEQUENCE_BITS
        cipher = self._current if epoch == self._epoch else self._cipher_of(epoch)
        if cipher is None:
            self._count_bad()
            return None
        try:
            plaintext = cipher.open_untrusted(_NONCE + header, frame[HEADER:], header)
        except RemoteError:
            self._count_bad()
            return None
        if ahead <= 0:
            self._seen |= 1 << -ahead
        else:
            # A far jump must not shift by its own length: that would be a 35 TB integer.
            self._seen = (self._seen << ahead | 1) & _WINDOW if ahead < REPLAY_WINDOW else 1
            self._highest += ahead
        if epoch > self._epoch:
            self._advance(cipher)
        return plaintext

    def _cipher_of(self, epoch: int) -> ChaChaPoly | None:
        if epoch == self._epoch - 1:
            return self._previous
        if epoch == self._epoch + 1:
            if self._following is None:
                self._following = ChaChaPoly(rekeyed(self._key))
            return self._following
        return None

    def _advance(self, cipher: ChaChaPoly) -> None:
        self._key = rekeyed(self._key)
        self._epoch += 1
        self._previous, self._current, self._following = self._current, cipher, None

    def _count_bad(self) -> None:
        self.bad += 1
        if self.bad > MAX_BAD_FRAMES:
            raise RemoteError("too-many-bad-frames")
