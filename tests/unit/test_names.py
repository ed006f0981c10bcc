"""Petnames and hints."""

import pytest

from p2pnode.errors import InvalidInput
from p2pnode.protocol import names
from p2pnode.protocol.limits import MAX_NAME

INVISIBLE = [
    "\x00",
    "\x1b",
    "\x7f",
    "\x9b",
    "\n",
    "\t",
    "\u00ad",  # soft hyphen
    "\u034f",  # combining grapheme joiner
    "\u061c",  # Arabic letter mark
    "\u115f",  # Hangul filler
    "\u180e",  # Mongolian vowel separator
    "\u200b",  # zero width space
    "\u200c",
    "\u200d",
    "\u200e",
    "\u200f",
    "\u2028",
    "\u202a",
    "\u202e",  # right-to-left override
    "\u2060",
    "\u2066",
    "\u2069",
    "\u2800",  # blank braille
    "\u3164",
    "\ufe0f",
    "\ufeff",
    "\uffa0",
    "\ue000",  # private use
    "\uffff",  # no character
    "\U000e0041",  # tag
    "\U000e0100",  # variation selector
]


@pytest.mark.parametrize(
    "name", ["ana", "Ana María", "Zoë", "李雷", "Ελένη", "Боря", "नमस्ते", "🐻", "o'Neil-2", "עִבְרִית"]
)
def test_petnames_of_the_world(name: str) -> None:
    assert names.petname(name) == name
    assert names.suggested_untrusted(name) == name


def test_petnames_are_composed_and_trimmed() -> None:
    assert names.petname("  Zoe\u0308 \u00a0 B ") == "Zo\u00eb B"


@pytest.mark.parametrize("ch", INVISIBLE)
def test_what_cannot_be_seen(ch: str) -> None:
    name = f"a{ch}b"
    with pytest.raises(InvalidInput):
        names.petname(name)
    assert names.suggested_untrusted(name) == "ab"
    assert names.shown_hint_untrusted(name) == f"a<U+{ord(ch):04X}>b"


@pytest.mark.parametrize(
    "name", ["", " ", "\u00a0", "-x", "--json", "a" * (MAX_NAME + 1), "\ud800"]
)
def test_refused_petnames(name: str) -> None:
    with pytest.raises(InvalidInput):
        names.petname(name)


def test_the_longest_petname() -> None:
    assert names.petname("a" * MAX_NAME) == "a" * MAX_NAME


def test_marks_do_not_pile_up_nor_stand_alone() -> None:
    zalgo = "z" + "\u0323\u0301\u0302\u0303"
    with pytest.raises(InvalidInput):
        names.petname(zalgo)
    with pytest.raises(InvalidInput):
        names.petname("\u0301a")
    assert names.shown_hint_untrusted("\u0301a") == "<U+0301>a"
    assert "<U+0303>" in names.shown_hint_untrusted(zalgo)


@pytest.mark.parametrize("hint", ["", "\u202e", "---", "\u3164\u200b", " - "])
def test_nothing_left_of_a_hint(hint: str) -> None:
    assert names.suggested_untrusted(hint) == names.FALLBACK


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ana", "ANA"),
        ("straße", "STRASSE"),
        ("ana", "\uff41\uff4e\uff41"),  # full width
        ("ana", "\U0001d41a\U0001d427\U0001d41a"),  # mathematical
        ("paypal", "\u0440\u0430\u0443\u0440\u0430l"),  # Cyrillic r a u r a
        ("Bob", "\u0412\u043eb"),
        ("\u0412\u043e\u0432\u0430", "\u0412\u041e\u0412\u0410"),
        ("Zoe\u0308", "zo\u00eb"),
        ("Ann  Lee", "ann lee"),
        ("ano", "\u03b1n\u03bf"),  # Greek
    ],
)
def test_names_that_count_as_the_same(one: str, other: str) -> None:
    assert names.fold(one) == names.fold(other)


@pytest.mark.parametrize(("one", "other"), [("bo", "boo"), ("Zoe", "Zoë"), ("Боря", "Ваня")])
def test_names_that_do_not(one: str, other: str) -> None:
    assert names.fold(one) != names.fold(other)


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("p\u0430ypal", "p<U+0430>ypal"),
        ("\u0440\u0430\u0443\u0440\u0430l", "<U+0440><U+0430><U+0443><U+0440><U+0430>l"),
        ("\u0430\u0441\u0435", "<CYRILLIC>\u0430\u0441\u0435"),
        ("\U0001d41ana", "<U+1D41A>na"),
        ("\x1b[31mred\x1b[0m", "<U+001B>[31mred<U+001B>[0m"),
        ("ana\u202egpj.exe", "ana<U+202E>gpj.exe"),
        ("ana\nbo", "ana<U+000A>bo"),
        ("a\u2003b", "a<U+2003>b"),
        ("Боря", "Боря"),
        ("LINE株式会社", "LINE株式会社"),
        ("Anna-Ли", "Anna-Ли"),
        ("Zoë", "Zoë"),
    ],
)
def test_hints_are_shown_for_what_they_are(hint: str, shown: str) -> None:
    assert names.shown_hint_untrusted(hint) == shown


def test_a_hint_is_shown_up_to_the_limit() -> None:
    assert names.shown_hint_untrusted("a" * 10_000) == "a" * MAX_NAME
