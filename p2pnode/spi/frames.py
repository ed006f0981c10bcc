"""Frames on a stream of bytes: four bytes of length, big-endian, then the frame."""

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import MAX_FRAME

LENGTH = 4
"""Bytes before a frame that tell its length."""


def framed(frame: bytes) -> bytes:
    """Return a frame as it goes onto a stream. Raises ValueError when it is empty or too long."""
    if not 0 < len(frame) <= MAX_FRAME:
        raise ValueError("a frame has 1 to MAX_FRAME bytes")
    return len(frame).to_bytes(LENGTH, "big") + frame


class FrameReader:
    """Takes frames off what has come of a stream; holds one read and one frame at most.

    Has no clock: `began` is told the time, so that a channel can end when half a frame is all that
    ever comes.
    """

    def __init__(self) -> None:
        self._block = b""  # what came in one read, with the beginning of a frame before it
        self._at = 0  # how much of the block is used up
        self._began: float | None = None

    def take_untrusted(self) -> bytes | None:
        """Return the next whole frame; None when there is none yet.

        Raises RemoteError for a length of zero or above MAX_FRAME.
        """
        start = self._at + LENGTH
        if len(self._block) < start:
            return None
        size = int.from_bytes(self._block[self._at : start], "big")
        if not 0 < size <= MAX_FRAME:
            raise RemoteError("bad-frame-length")
        if len(self._block) < start + size:
            return None
        self._at = start + size
        self._began = None
        return self._block[start : self._at]

    def began(self, now: float) -> float | None:
        """Return when the unfinished frame began, now if that is new; None when there is none."""
        if self._began is None and self._at < len(self._block):
            self._began = now
        return self._began

    def add(self, fresh: bytes) -> None:
        """Take in what has come."""
        rest = self._block[self._at :]
        self._block = rest + fresh if rest else fresh
        self._at = 0

    def clear(self) -> None:
        """Forget what has come."""
        self._block, self._at, self._began = b"", 0, None
