"""Changes one setting in the text of config.toml and leaves everything else as the person wrote it.

The text is edited line by line; whether that came out right is not believed but checked, by reading
the new text again: exactly the one setting may have changed.
"""

import json
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from p2pnode.errors import ConfigError, Denied

Value = bool | int | float | str | list[Any] | tuple[Any, ...] | dict[str, Any]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")


class _Statement(NamedTuple):
    """A header, or a `key = value` that may span lines: its full name, its first line, the one
    after its last, and whether it is a header."""

    name: tuple[str, ...]
    first: int
    end: int
    header: bool


def with_setting(text: str, keys: tuple[str, ...], value: Value) -> str:
    """Return the text with a setting changed or added. Raises ConfigError when the text has a form
    in which that cannot be done without rewriting it."""
    old = tomllib.loads(text)
    wanted = _merged(old, keys, value)
    fresh = _edited(text, old, keys, value)
    try:
        right = tomllib.loads(fresh) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigError(
            f"{'.'.join(keys)} cannot be changed by a program here",
            why="the file is written in a form that would have to be rewritten",
            hint="Change it by hand, then run: p2pnode config check",
        )
    return fresh


def rendered(value: Value) -> str:
    """Return a value as TOML, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(rendered, value))}]"
        case dict():
            held = ", ".join(f"{_key(name)} = {rendered(one)}" for name, one in value.items())
            return f"{{ {held} }}" if held else "{}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else rendered(name)


def _merged(table: Mapping[str, Any], keys: tuple[str, ...], value: Value) -> dict[str, Any]:
    found = dict(table)
    if len(keys) == 1:
        found[keys[0]] = value
        return found
    below = found.get(keys[0])
    found[keys[0]] = _merged(below if isinstance(below, dict) else {}, keys[1:], value)
    return found


def _edited(text: str, old: dict[str, Any], keys: tuple[str, ...], value: Value) -> str:
    lines = text.splitlines()
    statements = list(_statements(lines))
    pairs = {one.name: one for one in statements if not one.header}
    for depth in range(len(keys), 0, -1):  # the setting itself, else an inline table it belongs in
        pair = pairs.get(keys[:depth])
        if pair is not None:
            held = _inside(_merged(old, keys, value), keys[:depth])
            before, after = _around(lines[pair.first : pair.end])
            line = f"{before}{rendered(held)}{after}"
            return _joined(text, [*lines[: pair.first], line, *lines[pair.end :]])
    setting = f"{_key(keys[-1])} = {rendered(value)}"
    if len(keys) == 1:
        return _joined(text, [setting, *([""] if lines else []), *lines])
    place = _end_of(statements, keys[:-1])
    if place is not None:
        return _joined(text, [*lines[:place], setting, *lines[place:]])
    header = f"[{'.'.join(map(_key, keys[:-1]))}]"
    gap = [""] if lines and lines[-1].strip() else []
    return _joined(text, [*lines, *gap, header, setting])


def _inside(table: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        table = table[key]
    return table


def _end_of(statements: list[_Statement], table: tuple[str, ...]) -> int | None:
    """Return the line after the last pair under a table's header; None when it has none."""
    found, inside = None, False
    for one in statements:
        inside = one.name == table if one.header else inside
        found = one.end if inside else found
    return found


def _statements(lines: list[str]) -> Iterator[_Statement]:
    table: tuple[str, ...] = ()
    at = 0
    while at < len(lines):
        end = at + 1
        if header := _HEADER.fullmatch(lines[at]):
            table = _names(f"[{header[1]}]")
            yield _Statement(table, at, end, header=True)
        elif re.match(r"\s*[^#\s\[]", lines[at]):
            key, _, value = lines[at].partition("=")
            while not _reads(value) and end < len(lines):
                value = f"{value}\n{lines[end]}"
                end += 1
            yield _Statement(table + _names(f"{key} = 0"), at, end, header=False)
        at = end


def _names(statement: str) -> tuple[str, ...]:
    """Return the full name that a header or a pair gives; () when it gives none."""
    try:
        table: Any = tomllib.loads(statement)
    except ValueError:
        return ()
    names = []
    while isinstance(table, dict) and table:
        [(name, table)] = table.items()
        names.append(name)
    return tuple(names)


def _around(lines: list[str]) -> tuple[str, str]:
    """Return what stands before a pair's value, and after it: blanks and a comment."""
    whole = "\n".join(lines)
    start = whole.index("=") + 1
    start += len(whole[start:]) - len(whole[start:].lstrip())
    value = whole[start:]
    for found in re.finditer("#", value):
        rest = value[found.start() :]
        if "\n" not in rest and _reads(value[: found.start()]):
            return whole[:start], value[len(value[: found.start()].rstrip()) :]
    return whole[:start], ""


def _reads(value: str) -> bool:
    try:
        tomllib.loads(f"x = {value}")
    except (ValueError, RecursionError):
        return False
    return True


def _joined(text: str, lines: list[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    return "".join(f"{line}{newline}" for line in lines)


def replace_file(path: Path, text: str) -> None:
    """Put a text in the place of a file, all of it or nothing, durably; a link to the file stays
    one, and so do its mode and whose it is. A new one may be read by the group of its folder where
    that may look into it, as a machine's node looks into /etc/p2pnode. Raises Denied."""
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder_is = target.parent.stat()
        user, group, mode = -1, folder_is.st_gid, 0o600 | (folder_is.st_mode & 0o040)
        if target.exists():
            was = target.stat()
            user, group, mode = was.st_uid, was.st_gid, was.st_mode & 0o777
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            with suppress(PermissionError):  # who is not root gives nothing away
                os.chown(draft, user, group)
            os.chmod(draft, mode)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Denied(f"{path} cannot be written", why=error.strerror or "") from None
