"""Fingerprints, as groups and as words."""

import pytest

from p2pnode.errors import InvalidInput
from p2pnode.protocol import fingerprint

ACCOUNT = bytes(range(32))
PRINT = fingerprint.fingerprint(ACCOUNT)


def test_it_depends_on_the_account_key_alone_and_on_all_of_it() -> None:
    assert len(PRINT) == 32
    assert fingerprint.fingerprint(ACCOUNT) == PRINT
    for at in range(32):
        other = bytearray(ACCOUNT)
        other[at] ^= 1
        assert fingerprint.fingerprint(bytes(other)) != PRINT


def test_groups() -> None:
    groups = fingerprint.grouped(PRINT).split()
    assert [len(group) for group in groups] == [4] * 13
    assert "".join(groups).isalnum()


def test_words_show_the_first_128_bits() -> None:
    assert len(fingerprint.words(PRINT)) == 16
    assert fingerprint.words(PRINT) == fingerprint.words(PRINT[:16] + bytes(16))
    assert fingerprint.words(PRINT) != fingerprint.words(PRINT[:15] + bytes(17))


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text,
        str.lower,
        lambda text: text.replace(" ", ""),
        lambda text: text.replace(" ", "-"),
        lambda text: f"  {text}\n",
    ],
)
def test_typed_groups_match_however_they_are_spaced(write) -> None:  # type: ignore[no-untyped-def]
    typed = write(fingerprint.grouped(PRINT))
    assert fingerprint.matches(PRINT, typed)
    assert not fingerprint.matches(fingerprint.fingerprint(bytes(32)), typed)


def test_typed_words_match_in_full_or_by_four_letters() -> None:
    words = fingerprint.words(PRINT)
    assert fingerprint.matches(PRINT, " ".join(words))
    assert fingerprint.matches(PRINT, " ".join(word[:4].upper() for word in words))
    assert not fingerprint.matches(PRINT, " ".join(reversed(words)))


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "abcd",
        fingerprint.grouped(PRINT)[:-1],
        fingerprint.grouped(PRINT) + "A",
        fingerprint.grouped(PRINT)[:-1] + "1",
        # The last character carries one bit: another one would be a second spelling.
        fingerprint.grouped(PRINT)[:-1] + "B",
        " ".join(fingerprint.words(PRINT)[:15]),
        " ".join([*fingerprint.words(PRINT)[:15], "zzzz"]),
        "\u017f" * 52,
        "A" * 100_000,
    ],
)
def test_a_slip_is_no_mismatch(typed: str) -> None:
    with pytest.raises(InvalidInput):
        fingerprint.matches(PRINT, typed)
