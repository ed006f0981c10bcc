"""What a contact writes to trouble whoever reads it on a terminal."""

import pytest

from p2pnode.lines import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07x\x1bP1;2|sixel\x1b\\y\x98zz\x9cw", "xyw"),
        ("\x9dab\x9dcd\x07e", "abe"),
        ("\x1b]ab\x1b]cd\x07e", "abe"),
        ("\x98a\x90b\x9ec\x9fd\x9ce", "abce"),
    ],
)
def test_a_string_sequence_ends_where_another_begins(text, shown):
    # Else each of 30,000 beginnings in one message has 4,096 characters searched twice over: 3 s
    # for each message on every terminal, and in the daemon for a notification's preview.
    assert clean(text) == shown
