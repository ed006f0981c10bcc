"""QR codes: small enough for a terminal, readable from a picture, helpful when not."""

import pytest

from p2pnode.cli import qr
from p2pnode.errors import InvalidInput
from p2pnode.protocol.pairing.code import MAX_URI

PLAIN = "P2PNODE:" + "A2" * 43 + "B"
LONGEST = ("P2PNODE:" + "Z7" * 80)[:MAX_URI]


@pytest.mark.parametrize("uri", [PLAIN, LONGEST])
def test_a_code_fits_a_terminal_of_80_by_24(uri):
    rows = qr.drawn(uri, colour=False)
    assert len(rows) <= 23
    assert max(map(len, rows)) <= 80


@pytest.mark.parametrize("uri", [PLAIN, LONGEST])
def test_what_is_written_as_png_is_read_back(uri, tmp_path):
    path = tmp_path / "code.png"
    qr.written(uri, path, "png")
    assert qr.read(path) == uri


@pytest.mark.parametrize("name", ["code.svg", "code", "code.txt", "code.png"])
def test_what_is_written_is_what_was_asked_for_whatever_its_name(name, tmp_path):
    path = tmp_path / name
    qr.written(PLAIN, path, "svg")
    assert "<svg" in path.read_text()
    qr.written(PLAIN, path, "png")
    assert qr.read(path) == PLAIN


def test_a_file_that_cannot_be_written_is_said_to_be_none(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be written"):
        qr.written(PLAIN, tmp_path / "nowhere" / "code", "png")


def test_other_pictures_are_refused_in_words(tmp_path):
    path = tmp_path / "other.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(InvalidInput, match="not a picture"):
        qr.read(path)
    qr.written("HELLO", path, "png")
    with pytest.raises(InvalidInput, match="no pairing code"):
        qr.read(path)
