"""Names: what a person may call a contact, and how to show what a stranger calls itself.

A petname is local and unique by `fold`. A hint came from outside: it is only ever shown with
everything invisible, reordering or misleading spelled out as `<U+202E>`, in plain ASCII, so that
a screen reader says it too. Look-alikes are judged by a small table of letters that are drawn
like Latin ones (Unicode Technical Standard 39 has the long list; we take its Cyrillic, Greek,
Armenian and Cherokee single letters) and by compatibility forms (NFKC).
"""

import re
import unicodedata

from p2pnode.errors import InvalidInput
from p2pnode.protocol.limits import MAX_NAME

MAX_MARKS = 2
"""Combining marks in a row that a letter may carry after composition."""

FALLBACK = "peer"
"""The petname suggested when nothing of a hint can be used."""

# Letters and symbols that are drawn as nothing, though their category says otherwise.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
# Control, format (bidi, zero-width, tags), private, surrogate, unassigned, line and paragraph.
_REFUSED = frozenset(("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"))
_UPPER = str.maketrans(
    "АВЕЅІЈКМНОРСТУХԌԚԜҮΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿԼՍՏᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ",
    "ABESIJKMHOPCTYXGQWYABEZHIKMNOPTYXCJLUSABCDEGHJKLMPRSTVWZ",
)
_LOWER = str.maketrans(
    "аеорсухѕіјԁһӏԛԝαγινορτυχκϲϳօսոզցհ",
    "aeopcyxsijdhlqwayivoptuxkcjounqgh",
)
_LOOKALIKES = _UPPER | _LOWER
# For comparing: the small form of a capital look-alike counts too, since case makes no difference.
_SAME = {ord(chr(k).casefold()): ord(chr(v).casefold()) for k, v in _UPPER.items()} | _LOWER
# A run of letters, or of whatever stands between two of them.
_WORD = re.compile(r"[^\W\d_]+|[\W\d_]+")


def petname(text: str) -> str:
    """Return a name a person typed for a contact, composed (NFC) and trimmed.

    Raises InvalidInput when it is empty, longer than MAX_NAME characters, begins with a hyphen
    (it would read as an option) or has characters that cannot be seen.
    """
    if any(0xD800 <= ord(ch) < 0xE000 for ch in text):
        raise InvalidInput("the name is not valid text")
    name = _composed(text)
    if not name:
        raise InvalidInput("the name is empty", hint="Give it at least one visible character")
    if len(name) > MAX_NAME:
        raise InvalidInput("the name is too long", why=f"at most {MAX_NAME} characters fit")
    if name.startswith("-"):
        raise InvalidInput("a name cannot begin with a hyphen")
    for at, ch in enumerate(name):
        if _invisible(name, at):
            raise InvalidInput("the name has a character that cannot be seen", why=_spelled(ch))
    return name


def suggested_untrusted(hint: str) -> str:
    """Return a valid petname as near to a foreign hint as can be; FALLBACK when nothing is left."""
    name = _composed(hint)
    # Dropping one character can bring others together, so composing and dropping are repeated
    # until nothing changes; every round but the last makes the name shorter.
    while True:
        kept = "".join(ch for at, ch in enumerate(name) if not _invisible(name, at))
        kept = _composed(kept.lstrip("-"))[:MAX_NAME].rstrip()
        if kept == name:
            return name or FALLBACK
        name = kept


def fold(name: str) -> str:
    """Return the key under which two names count as the same.

    Case, compatibility forms, spacing, and letters drawn like Latin ones make no difference.
    """
    small = unicodedata.normalize("NFKC", name).casefold()
    alike = unicodedata.normalize("NFKD", small).translate(_SAME)
    return " ".join(unicodedata.normalize("NFKC", alike).split())


def shown_hint_untrusted(hint: str) -> str:
    """Return a foreign hint, safe and honest to show.

    What cannot be seen is spelled out; in a word of mixed scripts so is every look-alike; a word
    that is made of look-alikes alone is preceded by its script, as in `<CYRILLIC>`.
    """
    text = unicodedata.normalize("NFC", hint[:MAX_NAME])
    shown = []
    for found in _WORD.finditer(text):
        letters = [ch for ch in found[0] if ch.isalpha()]
        scripts = {_script(ch) for ch in letters}
        mixed = len(scripts) > 1
        if letters and not mixed and all(_misleads(ch) for ch in letters):
            shown.append(f"<{scripts.pop()}>")
        shown += [_shown(text, at, mixed=mixed) for at in range(*found.span())]
    return "".join(shown)


def _composed(text: str) -> str:
    # Only what separates words becomes a space; a line break stays, to be refused.
    spaced = "".join(" " if unicodedata.category(ch) == "Zs" else ch for ch in text)
    return unicodedata.normalize("NFC", re.sub(" +", " ", spaced).strip(" "))


def _invisible(text: str, at: int) -> bool:
    ch = text[at]
    category = unicodedata.category(ch)
    if category in _REFUSED or ch in _BLANK:
        return True
    if not category.startswith("M"):
        return False
    # A mark needs something to stand on, and a pile of them leaves its line.
    before = text[max(0, at - MAX_MARKS) : at]
    on_letter = bool(before) and not before[-1].isspace()
    piled = len(before) == MAX_MARKS and all(unicodedata.category(b)[0] == "M" for b in before)
    return not on_letter or piled


def _spelled(ch: str) -> str:
    return f"<U+{ord(ch):04X}>"


def _shown(text: str, at: int, *, mixed: bool) -> str:
    ch = text[at]
    odd_space = ch.isspace() and ch != " "
    if odd_space or _invisible(text, at) or (mixed and _misleads(ch)):
        return _spelled(ch)
    return ch


def _misleads(ch: str) -> bool:
    """Tell whether a letter is drawn like a Latin one without being one."""
    alike = unicodedata.normalize("NFKC", ch).translate(_LOOKALIKES)
    return ch.isalpha() and not ch.isascii() and alike.isascii() and alike.isalpha()


def _script(ch: str) -> str:
    return unicodedata.name(ch, "UNNAMED").split(" ", 1)[0]
