"""One channel as a machine without IO: frames in, fragments out, and back.

Whatever the medium does to fragments (loses, doubles, reorders them), the frames come out whole,
once and in order, or the pipe ends. Times are seconds of a clock that never goes back; the caller
gives them. `outgoing` is asked for one fragment after the other, so the caller decides whose turn
it is.
"""

from collections import deque
from dataclasses import dataclass

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import MAX_FRAME
from p2pnode_ble.wire import HEADER, WINDOW, Fragment, Kind, encode, nearest

MAX_UNSENT = 8_192
"""Bytes of whole frames that wait to be sent before `room` is gone: enough to keep the air busy,
and little for a new frame to be behind."""

MAX_UNREAD = 65_536
"""Bytes of whole frames that wait to be taken before the other side gets no more credit."""

ACK_EVERY = 8
"""Numbered fragments that arrive before they are acknowledged at once."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds.

    ack: what arrived is acknowledged after that, sooner when something else is sent.
    resend, resend_at_most: without progress the oldest fragments go again; doubles.
    keep_alive: something is sent at least that often.
    silent: a peer not heard for that long is gone.
    stalled: so is one that acknowledges nothing of what it got for that long.
    opening: the other side answers an opening within that time.
    linger: what was sent before the end has that long to arrive.
    """

    ack: float = 0.05
    resend: float = 6.0
    resend_at_most: float = 24.0
    keep_alive: float = 8.0
    silent: float = 25.0
    stalled: float = 60.0
    opening: float = 15.0
    linger: float = 10.0


class Pipe:
    """One end of a channel. Frames are bytes of 1 to MAX_FRAME; `ended` says that it is over."""

    def __init__(self, line: bytes, channel: int, *, opener: bool, times: Times, now: float):
        self.ended = False
        self.established = not opener
        self._line, self._channel, self._times = line, channel, times
        self._heard = self._sent = self._moved = self._began = now
        self._closing: float | None = None  # when our side began to close
        self._reset_due = False
        # Sending: fragments [base, next) are under way; below limit we have credit.
        self._unsent: deque[bytes] = deque()
        self._unsent_size = 0
        self._offset = 0  # how much of the first unsent frame is under way
        self._base = self._next = 0
        self._limit = WINDOW
        self._flight: dict[int, tuple[Kind, bytes]] = {}
        self._again: deque[int] = deque()
        self._patience = times.resend
        self._resend_at = now + times.resend
        self._open_due = opener
        self._close_sent = False
        # Receiving: below expected everything has come; below promised the peer has credit.
        self._opens = not opener  # the peer's number 0 must be OPEN
        self._expected = 0
        self._promised = WINDOW
        self._early: dict[int, Fragment] = {}
        self._parts = bytearray()
        self._unread: deque[bytes] = deque()
        self._unread_size = 0
        self._unacked = 0
        self._ack_at: float | None = None

    # The caller's side --------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Whether frames are still taken."""
        return not self.ended and self._closing is None

    @property
    def room(self) -> bool:
        """Whether another frame may be put in now."""
        return self._unsent_size < MAX_UNSENT

    @property
    def over(self) -> bool:
        """Whether nothing is left to be sent, not even a goodbye: it may be forgotten."""
        return self.ended and not self._reset_due and self._ack_at is None

    def put(self, frame: bytes) -> None:
        """Queue a frame. Only while `writable` and `room`."""
        self._unsent.append(frame)
        self._unsent_size += len(frame)

    def take(self, now: float) -> bytes | None:
        """Return the next whole frame, None when there is none (yet, or any more if `ended`)."""
        if not self._unread:
            return None
        frame = self._unread.popleft()
        held_up = self._unread_size >= MAX_UNREAD
        self._unread_size -= len(frame)
        if held_up and self._unread_size < MAX_UNREAD and not self.ended:
            self._ack_at = now
        return frame

    def close(self, now: float) -> None:
        """Send what is queued, then the end; drop what was not taken."""
        if not self.established:
            self.reset()
        if self._closing is None:
            self._closing = now
            self._unread.clear()
            self._unread_size = 0
            self._parts.clear()

    def reset(self) -> None:
        """End at once and tell the other side."""
        if not self.ended:
            self._end()
            self._reset_due = True

    def vanish(self) -> None:
        """End at once; nobody can be told."""
        self._end()
        self._reset_due = False
        self._ack_at = None

    # Fragments in -------------------------------------------------------------------------------

    def receive_untrusted(self, fragment: Fragment, now: float) -> None:
        """Take a foreign fragment of this channel.

        Raises RemoteError when it breaks the rules; the pipe is reset then.
        """
        if self.ended:
            return
        self._heard = now
        if fragment.kind is Kind.RESET:
            self.vanish()
            return
        try:
            self._acknowledged_untrusted(fragment, now)
            if fragment.numbered and not self.ended:
                self._arrived_untrusted(fragment, now)
        except RemoteError:
            self.reset()
            raise

    def _acknowledged_untrusted(self, fragment: Fragment, now: float) -> None:
        ack = nearest(self._base, fragment.ack)
        if ack > self._next:
            raise RemoteError("ble-ack-of-nothing")
        self._limit = max(self._limit, ack + ((fragment.limit - fragment.ack) & 0xFFFF))
        if ack <= self._base:
            return
        for number in range(self._base, ack):
            kind, _ = self._flight.pop(number)
            self.established = self.established or kind is Kind.OPEN
            if kind is Kind.CLOSE:
                self.vanish()
        self._base = ack
        self._moved = now
        self._patience = self._times.resend
        self._resend_at = now + self._patience
        while self._again and self._again[0] < ack:
            self._again.popleft()

    def _arrived_untrusted(self, fragment: Fragment, now: float) -> None:
        number = nearest(self._expected, fragment.number)
        if number >= self._promised:
            raise RemoteError("ble-beyond-credit")
        if number < self._expected:
            self._ack_at = now  # it came again: the other side has missed our word
            return
        self._early.setdefault(number, fragment)
        while self._expected in self._early:
            self._accept_untrusted(self._early.pop(self._expected))
            self._expected += 1
            self._unacked += 1
        if self.ended or self._unacked >= ACK_EVERY:
            self._ack_at = now
        elif self._ack_at is None:
            self._ack_at = now + self._times.ack

    def _accept_untrusted(self, fragment: Fragment) -> None:
        """Take the fragment whose turn it is."""
        if self.ended:
            raise RemoteError("ble-after-close")
        opening = self._opens and not self._expected
        if (fragment.kind is Kind.OPEN) != opening:
            raise RemoteError("ble-not-opened")
        if fragment.kind is Kind.OPEN:
            return
        if fragment.kind is Kind.CLOSE:
            if self._parts:
                raise RemoteError("ble-torn-frame")
            self._end()
            return
        if len(self._parts) + len(fragment.body) > MAX_FRAME:
            raise RemoteError("ble-frame-size")
        self._parts += fragment.body
        if fragment.kind is Kind.LAST:
            if self._closing is None:
                self._unread.append(bytes(self._parts))
                self._unread_size += len(self._parts)
            self._parts.clear()

    # Fragments out ------------------------------------------------------------------------------

    def outgoing(self, now: float, size: int) -> bytes | None:
        """Return the next fragment, at most size bytes, or None when there is nothing to say."""
        self._check_times(now)
        if self._reset_due:
            self._reset_due, self._ack_at = False, None
            return self._say(Kind.RESET, 0, b"", now)
        if not self.ended:
            if self._again:
                number = self._again.popleft()
                return self._say(self._flight[number][0], number, self._flight[number][1], now)
            fresh = self._fresh(size)
            if fresh is not None:
                number = self._next
                if not self._flight:
                    self._moved = now
                    self._resend_at = now + self._patience
                self._flight[number] = fresh
                self._next += 1
                return self._say(fresh[0], number, fresh[1], now)
        if self._ack_at is not None and self._ack_at <= now:
            return self._say(Kind.STATE, 0, b"", now)
        if self._keeps_alive() and self._sent + self._times.keep_alive <= now:
            return self._say(Kind.STATE, 0, b"", now)
        return None

    def due(self, now: float) -> float:
        """Return when `outgoing` will have something to do, if nothing else happens before."""
        if self._reset_due or (not self.ended and (self._again or self._may_send())):
            return now
        times = [] if self._ack_at is None else [self._ack_at]
        if not self.ended:
            times.append(self._heard + self._times.silent)
            if self._keeps_alive():
                times.append(self._sent + self._times.keep_alive)
            if self._flight:
                times += [self._resend_at, self._moved + self._times.stalled]
            if not self.established:
                times.append(self._began + self._times.opening)
            if self._closing is not None:
                times.append(self._closing + self._times.linger)
        return min(times, default=float("inf"))

    def _check_times(self, now: float) -> None:
        if self.ended:
            return
        stalled = bool(self._flight) and now >= self._moved + self._times.stalled
        unanswered = not self.established and now >= self._began + self._times.opening
        lingered = self._closing is not None and now >= self._closing + self._times.linger
        if stalled or unanswered or lingered or now >= self._heard + self._times.silent:
            self.reset()
        elif self._flight and now >= self._resend_at:
            self._again = deque(sorted(self._flight)[:ACK_EVERY])
            self._patience = min(2 * self._patience, self._times.resend_at_most)
            self._resend_at = now + self._patience

    def _keeps_alive(self) -> bool:
        """Tell whether the other side knows the channel: if it does not, it would refuse it."""
        return self.established and not self.ended

    def _may_send(self) -> bool:
        if self._next >= self._limit or self._next - self._base >= WINDOW:
            return False
        if self._open_due:
            return True
        waiting = bool(self._unsent) or self._closing is not None
        return waiting and self.established and not self._close_sent

    def _fresh(self, size: int) -> tuple[Kind, bytes] | None:
        """Cut the next numbered fragment off what waits."""
        if not self._may_send():
            return None
        if self._open_due:
            self._open_due = False
            return Kind.OPEN, b""
        if not self._unsent:
            self._close_sent = True
            return Kind.CLOSE, b""
        frame, start = self._unsent[0], self._offset
        self._offset = start + size - HEADER
        if self._offset < len(frame):
            return Kind.PART, frame[start : self._offset]
        self._unsent.popleft()
        self._unsent_size -= len(frame)
        self._offset = 0
        return Kind.LAST, frame[start:]

    def _say(self, kind: Kind, number: int, body: bytes, now: float) -> bytes:
        if self._unread_size < MAX_UNREAD:
            self._promised = self._expected + WINDOW
        self._sent = now
        self._unacked = 0
        self._ack_at = None
        ack, limit = self._expected, self._promised
        return encode(Fragment(self._line, self._channel, kind, number, ack, limit, body))

    def _end(self) -> None:
        self.ended = True
        self._flight.clear()
        self._again.clear()
        self._early.clear()
        self._parts.clear()
        self._unsent.clear()
        self._unsent_size = self._offset = 0
