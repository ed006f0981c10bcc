"""Content: round trips, bounds, and kinds of the future."""

import re
from contextlib import suppress
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pnode.errors import InvalidInput, RemoteError
from p2pnode.protocol import limits
from p2pnode.protocol.content import (
    Content,
    Fading,
    Proposal,
    Receipts,
    Redaction,
    Replaced,
    ResetAnswer,
    Text,
    Unknown,
    Verdict,
    content_untrusted,
    encode_content,
)
from tests.walls import ROOT

ID = bytes(range(16))
KEM = bytes(1_184)
texts = st.builds(
    Text,
    id=st.binary(min_size=16, max_size=16),
    clock=st.integers(0, 2**53 - 1),
    heads=st.lists(st.binary(min_size=16, max_size=16), max_size=8).map(tuple),
    at=st.integers(0, 2**53 - 1),
    text=st.text(st.characters(codec="utf-8")),
)
receipts = st.builds(
    Receipts, ids=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20).map(tuple)
)


ids = st.binary(min_size=16, max_size=16)
spans = st.integers(limits.MIN_SPAN, limits.MAX_SPAN)
fading = st.builds(
    lambda text, span: Fading(text.id, text.clock, text.heads, text.at, text.text, span),
    texts,
    spans,
)
proposals = st.builds(Proposal, ids, st.just(0) | spans, st.just(b"") | ids)
others = (
    proposals
    | st.builds(Verdict, ids, st.booleans())
    | st.builds(Redaction, ids)
    | st.builds(Replaced, ids)
    | st.builds(ResetAnswer, ids, st.just(ID + ID), st.just(KEM), st.integers(0, 2**53 - 1), ids)
)


@given(texts | receipts | fading | others)
def test_round_trip(content: Content) -> None:
    assert content_untrusted(encode_content(content)) == content


def test_the_largest_content_fits_the_largest_bucket() -> None:
    text = Text(ID, 2**53 - 1, (ID,) * 8, 2**53 - 1, "é" * (limits.MAX_TEXT // 2))
    assert len(encode_content(text)) <= limits.MAX_CONTENT[65536]
    assert content_untrusted(encode_content(text)) == text
    most = Receipts((bytes(32),) * limits.MAX_IDS)
    assert content_untrusted(encode_content(most)) == most


def test_what_a_person_cannot_send() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        encode_content(Text(ID, 0, (), 0, "é" * (limits.MAX_TEXT // 2) + "a"))
    with pytest.raises(InvalidInput, match="Unicode"):
        encode_content(Text(ID, 0, (), 0, "\ud800"))


def test_newer_kinds_are_unknown_not_wrong() -> None:
    assert content_untrusted(b"\x00") == Unknown(0)
    assert content_untrusted(b"\xffanything") == Unknown(255)


FROZEN: list[tuple[Content, str]] = [
    (Text(ID, 5, (ID,), 7, "é"), "01 95c410ID 05 91c410ID 07 a2c3a9"),
    (Receipts((ID + ID,)), "02 91 91c420IDID"),
    (Fading(ID, 5, (ID,), 7, "é", 3_600), "03 96c410ID 05 91c410ID 07 a2c3a9 cd0e10"),
    (Proposal(ID, 604_800, b""), "04 93c410ID ce00093a80 c400"),
    (Proposal(ID, 0, ID), "04 93c410ID 00 c410ID"),
    (Verdict(ID, True), "05 92c410ID c3"),
    (Redaction(ID), "06 91c410ID"),
    (
        ResetAnswer(ID, ID + ID, KEM, 5, b""),
        "0a 95c410ID c420IDID c504a0KEM 05 c400",
    ),
    (
        ResetAnswer(ID, ID + ID, KEM, 5, ID),
        "0a 95c410ID c420IDID c504a0KEM 05 c410ID",
    ),
    (Replaced(ID), "0b 91c410ID"),
]


@pytest.mark.parametrize(("content", "raw"), FROZEN)
def test_frozen_bytes(content: Content, raw: str) -> None:
    filled = raw.replace("ID", ID.hex()).replace("KEM", KEM.hex())
    frozen = bytes.fromhex(filled.replace(" ", ""))
    assert encode_content(content) == frozen
    assert content_untrusted(frozen) == content


def test_every_kind_is_frozen_and_on_its_page() -> None:
    kinds = set(get_args(Content))
    assert {type(content) for content, _ in FROZEN} == kinds
    page = (ROOT / "docs/protocol/envelope.md").read_text()
    rows = set(re.findall(r"^\| (\d+) ", page.partition("## Content")[2], re.MULTILINE))
    assert rows == {str(encode_content(content)[0]) for content, _ in FROZEN}


def raw_text(*fields: object) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        b"\x02",
        raw_text(),
        raw_text(ID, 0, (), 0),
        raw_text(ID, 0, (), 0, "a", 1),
        raw_text(ID[1:], 0, (), 0, "a"),
        raw_text(ID, -1, (), 0, "a"),
        raw_text(ID, 2**53, (), 0, "a"),
        raw_text(ID, 0, (ID,) * 9, 0, "a"),
        raw_text(ID, 0, (ID[1:],), 0, "a"),
        raw_text(ID, 0, (), 0, b"a"),
        raw_text(ID, 0, (), 0, "a" * (limits.MAX_TEXT + 1)),
        raw_text(ID, 0, (), 0, "a") + b"\x00",
        raw_text(ID, 0, (), 0, "a").replace(b"\xa1a", b"\xa1\xff"),
        b"\x01\x80",
        b"\x02" + msgspec.msgpack.encode([[]]),
        b"\x02" + msgspec.msgpack.encode([[bytes(31)]]),
        b"\x02" + msgspec.msgpack.encode([[bytes(32)] * 513]),
        b"\x03" + msgspec.msgpack.encode([ID, 0, (), 0, "a"]),
        b"\x03" + msgspec.msgpack.encode([ID, 0, (), 0, "a", 0]),
        b"\x03" + msgspec.msgpack.encode([ID, 0, (), 0, "a", 299]),
        b"\x03" + msgspec.msgpack.encode([ID, 0, (), 0, "a", limits.MAX_SPAN + 1]),
        b"\x03" + msgspec.msgpack.encode([ID, 0, (), 0, "a" * (limits.MAX_TEXT + 1), 300]),
        b"\x04" + msgspec.msgpack.encode([ID, 299, b""]),
        b"\x04" + msgspec.msgpack.encode([ID, -1, b""]),
        b"\x04" + msgspec.msgpack.encode([ID, limits.MAX_SPAN + 1, b""]),
        b"\x04" + msgspec.msgpack.encode([ID, 300, b"x"]),
        b"\x05" + msgspec.msgpack.encode([ID, 1]),
        b"\x05" + msgspec.msgpack.encode([ID]),
        b"\x06" + msgspec.msgpack.encode([ID[1:]]),
        b"\x06" + msgspec.msgpack.encode([ID, 1]),
    ],
)
def test_malformed_content_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        content_untrusted(raw)


@given(st.binary(max_size=200))
def test_junk_is_refused_or_understood_and_nothing_else(raw: bytes) -> None:
    with suppress(RemoteError):
        content_untrusted(raw)
