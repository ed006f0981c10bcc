"""The archive of `export`: everything kept, for machines (JSON) and for people (one page of HTML).

Everything in it is data of this node's person or was sent to them. Texts and names come from other
people: on the page they are escaped, kept apart from what surrounds them, and what does not show is
spelled out; it holds no script and asks for nothing from anywhere.
"""

import contextlib
import html
import os
import secrets
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from p2pnode import __version__, schema
from p2pnode.config import text_of
from p2pnode.errors import Denied, InvalidInput, StoreError, StoreFull
from p2pnode.ids import ContactId, id_text
from p2pnode.store.files import sync_folder
from p2pnode.store.records import ContactRow, MessageRow
from p2pnode.store.table import Table
from p2pnode.turns import views
from p2pnode.turns.stores import Stores

FORMAT = 1
"""Version of the archive's shape; see docs/export.md."""

TOLD_EVERY = 500
"""Rows between two words about how far it has come."""

Told = Callable[[int], None]

_encode = msgspec.json.Encoder().encode


def write(
    stores: Stores,
    *,
    path: Path,
    replace: bool,
    kept: Mapping[str, Mapping[str, str]],
    settings: Path | None,
    told: Told,
) -> schema.Exported:
    """Write the archive to path (mode 0600): whole after a crash, or not there at all, where the
    file system has files without a name (on most sticks a hidden draft may stay).

    It shows the stores at one moment. kept: what each transport says it keeps, by name; told: is
    called now and then with the rows written so far; an exception of it ends the work without a
    trace.
    Raises InvalidInput, Denied, StoreFull, StoreError.
    """
    if not path.name:
        raise InvalidInput(f"{path} is no place for a file")
    if path.exists() and not replace:
        raise InvalidInput(
            f"there is a file at {path} already", hint="Name another, or add --replace"
        )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        handle, named = _opened(draft)
        try:
            with os.fdopen(handle, "w+b") as file:
                with stores.vault.database.snapshot(), stores.custody.database.snapshot():
                    counted = _Archive(stores, file, kept, settings, told).written()
                file.flush()
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
                if not named:
                    _name(file.fileno(), draft)
            _put(draft, path, replace=replace)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
    except FileExistsError:
        raise InvalidInput(f"there is a file at {path} already") from None
    except PermissionError as error:
        raise Denied(f"{path} may not be written", why=error.strerror or "") from None
    except OSError as error:
        if error.errno == 28:
            raise StoreFull(f"no room for {path}", hint="Make room, or name another disk") from None
        raise StoreError(f"{path} cannot be written", why=error.strerror or "") from None
    return schema.Exported(path=str(path), bytes=size, **counted)


def _opened(draft: Path) -> tuple[int, bool]:
    """Return a new file in the folder of a draft, and whether it has the draft's name already."""
    try:
        return os.open(draft.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), False
    except OSError:  # a file system that knows no such files, or what the next line tells as well
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(draft, flags, 0o600), True


def _name(handle: int, draft: Path) -> None:
    """Give a finished file without a name that of its draft."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)  # with one Python follows the link, else not
    try:
        os.link(f"/proc/self/fd/{handle}", draft, src_dir_fd=root, follow_symlinks=True)
    finally:
        os.close(root)


def _put(draft: Path, path: Path, *, replace: bool) -> None:
    """Give the finished archive its name; another file there is not overwritten unawares."""
    if replace:
        draft.replace(path)
    else:
        try:
            os.link(draft, path)  # fails where something is, at one stroke
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as on most sticks
            if path.exists():
                raise FileExistsError from None
            draft.rename(path)
    sync_folder(path.parent)


class _Archive:
    """One archive while it is written."""

    def __init__(
        self,
        stores: Stores,
        file: IO[bytes],
        kept: Mapping[str, Mapping[str, str]],
        settings: Path | None,
        told: Told,
    ) -> None:
        self._stores = stores
        self._file = file
        self._kept = kept
        self._settings = settings
        self._told = told
        self._rows = 0

    def written(self) -> dict[str, int]:
        """Write all members; return how many contacts and messages there are."""
        vault = self._stores.vault
        counted = {"contacts": 0, "messages": 0}
        with zipfile.ZipFile(self._file, "w") as self._zip:
            for owner in reversed(vault.owners):
                with self._zip.open(_member(f"json/{_module(owner)}.json"), "w") as member:
                    for table, count in self._tables(owner, member).items():
                        if table in counted:
                            counted[table] = count
            carried = {"format": FORMAT, "module": "custody", **self._stores.custody.export()}
            self._zip.writestr(_member("json/custody.json"), _encode(carried))
            if self._settings is not None and (text := text_of(self._settings)):
                self._zip.writestr(_member("config.toml"), text)
            with self._zip.open(_member("index.html"), "w") as member:
                for piece in self._page():
                    member.write(piece.encode())
            self._zip.writestr(_member("README.txt"), self._readme())
        return counted

    def _step(self) -> None:
        self._rows += 1
        if self._rows % TOLD_EVERY == 0:
            self._told(self._rows)

    def _tables(self, owner: Table, member: IO[bytes]) -> dict[str, int]:
        """Write an owner's rows as they come; return how many of each table."""
        head = _encode({"format": FORMAT, "module": _module(owner)})
        member.write(head[:-1] + b',"tables":{')
        counts: dict[str, int] = {}
        for table, row in owner.exported(None):
            if table not in counts:
                member.write(b"]," if counts else b"")
                member.write(_encode(table) + b":[")
            member.write((b",\n" if counts.get(table) else b"\n") + _encode(self._scoped(row)))
            counts[table] = counts.get(table, 0) + 1
            self._step()
        member.write((b"]" if counts else b"") + b"}}\n")
        return counts

    def _scoped(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row with what this node shows its person, and no more."""
        if "redacted" in row and row["redacted"] is not None and not row["mine"]:
            return {**row, "text": "" if self._stores.redactions else row["text"]}
        if "transport" in row and "name" in row:
            told = self._kept.get(row["transport"], {})
            known = (what for name, what in told.items() if row["name"].startswith(name))
            return {**row, "what": next(known, "the transport is off now and cannot tell")}
        return row

    # For people --------------------------------------------------------------------------------

    def _page(self) -> Iterator[str]:
        vault = self._stores.vault
        own = vault.identity.load()
        name = _shown(own.name) if own is not None else ""
        people = vault.contacts.all()
        yield _HEAD.format(name=name, at=_moment(int(time.time())), version=__version__)
        yield "<h2>People</h2><table><tr><th>name<th>calls itself<th>state<th>checked</tr>"
        for row in people:
            cells = (row.name, row.hint, row.state, row.verified)
            yield "<tr>" + "".join(f"<td>{_shown(cell)}</td>" for cell in cells) + "</tr>\n"
        yield "</table>"
        for row in people:
            yield f"<h2>Conversation with {_shown(row.name)}</h2><ol>"
            yield from self._conversation(row)
            yield "</ol>"
        yield "</body></html>\n"

    def _conversation(self, contact: ContactRow) -> Iterator[str]:
        for row in self._messages(contact.id):
            who = "me" if row.mine else _shown(contact.name)
            asked = ""
            if row.redacted is not None:
                by = "you" if row.mine else _shown(contact.name)
                asked = f" <small>{by} asked to remove this</small>"
            text = "" if views.hidden(row, hide=self._stores.redactions) else _shown(row.text)
            yield (
                f'<li id="m-{id_text(row.id)}-{row.ref}"><small>{_moment(row.at)}'
                f" {_shown(row.state)}</small> <b>{who}</b>: <p>{text}</p>{asked}</li>\n"
            )

    def _messages(self, contact: ContactId) -> Iterator[MessageRow]:
        """Yield a conversation in its causal order."""
        found = self._stores.vault.messages.conversation(contact)
        for row in found:
            self._step()
            yield row

    def _readme(self) -> str:
        lines = [_README.format(format=FORMAT, version=__version__)]
        kept_back = [owner.LEFT_OUT for owner in reversed(self._stores.vault.owners)]
        for left_out in (*kept_back, self._stores.custody.LEFT_OUT):
            lines += [f"  {what}: {why}\n" for what, why in left_out.items()]
        return "".join(lines)


def _member(name: str) -> zipfile.ZipInfo:
    """Return a member's entry. A ZIP tells years from 1980 to 2107; clocks here may tell any."""
    now = time.localtime()
    year = min(max(now.tm_year, 1980), 2107)
    at = (year, now.tm_mon, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec)
    made = zipfile.ZipInfo(name, at)
    made.compress_type = zipfile.ZIP_DEFLATED
    made.external_attr = 0o600 << 16
    return made


def _module(owner: Table) -> str:
    return type(owner).__name__.lower()


def _moment(at: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
    except (OverflowError, ValueError, OSError):  # an author's clock may say anything
        return str(at)


def _shown(text: str) -> str:
    """Return foreign text for the page: escaped, apart from its surroundings, nothing hidden."""
    plain = "".join(
        char
        if char in "\n\t\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"}
        else f"[U+{ord(char):04X}]"
        for char in text
    )
    return f"<bdi>{html.escape(plain)}</bdi>"


_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'">
<meta name="referrer" content="no-referrer"><title>p2pnode export</title>
<style>body{{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}}
ol{{list-style:none;padding:0}} li{{margin:.8em 0}} p{{white-space:pre-wrap;margin:.2em 0;
overflow-wrap:anywhere}} small{{color:#555}}
td,th{{text-align:left;padding:.1em 1em .1em 0}}</style>
</head><body><h1>{name}</h1>
<p>Everything this p2pnode kept on {at} (version {version}). Messages stand in the order in which
their authors saw them; times are what their authors' clocks said. README.txt tells what is not
here.</p>
"""

_README = """Your data, as p2pnode {version} kept it.

index.html    to read: open it in a browser; it holds no script and loads nothing
json/         the same and more for programs, one file for each part of the store: an object with
              "format": {format}, "module", and "tables" (name: rows). Ids are base32; "at",
              "arrived", "created", "last_seen" and "redacted" are Unix seconds by clocks that may
              be wrong; "since", "due", "born", "dies", "expires" are seconds this node has lived
config.toml   your settings, if you had any

Messages stand in causal order: nothing stands before what its author had seen. A text that its
author asked to have removed is empty if your settings hide such texts.

This archive is not encrypted. Whoever has it can read your messages. It is no backup: no key is in
it, and no node can be made from it.

What is kept and is not in here, and why:
"""
