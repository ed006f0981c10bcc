"""A backup as a file: pieces of bytes under a generated phrase, padded, whole or not at all.

    magic 15 · version 1 · passes u32 · memory u64 · salt 16 · stream header 24
    chunks of 65,536 bytes + 17, the last one marked as such (libsodium's secretstream:
    XChaCha20-Poly1305); the first 44 bytes are associated with the first chunk

What the chunks hold: u32 length and bytes of each piece, a length of 0 after the last, zeros up to
the next size of a few. The key is Argon2id (RFC 9106) of the 16 bytes the phrase stands for.
"""

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from nacl import bindings, pwhash, utils
from nacl.exceptions import CryptoError

from p2pnode.errors import (
    Denied,
    InvalidInput,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreTooNew,
    WrongPassphrase,
)
from p2pnode.protocol import primitives
from p2pnode.protocol.pairing.words import value_of, word
from p2pnode.store.files import sync_folder
from p2pnode.store.keys import MODERATE, Cost

MAGIC = b"p2pnode backup\n"
VERSION = 1
_HEAD = struct.Struct(">IQ16s")
_STREAM = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_MORE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_LAST = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_EXTRA = bindings.crypto_secretstream_xchacha20poly1305_ABYTES

CHUNK = 65_536
"""Bytes sealed at once."""

MAX_PIECE = 1_100_000
"""Bytes of one piece: the largest config.toml, and some."""

SMALLEST = 262_144
"""Bytes of the smallest backup's contents; the others have 2, 4, 8 … times as many, so that the
size tells little of how much is in it."""

MAX_SIZE = 2**37
"""Bytes of a backup that are read at most."""

MAX_PASSES = 16
MAX_MEMORY = 2 * 1024**3
"""What a backup may ask of Argon2id: a hostile one must not stop the machine."""

SECRET = 16
"""Random bytes behind a phrase: 128 bits, one word each."""

CHECKS = 2
"""Words at a phrase's end that tell a slip of the pen: 1 in 65,536 goes unnoticed."""

_CHECK_LABEL = b"p2pnode phrase"


def new_phrase() -> str:
    """Return a fresh phrase of 18 words."""
    secret = utils.random(SECRET)
    return " ".join(word(value) for value in secret + _check(secret))


def phrase_secret(typed: str) -> bytes:
    """Return the 16 bytes a typed phrase stands for.

    Case, hyphens and line ends do not matter; a word may be cut after its fourth letter. Raises
    InvalidInput when it is no phrase, or has a wrong word in it.
    """
    parts = typed.replace("-", " ").split()
    if len(parts) != SECRET + CHECKS:
        raise InvalidInput(
            f"a phrase has {SECRET + CHECKS} words, these are {len(parts)}",
            hint="Type all of them, in their order.",
        )
    values = [value_of(part) for part in parts]
    for n, value in enumerate(values, 1):
        if value is None:
            raise InvalidInput(f"word {n} is none of the words phrases are made of")
    raw = bytes(value for value in values if value is not None)
    if _check(raw[:SECRET]) != raw[SECRET:]:
        raise InvalidInput("a word of the phrase is wrong, or two have changed places")
    return raw[:SECRET]


def _check(secret: bytes) -> bytes:
    return primitives.digest(_CHECK_LABEL, secret, size=CHECKS)


def write(path: Path, phrase: str, pieces: Iterable[bytes], *, cost: Cost = MODERATE) -> int:
    """Write a backup (mode 0600) that is whole after a power cut, or not there; return its bytes.

    Raises InvalidInput when something is at path already, Denied, StoreFull or StoreError.
    """
    if not path.name:
        raise InvalidInput(f"{path} is no place for a file")
    key = pwhash.argon2id.kdf(
        primitives.KEY, phrase_secret(phrase), salt := utils.random(16), *cost
    )
    draft = path.with_name(f"{path.name}.part")
    try:
        _refuse_existing(path)
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                _seal(file, key, _HEAD.pack(*cost, salt), pieces)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            _refuse_existing(path)
            draft.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        sync_folder(path.parent)
    except PermissionError as error:
        raise Denied(f"{path} cannot be written", why=error.strerror or "") from None
    except OSError as error:
        if error.errno == 28:
            raise StoreFull("the disk is full, no backup was made", hint="Make room") from None
        raise StoreError("the backup cannot be written", why=str(error)) from None
    return size


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise InvalidInput(f"{path} is there already", hint="Name a file that is not.")


def _seal(file: BinaryIO, key: bytes, head: bytes, pieces: Iterable[bytes]) -> None:
    associated: bytes | None = MAGIC + bytes((VERSION,)) + head
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    assert associated is not None
    file.write(associated + header)
    waiting, done = bytearray(), 0

    def push(chunk: bytes, tag: int) -> None:
        nonlocal associated, done
        file.write(
            bindings.crypto_secretstream_xchacha20poly1305_push(state, chunk, associated, tag)
        )
        associated = None
        done += len(chunk)

    def drain() -> None:
        while len(waiting) > CHUNK:
            push(bytes(waiting[:CHUNK]), _MORE)
            del waiting[:CHUNK]

    for piece in pieces:
        if not 0 < len(piece) <= MAX_PIECE:
            raise ValueError("a piece of a backup that is empty or too long")
        waiting += len(piece).to_bytes(4, "big") + piece
        drain()
    waiting += bytes(4)
    drain()
    total = SMALLEST
    while total < done + len(waiting):
        total *= 2
    while total - done > CHUNK:
        push(bytes(waiting).ljust(CHUNK, b"\0"), _MORE)
        waiting.clear()
    push(bytes(waiting).ljust(CHUNK, b"\0"), _LAST)


def read_untrusted(path: Path, phrase: str) -> Iterator[bytes]:
    """Yield the pieces of a backup; what was yielded counts only when the end was reached.

    Raises InvalidInput (no phrase), WrongPassphrase (it does not open this), StoreCorrupt (no
    backup, cut off or changed), StoreTooNew, Denied, StoreError.
    """
    secret = phrase_secret(phrase)
    try:
        with path.open("rb") as file:
            yield from _pieces_untrusted(file, secret)
    except PermissionError as error:
        raise Denied(f"{path} cannot be read", why=error.strerror or "") from None
    except OSError as error:
        raise StoreError("the backup cannot be read", why=str(error)) from None


def _pieces_untrusted(file: BinaryIO, secret: bytes) -> Iterator[bytes]:
    damaged = StoreCorrupt("the backup is damaged", hint="Use another copy of it")
    waiting = bytearray()
    over = False
    for chunk in _chunks_untrusted(file, secret):
        waiting += chunk
        while not over and len(waiting) >= 4:
            size = int.from_bytes(waiting[:4], "big")
            if size > MAX_PIECE:
                raise damaged
            over = size == 0
            if over or len(waiting) < 4 + size:
                break
            yield bytes(waiting[4 : 4 + size])
            del waiting[: 4 + size]
        if over:
            if any(waiting):
                raise damaged
            waiting.clear()
    if not over:
        raise damaged


def _chunks_untrusted(file: BinaryIO, secret: bytes) -> Iterator[bytes]:
    start = file.read(len(MAGIC) + 1 + _HEAD.size)
    header = file.read(_STREAM)
    if not start.startswith(MAGIC):
        raise StoreCorrupt("this is no backup of p2pnode", hint="Is it the right file?")
    if len(start) > len(MAGIC) and start[len(MAGIC)] > VERSION:
        raise StoreTooNew(
            "the backup was written by a newer p2pnode", hint="Install that version first"
        )
    damaged = StoreCorrupt("the backup is damaged", hint="Use another copy of it")
    if len(header) != _STREAM or start[len(MAGIC)] != VERSION:
        raise damaged
    passes, memory, salt = _HEAD.unpack(start[len(MAGIC) + 1 :])
    least = pwhash.argon2id.OPSLIMIT_MIN, pwhash.argon2id.MEMLIMIT_MIN
    if not (least[0] <= passes <= MAX_PASSES and least[1] <= memory <= MAX_MEMORY):
        raise damaged
    try:
        key = pwhash.argon2id.kdf(primitives.KEY, secret, salt, passes, memory)
    except (MemoryError, RuntimeError) as error:
        raise StoreError(
            "the phrase could not be checked", why=f"it takes {memory >> 20} MiB of memory"
        ) from error
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    associated: bytes | None = start
    read = 0
    while True:
        sealed = file.read(CHUNK + _EXTRA)
        read += len(sealed)
        if len(sealed) != CHUNK + _EXTRA or read > MAX_SIZE:
            raise damaged
        try:
            chunk, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(
                state, sealed, associated
            )
        except (CryptoError, ValueError, RuntimeError):
            if associated is not None:
                raise WrongPassphrase(
                    "this phrase does not open the backup",
                    why="it belongs to another one, or the file was changed",
                ) from None
            raise damaged from None
        associated = None
        yield chunk
        if tag == _LAST:
            break
    if file.read(1):
        raise damaged
