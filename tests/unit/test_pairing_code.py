"""The pairing code as a URI."""

from base64 import b32encode
from hashlib import sha3_256

import pytest
import segno

from p2pnode.errors import RemoteError
from p2pnode.protocol.pairing import code

KEY = bytes(range(100, 132))
ONION = KEY + sha3_256(b".onion checksum" + KEY + b"\x03").digest()[:2] + b"\x03"
PLAIN = code.Code(bytes(range(32)), bytes(range(50, 66)), 29_000_000)
FULL = code.Code(bytes(range(32)), bytes(range(50, 66)), 2**32 - 1, ONION)


def refused(text: str) -> str:
    with pytest.raises(RemoteError) as caught:
        code.uri_untrusted(text)
    return caught.value.reason


def uri_of(raw: bytes) -> str:
    return "P2PNODE:" + b32encode(raw).decode().rstrip("=")


@pytest.mark.parametrize("one", [PLAIN, FULL])
def test_round_trip_in_either_case(one: code.Code) -> None:
    uri = code.to_uri(one)
    assert code.uri_untrusted(uri) == one
    assert code.uri_untrusted(uri.lower()) == one
    assert code.uri_untrusted(uri.swapcase()) == one
    assert code.uri_untrusted("p2pnode:" + uri[8:]) == one


def test_it_fits_a_small_qr_of_the_alphanumeric_set() -> None:
    assert len(code.to_uri(PLAIN)) == 95
    assert len(code.to_uri(FULL)) == 151 <= code.MAX_URI
    qr = segno.make(code.to_uri(FULL), error="l", boost_error=False, micro=False)
    assert qr.mode == "alphanumeric"
    assert qr.version == 5
    # Two modules a line of text, with a quiet zone of four modules around: 80 by 24.
    width, height = qr.symbol_size(border=4)
    assert width <= 80
    assert (height + 1) // 2 <= 24


@pytest.mark.parametrize("one", [PLAIN, FULL])
def test_no_beginning_of_a_code_is_a_code(one: code.Code) -> None:
    uri = code.to_uri(one)
    for cut in range(len(uri)):
        assert refused(uri[:cut]) in {"not-a-code", "bad-code"}
    assert refused(uri + "A") == "bad-code"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P2PNODE:",
        "P2PNOD:" + "A" * 87,
        "XP2PNODE:" + "A" * 87,
        "P2PNODE" + "A" * 88,
        "P2PNODE:" + "A" * 200,
        "P2PNODE:" + "A" * 1_000_000,
        " " + code.to_uri(PLAIN),
        code.to_uri(PLAIN) + "\n",
        code.to_uri(PLAIN)[:50] + " " + code.to_uri(PLAIN)[51:],
        code.to_uri(PLAIN)[:-1] + "=",
        code.to_uri(PLAIN)[:-1] + "1",
        code.to_uri(PLAIN)[:-1] + "\u0131",
        code.to_uri(PLAIN)[:-1] + "\u017f",
        code.to_uri(PLAIN)[:-1] + "\uff21",
        "https://example.org/" + code.to_uri(PLAIN),
    ],
)
def test_scheme_and_alphabet(text: str) -> None:
    assert refused(text) == "not-a-code"


@pytest.mark.parametrize("version", [0, 2, 255])
@pytest.mark.parametrize("size", [20, 54, 60, 89, 91])
def test_another_version_says_so_whatever_its_length(version: int, size: int) -> None:
    assert refused(uri_of(bytes([version, 0]).ljust(size, b"x"))) == "code-too-new"


@pytest.mark.parametrize("contents", [2, 3, 128])
def test_unknown_contents(contents: int) -> None:
    raw = bytes([1, contents]) + PLAIN.payload[2:]
    assert refused(uri_of(raw)) == "code-too-new"


def test_contents_and_length_must_agree() -> None:
    assert refused(uri_of(b"\x01\x01" + PLAIN.payload[2:])) == "bad-code"
    assert refused(uri_of(b"\x01\x00" + FULL.payload[2:])) == "bad-code"


def test_spare_bits_must_be_zero() -> None:
    uri = code.to_uri(PLAIN)
    assert uri[-1] in "AIQY"
    spare = chr(ord(uri[-1]) + 1)
    assert refused(uri[:-1] + spare) == "bad-code"


def test_the_onion_address_is_checked() -> None:
    for at in (0, 31, 32, 33, 34):
        wrong = bytearray(FULL.payload)
        wrong[54 + at] ^= 1
        assert refused(uri_of(bytes(wrong))) == "bad-onion"


def test_link_secret_hides_the_code_secret() -> None:
    secret = code.code_link_secret(PLAIN.secret)
    assert len(secret) == 32
    assert PLAIN.secret not in secret
    assert secret != code.code_link_secret(bytes(16))
