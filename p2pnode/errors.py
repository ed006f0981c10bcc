"""The whole error tree on one page.

Two families say who erred: `LocalError` (this node, its person, its machine) and `RemoteError`
(bytes that came from outside). Each local error says what happened, why, and what to do next, and
carries the exit code of the command line and the `code` scripts see over the local API.
"""

from typing import ClassVar


class P2PNodeError(Exception):
    """Root of every error raised on purpose by p2pnode."""


class RemoteError(P2PNodeError):
    """Foreign bytes were wrong. `reason` is a short constant slug, safe to count and to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LocalError(P2PNodeError):
    """Something on this side failed; `what`, `why` and `hint` (the next step) are for people."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.hint:
            text += f". {self.hint}"
        return text


class InvalidInput(LocalError):
    """The person or client asked for something that cannot be."""

    code = "invalid-input"
    exit_code = 2


class NoDaemon(LocalError):
    """No daemon answers on the home's socket."""

    code = "no-daemon"
    exit_code = 3


class UnknownContact(LocalError):
    """No contact (or more than one) fits the name."""

    code = "unknown-contact"
    exit_code = 4


class UntrustedKey(LocalError):
    """A key is not what it was, or was not confirmed; nothing was sent."""

    code = "untrusted-key"
    exit_code = 5


class PairingFailed(UntrustedKey):
    """A pairing was refused, expired or did not match; it left no contact."""

    code = "pairing-failed"


class NotDelivered(LocalError):
    """The wait ended before the message reached the state; it stays queued."""

    code = "not-delivered"
    exit_code = 6


class VaultLocked(LocalError):
    """The vault needs its passphrase or key file first."""

    code = "locked"
    exit_code = 7


class WrongPassphrase(VaultLocked):
    """The passphrase or key file does not open this vault."""

    code = "wrong-passphrase"


class ConfigError(LocalError):
    """The configuration cannot be used."""

    code = "config"
    exit_code = 8


class StoreError(LocalError):
    """A store cannot be used."""

    code = "store"
    exit_code = 8


class StoreFull(StoreError):
    """The disk is full; nothing of the turn was written."""

    code = "store-full"


class StoreCorrupt(StoreError):
    """The store's bytes are not what was written."""

    code = "store-corrupt"


class StoreTooNew(StoreError):
    """The store was written by a newer version."""

    code = "store-too-new"


class HomeInUse(StoreError):
    """Another daemon holds this home."""

    code = "home-in-use"


class Denied(LocalError):
    """The operating system or a permission refuses."""

    code = "denied"
    exit_code = 9


class TransportUnavailable(LocalError):
    """A transport cannot run here (no driver, adapter or permission); the node goes on without."""

    code = "transport-unavailable"


class ChannelClosed(P2PNodeError):
    """The channel ended, from either side or by the medium."""


def find(code: str) -> type[LocalError]:
    """Return the error class that carries `code`; `LocalError` when there is none."""
    todo: list[type[LocalError]] = [LocalError]
    while todo:
        kind = todo.pop()
        if kind.code == code:
            return kind
        todo += kind.__subclasses__()
    return LocalError
