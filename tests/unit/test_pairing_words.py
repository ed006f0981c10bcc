"""The word list and the short authentication string."""

import unicodedata

import pytest

from p2pnode.protocol import primitives
from p2pnode.protocol.pairing import sas, words

# Emoji of Unicode 12 and later, from the ranges of emoji-data.txt.
NEWER = [
    (0x1F6D5, 0x1F6DF),
    (0x1F6FA, 0x1F6FF),
    (0x1F7E0, 0x1F7FF),
    (0x1F90C, 0x1F90F),
    (0x1F93F, 0x1F93F),
    (0x1F971, 0x1F972),
    (0x1F977, 0x1F979),
    (0x1F97B, 0x1F97B),
    (0x1F9A3, 0x1F9AF),
    (0x1F9BA, 0x1F9BF),
    (0x1F9C3, 0x1F9CF),
    (0x1FA00, 0x1FAFF),
]


def test_256_distinct_words_in_order() -> None:
    assert len(words.WORDS) == 256
    assert list(words.WORDS) == sorted(set(words.WORDS))
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words.WORDS)
    assert all(3 <= len(word) <= 10 for word in words.WORDS)


def test_four_letters_tell_words_apart_and_none_begins_another() -> None:
    assert len({word[:4] for word in words.WORDS}) == 256
    for one in words.WORDS:
        assert not [two for two in words.WORDS if two != one and two.startswith(one)]


def test_every_emoji_is_one_old_code_point_drawn_in_colour_by_itself() -> None:
    assert len(set(words.EMOJI)) == 256
    for emoji in words.EMOJI:
        assert len(emoji) == 1
        assert unicodedata.category(emoji) == "So"
        # Wide is what code points with emoji presentation are (UAX 11); text ones are not.
        assert unicodedata.east_asian_width(emoji) == "W"
        assert not [pair for pair in NEWER if pair[0] <= ord(emoji) <= pair[1]]


def test_the_list_is_frozen() -> None:
    text = " ".join(words.WORDS) + "|" + "".join(words.EMOJI)
    assert primitives.digest(b"p2pnode words", text.encode()).hex() == (
        "2d3233c52a996ef6a24fe310b383e03effccf2a94bd9021a9946643a98e235fd"
    )


@pytest.mark.parametrize("value", range(256))
def test_typed_words_are_found(value: int) -> None:
    word = words.word(value)
    assert words.value_of(word) == value
    assert words.value_of(word.upper()) == value
    assert words.value_of(word[:4]) == value


def test_what_is_no_word_is_not_found() -> None:
    for typed in ("", "zzz", "dogs", "app", "appl3", "applepie", "🐶"):
        assert words.value_of(typed) is None


def test_sas_is_five_words_of_40_bits() -> None:
    pairs = sas.sas(bytes(32))
    assert len(pairs) == 5
    for word, emoji in pairs:
        assert words.EMOJI[words.WORDS.index(word)] == emoji
    assert sas.sas(bytes(31) + b"\x01") != pairs
