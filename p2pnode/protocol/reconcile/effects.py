"""What comes out of a reconciliation: pieces to send, questions to the store, and the result."""

import msgspec

from p2pnode.ids import EnvelopeId


class SendReconcile(msgspec.Struct, frozen=True, gc=False):
    """Send these bytes, at most MAX_RECONCILE, to the other side; order does not matter."""

    raw: bytes


class ReadDigests(msgspec.Struct, frozen=True, gc=False):
    """Read the leaves of the set and answer with `Reconciler.digests`.

    recent: only what is new since the checkpoint and not known to be at the other side, else
    everything. Take note of the store's position now: it belongs to this exchange's token.
    """

    recent: bool


class ReadIds(msgspec.Struct, frozen=True, gc=False):
    """Read the ids in these leaves of the same set and answer with `Reconciler.ids`."""

    recent: bool
    buckets: tuple[int, ...]


class Found(msgspec.Struct, frozen=True):
    """The result at this side, given once.

    they_lack: at most MAX_FOUND ids to send. we_lack: how many ids the other side found to send
    here; a claim.
    """

    they_lack: tuple[EnvelopeId, ...]
    we_lack: int


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The exchange is over. token: the checkpoint to keep once everything found has arrived.

    None when more may differ than was found: keep no checkpoint, the next exchange is full.
    """

    token: bytes | None


Effect = SendReconcile | ReadDigests | ReadIds | Found | Finished
