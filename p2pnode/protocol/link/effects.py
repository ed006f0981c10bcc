"""What comes out of a link: frames to send, questions to its owner, and what happened."""

from collections.abc import Hashable
from typing import Literal

import msgspec

from p2pnode.protocol.link.messages import LinkMessage

DeadReason = Literal["handshake-timeout", "silent", "worn-out"]


class SendFrame(msgspec.Struct, frozen=True, gc=False):
    """Send this frame on the channel, in the order of the effects."""

    frame: bytes


class AskCandidates(msgspec.Struct, frozen=True, gc=False):
    """Find everyone who may be at the other end and answer with `Link.candidates`."""


class AskStep(msgspec.Struct, frozen=True):
    """Step the link key of `ref` durably (`keys.stepped(key, proven)`), then call `Link.stepped`.

    Nothing more leaves the link before that answer.
    """

    ref: Hashable
    proven: int


class Established(msgspec.Struct, frozen=True):
    """The link stands. peer: the candidate's ref, or None for a stranger. Send Hello now."""

    peer: Hashable | None


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message came."""

    message: LinkMessage


class Dead(msgspec.Struct, frozen=True, gc=False):
    """The link is over; close the channel."""

    reason: DeadReason


Effect = SendFrame | AskCandidates | AskStep | Established | Received | Dead
