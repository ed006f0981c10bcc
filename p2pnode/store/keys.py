"""How the vault's key is kept: a small versioned file beside the vault.

The key is 32 random bytes. A passphrase (through Argon2id, RFC 9106) or a key file wraps it with
XChaCha20-Poly1305; the file's whole head is associated data, so nothing in it can be changed
unnoticed. Without either, the key lies in the file as it is, for machines whose disk is trusted or
encrypted otherwise. A checksum over everything tells damage from a wrong passphrase.
"""

from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from nacl import pwhash, utils

from p2pnode import disk
from p2pnode.errors import (
    InvalidInput,
    RemoteError,
    StoreCorrupt,
    StoreError,
    StoreTooNew,
    VaultLocked,
    WrongPassphrase,
)
from p2pnode.protocol import primitives
from p2pnode.store.files import destroy, draft_of, write_instead, write_whole

Kind = Literal["passphrase", "key-file", "none"]

MAGIC = b"p2pnode vault key\n"
VERSION = 1
KEY = 32
SALT = 16
CHECKSUM = 16

MIN_KEY_FILE = 32
MAX_KEY_FILE = 1_048_576
"""Bytes of a key file: at least a whole key, at most what is read into memory at once."""

MAX_FILE = 1024
"""Bytes of the vault's key file."""

MAX_PASSES = 64
MAX_MEMORY = 4 * 1024**3
"""What a key file may ask of Argon2id: a tampered one must not stop the machine."""

_KEY_FILE_LABEL = b"p2pnode key file"
_CHECKSUM_LABEL = b"p2pnode key sum"


class Cost(NamedTuple):
    """What one guess at a passphrase costs: passes, and bytes of memory."""

    passes: int
    memory: int


MODERATE = Cost(pwhash.argon2id.OPSLIMIT_MODERATE, pwhash.argon2id.MEMLIMIT_MODERATE)
"""3 passes over 256 MiB: about half a second on a laptop, a few on a small board."""


class Secret:
    """What opens a vault: a passphrase, or the path of a key file.

    It is forgotten once it was used, so that no frame that waits for the node's end keeps it.
    """

    __slots__ = ("key_file", "passphrase")

    def __init__(self, passphrase: bytes | None = None, key_file: Path | None = None) -> None:
        self.passphrase = passphrase
        self.key_file = key_file

    def forget(self) -> None:
        """Keep it no longer."""
        self.passphrase = self.key_file = None


class _Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is authenticated with the key: how it is wrapped. Unused values are 0 or empty."""

    kind: Kind
    passes: int
    memory: int
    salt: bytes
    nonce: bytes


class _File(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The file after magic and version: the encoded head, the (wrapped) key, the checksum."""

    head: bytes
    key: bytes
    checksum: bytes


def create(
    path: Path,
    *,
    passphrase: bytes | None,
    key_file: Path | None = None,
    cost: Cost = MODERATE,
) -> bytes:
    """Make a new vault key, keep it at path (mode 0600, atomically), and return its 32 bytes.

    Raises InvalidInput (both or an empty secret, a short key file), StoreError (one is there
    already, or the disk refuses).
    """
    if path.exists():
        raise StoreError("there is a vault key already", why=str(path))
    key = utils.random(KEY)
    write_whole(path, _kept(key, passphrase, key_file, cost))
    return key


def change(path: Path, old: Secret, new: Secret, *, cost: Cost = MODERATE) -> None:
    """Keep the same vault key under another secret, or under none; then forget both.

    After a power cut at any moment one of the two fits. The old file's bytes are overwritten, as
    far as the file system lets us; copies of it still open with the old secret. Raises what
    `unlock` and `create` raise; then nothing was changed.
    """
    try:
        forget_draft(path)
        key = unlock(path, passphrase=old.passphrase, key_file=old.key_file)
        write_instead(path, _kept(key, new.passphrase, new.key_file, cost))
    finally:
        old.forget()
        new.forget()


def forget_draft(path: Path) -> None:
    """Destroy what a change that a crash cut short left: the vault's key under the new secret, or
    bare where there was to be none, while the old one still seems to guard it."""
    with suppress(OSError):
        destroy(draft_of(path))


def _kept(key: bytes, passphrase: bytes | None, key_file: Path | None, cost: Cost) -> bytes:
    """Return the file that keeps a key. Raises InvalidInput, StoreError."""
    kind: Kind = "none"
    if passphrase is not None and key_file is not None:
        raise InvalidInput("give a passphrase or a key file, not both")
    if passphrase is not None:
        if not passphrase:
            raise InvalidInput("the passphrase is empty")
        kind = "passphrase"
    elif key_file is not None:
        kind = "key-file"
    passes, memory = cost if kind == "passphrase" else (0, 0)
    wrapped = kind != "none"
    head = _Head(
        kind,
        passes,
        memory,
        utils.random(SALT) if wrapped else b"",
        utils.random(primitives.NONCE) if wrapped else b"",
    )
    encoded = msgspec.msgpack.encode(head)
    if wrapped:
        wrapping = _wrapping_key(head, passphrase, key_file)
        stored = primitives.seal(wrapping, head.nonce, key, _associated(encoded))
    else:
        stored = key
    file = _File(encoded, stored, _checksum(encoded, stored))
    return MAGIC + bytes([VERSION]) + msgspec.msgpack.encode(file)


def kind(path: Path) -> Kind:
    """Return what unlocks the vault. Raises StoreError, StoreCorrupt or StoreTooNew."""
    return _read(path)[0].kind


def unlock(path: Path, *, passphrase: bytes | None, key_file: Path | None = None) -> bytes:
    """Return the vault's 32-byte key.

    Raises VaultLocked (the secret it needs is not given), WrongPassphrase (it does not fit, or the
    file was tampered with), StoreCorrupt (the file is damaged), StoreTooNew, StoreError.
    """
    head, encoded, stored = _read(path)
    if head.kind == "none":
        return stored
    if head.kind == "passphrase" and passphrase is None:
        raise VaultLocked("the vault is locked", hint="Give its passphrase")
    if head.kind == "key-file" and key_file is None:
        raise VaultLocked("the vault is locked", hint="Give its key file")
    wrapping = _wrapping_key(head, passphrase, key_file)
    try:
        return primitives.open_sealed(wrapping, head.nonce, stored, _associated(encoded))
    except RemoteError:
        what = "passphrase" if head.kind == "passphrase" else "key file"
        raise WrongPassphrase(
            f"this {what} does not open the vault", hint="Nothing was changed; try again"
        ) from None


def unlock_with(path: Path, secret: Secret) -> bytes:
    """Return the vault's 32-byte key, and forget the secret. Raises what `unlock` raises."""
    try:
        return unlock(path, passphrase=secret.passphrase, key_file=secret.key_file)
    finally:
        secret.forget()


def _wrapping_key(head: _Head, passphrase: bytes | None, key_file: Path | None) -> bytes:
    if head.kind == "passphrase":
        assert passphrase is not None  # seen to by the callers
        try:
            return pwhash.argon2id.kdf(
                primitives.KEY, passphrase, head.salt, head.passes, head.memory
            )
        except (MemoryError, RuntimeError) as error:
            raise StoreError(
                "the passphrase could not be checked",
                why=f"it takes {head.memory >> 20} MiB of memory",
            ) from error
    assert key_file is not None
    try:
        secret = disk.read(key_file, MAX_KEY_FILE)
    except OSError as error:
        raise InvalidInput("the key file cannot be read", why=str(error)) from None
    if not MIN_KEY_FILE <= len(secret) <= MAX_KEY_FILE:
        raise InvalidInput(f"a key file has {MIN_KEY_FILE} to {MAX_KEY_FILE} random bytes")
    return primitives.digest(_KEY_FILE_LABEL, head.salt, secret)


def _associated(head: bytes) -> bytes:
    return MAGIC + bytes([VERSION]) + head


def _checksum(head: bytes, stored: bytes) -> bytes:
    return primitives.digest(_CHECKSUM_LABEL, bytes([VERSION]), head, stored, size=CHECKSUM)


def _read(path: Path) -> tuple[_Head, bytes, bytes]:
    """Return head, encoded head and stored key of a sound file."""
    try:
        raw = disk.read(path, MAX_FILE)
    except OSError as error:
        raise StoreError("the vault's key file cannot be read", why=str(error)) from None
    damaged = StoreCorrupt(
        "the vault's key file is damaged", hint="Put back the copy from your backup"
    )
    if not raw.startswith(MAGIC) or len(raw) <= len(MAGIC) or len(raw) > MAX_FILE:
        raise damaged
    if raw[len(MAGIC)] > VERSION:
        raise StoreTooNew(
            "the vault's key file was written by a newer p2pnode",
            hint="Install that version again",
        )
    try:
        file = msgspec.msgpack.decode(raw[len(MAGIC) + 1 :], type=_File)
        head = msgspec.msgpack.decode(file.head, type=_Head)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise damaged from None
    wrapped = head.kind != "none"
    sizes = (KEY + primitives.AEAD_TAG, SALT, primitives.NONCE) if wrapped else (KEY, 0, 0)
    if (
        raw[len(MAGIC)] != VERSION
        or file.checksum != _checksum(file.head, file.key)
        or (len(file.key), len(head.salt), len(head.nonce)) != sizes
        or (head.kind == "passphrase" and not _affordable(head))
    ):
        raise damaged
    return head, file.head, file.key


def _affordable(head: _Head) -> bool:
    return (
        pwhash.argon2id.OPSLIMIT_MIN <= head.passes <= MAX_PASSES
        and pwhash.argon2id.MEMLIMIT_MIN <= head.memory <= MAX_MEMORY
    )
