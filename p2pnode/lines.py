"""JSON on one line, free of characters that a terminal would act on.

Texts and names come from other people. In JSON what could move a cursor, recolour or reorder is
escaped, so that a screen shows it and a program still gets what was written.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pnode.schema import Answer

_NOT_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def as_json(value: "Answer | dict[str, Any]") -> str:
    """Return one line of JSON with `schema`."""
    import msgspec

    if isinstance(value, dict):
        value = {"schema": 1, **value}
    return escaped(msgspec.json.encode(value).decode())


def escaped(line: str) -> str:
    """Return a line of JSON with such characters as escapes; they only stand inside of strings."""
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
