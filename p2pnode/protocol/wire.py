"""The one codec: MessagePack, bounded first, then converted to typed frozen structs.

Structs on the wire are msgspec structs with `array_like=True, frozen=True,
forbid_unknown_fields=True`; field types carry their own bounds (`Bytes32`, `Short`, …). Hashes and
signatures are always taken over received bytes, never over a re-encoding, because MessagePack has
more than one encoding for a value.
"""

from typing import Annotated, Any, TypeVar

import msgpack
import msgspec

from p2pnode.errors import RemoteError
from p2pnode.protocol import limits

Shape = TypeVar("Shape")

Bytes8 = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
KemPublic = Annotated[bytes, msgspec.Meta(min_length=1184, max_length=1184)]
KemCiphertext = Annotated[bytes, msgspec.Meta(min_length=1088, max_length=1088)]
Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]

_encoder = msgspec.msgpack.Encoder()


class Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Base of every struct that crosses the wire."""


def encode(value: msgspec.Struct) -> bytes:
    """Return the MessagePack bytes of a struct."""
    return _encoder.encode(value)


def decode_untrusted(raw: bytes, shape: type[Shape], *, limit: int = limits.MAX_RECORD) -> Shape:
    """Return the struct encoded in foreign bytes.

    `limit` bounds the input's length in bytes; element counts and nesting are bounded by
    `limits.MAX_ELEMENTS`. Raises RemoteError for anything else than exactly one valid value.
    """
    if len(raw) > limit:
        raise RemoteError("record-too-long")
    try:
        plain: Any = msgpack.unpackb(
            raw,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_str_len=limit,
            max_bin_len=limit,
            max_array_len=limits.MAX_ELEMENTS,
            max_map_len=0,
            max_ext_len=0,
        )
        return msgspec.convert(plain, shape, strict=True, builtin_types=(bytes,))
    except (ValueError, msgpack.UnpackException, msgspec.ValidationError, RecursionError):
        raise RemoteError("bad-record") from None
