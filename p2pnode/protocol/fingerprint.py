"""The fingerprint of an account: what people compare to know whose key it is.

Exact bytes: docs/protocol/identity.md.
"""

from base64 import b32decode, b32encode

from p2pnode.errors import InvalidInput
from p2pnode.protocol import primitives
from p2pnode.protocol.pairing.words import value_of, word

WORDS = 16
"""Words of a spoken fingerprint: its first 128 bits, out of reach of any search."""

_LABEL = b"p2pnode finger"
_VERSION = 1
_SIZE = 32
_CHARACTERS = 52
_MAX_TYPED = 512


def fingerprint(account: bytes) -> bytes:
    """Return the 32-byte fingerprint of an account's public key."""
    return primitives.digest(_LABEL, bytes([_VERSION]), account, size=_SIZE)


def grouped(print_: bytes) -> str:
    """Return all 256 bits as 13 groups of four base32 characters."""
    text = b32encode(print_).decode("ascii").rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, _CHARACTERS, 4))


def words(print_: bytes) -> list[str]:
    """Return the first 128 bits as 16 words."""
    return [word(value) for value in print_[:WORDS]]


def matches(print_: bytes, typed: str) -> bool:
    """Tell whether a fingerprint that a person typed is this one.

    typed: all 13 groups or all 16 words, in either case, with spaces or hyphens between or not
    between groups; a word may be cut after its fourth letter. Raises InvalidInput when it is
    neither, so that a slip of the finger is not taken for another key.
    """
    given = _typed(typed)
    return primitives.same(print_[: len(given)], given)


def _typed(typed: str) -> bytes:
    parts = typed.replace("-", " ").split() if len(typed) <= _MAX_TYPED else []
    if len(parts) == WORDS:
        values = [value_of(part) for part in parts]
        unknown = [part for part, value in zip(parts, values, strict=True) if value is None]
        if not unknown:
            return bytes(value for value in values if value is not None)
    joined = "".join(parts)
    if len(joined) == _CHARACTERS and joined.isascii():
        try:
            raw = b32decode(joined.upper() + "====")
        except ValueError:
            raw = b""
        if len(raw) == _SIZE and b32encode(raw)[:_CHARACTERS].decode("ascii") == joined.upper():
            return raw
    raise InvalidInput(
        "this is not a whole fingerprint",
        hint=f"Type all {_CHARACTERS // 4} groups or all {WORDS} words",
    )
