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
    qr.written(uri, path)
    assert qr.read(path) == uri


def test_svg_is_written(tmp_path):
    path = tmp_path / "code.svg"
    qr.written(PLAIN, path)
    assert "<svg" in path.read_text()


def test_other_pictures_are_refused_in_words(tmp_path):
    path = tmp_path / "other.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(InvalidInput, match="not a picture"):
        qr.read(path)
    qr.written("HELLO", path)
    with pytest.raises(InvalidInput, match="no pairing code"):
        qr.read(path)
