"""The pairing code: what a QR shows, as a URI in the QR alphanumeric set.

`P2PNODE:` and base32 (RFC 4648, unpadded) of version ‖ contents ‖ commitment ‖ secret ‖ expiry
‖ onion address when there is one. 95 characters, or 151 with an onion: QR version 5-L at most,
so that it fits a terminal of 80 columns and 24 lines. Exact bytes: docs/protocol/pairing.md.
"""

import re
from base64 import b32decode, b32encode
from hashlib import sha3_256
from typing import Final

import msgspec

from p2pnode.errors import RemoteError
from p2pnode.protocol import primitives

SECRET = 16
ONION = 35
MAX_URI = 154
"""Characters a code may have: the capacity of QR version 5-L in alphanumeric mode."""

_SCHEME: Final = "P2PNODE:"
_VERSION: Final = 1
_HAS_ONION: Final = 1
_PLAIN: Final = 54
_LINK_LABEL = b"p2pnode codelink"
_COMMITMENT_LABEL = b"p2pnode code"
_LENGTHS = {len(_SCHEME) + -(-size * 8 // 5): size for size in (_PLAIN, _PLAIN + ONION)}
_SHAPE = re.compile(r"P2PNODE:[A-Z2-7]+", re.IGNORECASE | re.ASCII)


class Code(msgspec.Struct, frozen=True, array_like=True):
    """One pairing code.

    commitment: 32 bytes that bind the shower's reveal; secret: 16 bytes, used once; expires:
    minutes since 1970, enforced by the one who shows it; onion: a 35-byte v3 onion address
    (public key, checksum, version), or None.
    """

    commitment: bytes
    secret: bytes
    expires: int
    onion: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The bytes behind the URI; both sides hash them."""
        contents = _HAS_ONION if self.onion is not None else 0
        start = bytes([_VERSION, contents]) + self.commitment + self.secret
        return start + self.expires.to_bytes(4, "big") + (self.onion or b"")


def to_uri(code: Code) -> str:
    """Return the code as a URI of at most MAX_URI upper-case characters."""
    return _SCHEME + b32encode(code.payload).decode("ascii").rstrip("=")


def uri_untrusted(text: str) -> Code:
    """Return the code in a URI that was scanned or pasted; letters may be of either case.

    Raises RemoteError: not-a-code (scheme or alphabet), code-too-new (version or contents),
    bad-code (length, trailing bits), bad-onion (checksum or version of the onion address).
    """
    if len(text) > MAX_URI or not _SHAPE.fullmatch(text):
        raise RemoteError("not-a-code")
    coded = text[len(_SCHEME) :].upper()
    # Two base32 characters carry the version, the next two finish the contents byte: enough to
    # tell a newer code, of whatever length, from a damaged one.
    if len(coded) >= 4:
        version, contents = b32decode(coded[:4].ljust(8, "="), casefold=False)
        if version != _VERSION or contents & ~_HAS_ONION:
            raise RemoteError("code-too-new")
    size = _LENGTHS.get(len(text))
    if size is None:
        raise RemoteError("bad-code")
    raw = b32decode(coded + "=" * (-len(coded) % 8))
    has_onion = raw[1] == _HAS_ONION
    # The contents byte says how long the code is, so a cut one never passes for a shorter one.
    if len(raw) != size or has_onion != (size > _PLAIN):
        raise RemoteError("bad-code")
    code = Code(
        commitment=raw[2:34],
        secret=raw[34:50],
        expires=int.from_bytes(raw[50:54], "big"),
        onion=_onion_untrusted(raw[54:]) if has_onion else None,
    )
    if to_uri(code) != _SCHEME + coded:
        raise RemoteError("bad-code")
    return code


def commitment(reveal: bytes) -> bytes:
    """Return the 32 bytes a code shows for an encoded `agreement.Reveal`."""
    return primitives.digest(_COMMITMENT_LABEL, bytes([_VERSION]), reveal)


def code_link_secret(secret: bytes) -> bytes:
    """Return the 32-byte secret by which both sides of a code recognise each other on a link."""
    return primitives.digest(_LINK_LABEL, secret)


def _onion_untrusted(address: bytes) -> bytes:
    # Tor rend-spec-v3, section 6, "Encoding onion addresses".
    public, checksum, version = address[:32], address[32:34], address[34:]
    expected = sha3_256(b".onion checksum" + public + version).digest()[:2]
    if version != b"\x03" or checksum != expected:
        raise RemoteError("bad-onion")
    return address
