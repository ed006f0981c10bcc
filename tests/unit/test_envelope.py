"""The envelope: exact sizes, what is outside, and every refusal."""

import pytest

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import envelope, limits

KEY_A, KEY_B = bytes(range(32)), bytes(range(1, 33))
HEADER = bytes(range(256)) * 9 + bytes(envelope.HEADER - 9 * 256)


def sealed(content: bytes = b"hello", **changed: object) -> bytes:
    parts: dict[str, object] = {
        "tag": b"t" * 16,
        "lifetime": 3,
        "token": b"k" * 16,
        "nonce": b"n" * 24,
        "header_key": KEY_A,
        "header": HEADER,
        "body_key": KEY_B,
        "content": content,
    }
    return envelope.assemble(**(parts | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("total", limits.BUCKETS)
def test_sizes_are_exact_at_every_edge(total: int) -> None:
    most = limits.MAX_CONTENT[total]
    below = {4096: 0, 16384: 1671, 65536: 13959}[total]
    for size in (below, below + 1, most):
        raw = sealed(b"\xff" * size)
        assert len(raw) == total
        assert envelope.open_body(envelope.parse_untrusted(raw), KEY_B) == b"\xff" * size


def test_content_that_fits_nowhere_is_a_local_error() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        sealed(bytes(63_111))


def test_wrong_shapes_are_refused_before_sealing() -> None:
    for wrong in ({"lifetime": 5}, {"lifetime": -1}, {"header": HEADER[1:]}, {"tag": b"short"}):
        with pytest.raises(ValueError, match="shape"):
            sealed(**wrong)


def test_outer_bytes_say_what_they_should() -> None:
    raw = sealed()
    outer = envelope.parse_untrusted(raw)
    assert (outer.tag, outer.lifetime, outer.raw) == (b"t" * 16, 3, raw)
    assert outer.token_hash == envelope.token_hash(b"k" * 16)
    assert raw[:1] + b"t" * 16 + b"\x03" + outer.token_hash + b"n" * 24 == raw[:58]
    assert envelope.open_header(outer, KEY_A) == HEADER


def test_trailing_zeros_of_content_survive_padding() -> None:
    for content in (b"", b"\0", b"a\0\0\0", bytes(1670)):
        outer = envelope.parse_untrusted(sealed(content))
        assert envelope.open_body(outer, KEY_B) == content


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "bad-size"),
        (sealed()[:-1], "bad-size"),
        (sealed() + b"\0", "bad-size"),
        (b"\x02" + sealed()[1:], "unknown-version"),
        (b"\x00" + sealed()[1:], "unknown-version"),
        (sealed()[:17] + b"\x05" + sealed()[18:], "bad-lifetime"),
        (sealed()[:17] + b"\xff" + sealed()[18:], "bad-lifetime"),
    ],
)
def test_what_is_no_envelope(raw: bytes, reason: str) -> None:
    with pytest.raises(RemoteError) as caught:
        envelope.parse_untrusted(raw)
    assert caught.value.reason == reason


def test_wrong_keys_and_exchanged_halves_do_not_authenticate() -> None:
    outer = envelope.parse_untrusted(sealed())
    with pytest.raises(RemoteError, match="not-authentic"):
        envelope.open_header(outer, KEY_B)
    with pytest.raises(RemoteError, match="not-authentic"):
        envelope.open_body(outer, KEY_A)
    other = sealed(header=bytes(envelope.HEADER))
    swapped = other[: 58 + 2348] + outer.raw[58 + 2348 :]
    envelope.open_header(envelope.parse_untrusted(swapped), KEY_A)
    with pytest.raises(RemoteError, match="not-authentic"):
        envelope.open_body(envelope.parse_untrusted(swapped), KEY_B)


@pytest.mark.parametrize(
    "body",
    [
        (1).to_bytes(4, "big") + b"a" + bytes(1668) + b"\x01",
        (0).to_bytes(4, "big") + b"a" + bytes(1669),
        (1671).to_bytes(4, "big") + bytes(1670),
        b"\xff" * 4 + bytes(1670),
    ],
)
def test_padding_must_be_zero_and_the_length_true(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = envelope.primitives.seal

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        return real(key, nonce, body if key == KEY_B else plaintext, associated)

    monkeypatch.setattr(envelope.primitives, "seal", seal)
    outer = envelope.parse_untrusted(sealed())
    with pytest.raises(RemoteError, match="bad-padding"):
        envelope.open_body(outer, KEY_B)


def test_the_id_is_of_the_bytes_as_received() -> None:
    raw = sealed()
    assert envelope.envelope_id(raw) == envelope.envelope_id(bytes(raw))
    for at in (0, 58, 4095):
        changed = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
        assert envelope.envelope_id(changed) != envelope.envelope_id(raw)
