"""Pairing codes as QR: drawn in a terminal or a file, read from a picture."""

import io
from pathlib import Path
from typing import Literal

from p2pnode import disk
from p2pnode.errors import InvalidInput

BORDER = 2
"""Light modules around the drawing; with them version 5 takes 41 columns and 21 rows."""

_BLOCKS = {(0, 0): "\u2588", (0, 1): "\u2580", (1, 0): "\u2584", (1, 1): " "}
"""Upper and lower module (1 is dark) → the character whose ink is light."""


def drawn(text: str, *, colour: bool) -> list[str]:
    """Return the rows of a QR code, two modules each.

    colour: paint both inks, so that it is right on light terminals too; without it the terminal
    must be dark.
    """
    rows = [list(row) for row in _code(text).matrix_iter(border=BORDER)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        line = "".join(_BLOCKS[(a & 1, b & 1)] for a, b in zip(upper, lower, strict=True))
        lines.append(f"\x1b[40;97m{line}\x1b[0m" if colour else line)
    return lines


Kind = Literal["png", "svg"]


def written(text: str, path: Path, kind: Kind) -> None:
    """Write a QR code to a file of whatever name. Raises InvalidInput."""
    drawing = io.BytesIO()
    try:
        _code(text).save(drawing, kind=kind, scale=8, border=4)
        disk.write(path, drawing.getvalue(), private=False)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written", why=error.strerror or "", hint="Choose another file"
        ) from None


def read(path: Path) -> str:
    """Return the pairing code in a picture. Raises InvalidInput, also when the extra is missing."""
    try:
        import zxingcpp
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InvalidInput(
            "pictures cannot be read here",
            why="the optional part for scanning is not installed",
            hint="Run: pip install 'p2pnode[scan]'; or give the code as text",
        ) from None
    try:
        with Image.open(path) as picture:
            found = zxingcpp.read_barcodes(picture.convert("L"))
    except UnidentifiedImageError:
        raise InvalidInput(f"{path} is not a picture", hint="Give a PNG or a JPEG") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{path} cannot be read", why=str(error)) from None
    for code in found:
        if code.text.upper().startswith("P2PNODE:"):
            return code.text
    raise InvalidInput(
        f"no pairing code is seen in {path}",
        hint="Take the picture again, straight, with the whole code in it",
    )


def _code(text: str):  # type: ignore[no-untyped-def]
    import segno

    return segno.make_qr(text, error="l", boost_error=False)
