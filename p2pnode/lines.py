"""What other people wrote, safe to show: as plain text, or as JSON on one line.

Before a text or a name is shown, everything that could move the cursor, recolour, reorder or hide
text is taken out; in JSON it is escaped instead, so that programs get what was written.
"""

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pnode.schema import Answer

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]?"  # the same with its one-byte introducer
    # OSC, DCS: it ends where another begins, else a text full of beginnings takes seconds to search
    r"|[\x1b\x9d\x90\x98\x9e\x9f][\]PX^_]?[^\x07\x1b\x90\x98\x9c-\x9f\n]{0,4096}+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
_JOINERS = "\u200c\u200d"
"""Zero-width joiners: Persian words and many emoji need them; they hide nothing on their own."""


_NOT_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def clean(text: str) -> str:
    """Return text on one line, without anything that is not plainly visible."""
    return clean_lines(text).replace("\n", " ")


def clean_lines(text: str, *, indent: str = "") -> str:
    """Return text without control, format and unpaired characters; its own lines are kept.

    indent: put before each line after the first, so that no line of a message can pass for
    another person's.
    """
    found = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    shown = "".join(_shown(char) for char in found)
    return shown.replace("\n", "\n" + indent)


def _shown(char: str) -> str:
    if char in "\n\u2028\u2029":
        return "\n"
    if char == "\t":
        return " "
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    return "" if category in {"Cc", "Cf"} and char not in _JOINERS else char


def as_json(value: "Answer | dict[str, Any]") -> str:
    """Return one line of JSON with `schema`."""
    import msgspec

    if isinstance(value, dict):
        from p2pnode.schema import SCHEMA

        value = {"schema": SCHEMA, **value}
    return escaped(msgspec.json.encode(value).decode())


def escaped(line: str) -> str:
    """Return a line of JSON with such characters as escapes; they only stand inside of strings."""
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
