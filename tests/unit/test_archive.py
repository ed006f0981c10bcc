"""The archive: what is in it, what is not, and that nobody's words act in it."""

import base64
import errno
import json
import os
import stat
import time
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from p2pnode import archive
from p2pnode.errors import Denied, InvalidInput, StoreError
from p2pnode.store import sealed_file
from p2pnode.turns import asks, views
from tests.correspondents import Correspondent, befriend, decrypted, exchange

HOSTILE = (
    '</p></li><script>alert(1)</script><img src="http://evil.example/x" onerror=alert(2)>'
    "<iframe src=//evil.example></iframe>\"'&lt;\u202etxet desrever\x1b]0;title\x07\x00"
)


@pytest.fixture
def people(tmp_path: Path):
    ana, bo = Correspondent("ana", tmp_path), Correspondent("bo<b>&")
    befriend(ana, bo)
    exchange(ana, bo)
    yield ana, bo
    ana.close()
    bo.close()


def export(who: Correspondent, path: Path, **how: object) -> dict[str, bytes]:
    usual = {"replace": False, "kept": {}, "settings": None, "told": lambda _: None}
    archive.write(who.stores, path=path, **{**usual, **how})  # type: ignore[arg-type]
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(raw.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href", "action")]
        self.links += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_others_wrote_does_nothing_on_the_page(people, tmp_path):
    ana, bo = people
    bo.write("ana", HOSTILE)
    exchange(ana, bo)
    found = export(ana, tmp_path / "all.zip", settings=tmp_path / "absent.toml")
    page = Page(found["index.html"])
    assert page.tags <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th",
        "td", "ol", "li", "small", "b", "bdi",
    }  # fmt: skip
    assert page.links == []
    raw = found["index.html"].decode()
    assert "default-src 'none'" in raw
    assert "<script>alert(1)</script>" in page.text  # to be read, as it was written
    for char in "\u202e\x1b\x07\x00":
        assert char not in raw
    assert "[U+202E]" in raw
    [message] = json.loads(found["json/messages.json"])["tables"]["messages"]
    assert message["text"] == HOSTILE


def test_everything_is_there_and_no_secret_is(people, tmp_path):
    ana, bo = people
    texts = [f"text {number}" for number in range(20)]
    for text in texts:
        ana.write("bo<b>&", text) if text.endswith("0") else bo.write("ana", text)
        exchange(ana, bo)
    ana.do(asks.SavePrivate("tor", "lane-00", b"secret-of-the-lane-0123456789abcd"))
    ana.do(asks.SavePrivate("gone", "x", b"secret-of-another"))
    settings = tmp_path / "config.toml"
    settings.write_text('[node]\nname = "ana"\n')
    kept = {"tor": {"lane-": "keys of a service"}}
    found = export(ana, tmp_path / "all.zip", kept=kept, settings=settings)
    modules = {type(owner).__name__.lower() for owner in ana.stores.vault.owners}
    assert set(found) == {
        "README.txt", "index.html", "config.toml", "json/custody.json",
        *(f"json/{module}.json" for module in modules),
    }  # fmt: skip
    for name, raw in found.items():
        if name.endswith(".json"):
            whole = json.loads(raw)
            assert whole["format"] == archive.FORMAT
            assert f"json/{whole['module']}.json" == name
    messages = json.loads(found["json/messages.json"])["tables"]["messages"]
    assert [row["text"] for row in messages] == texts
    private = json.loads(found["json/private.json"])["tables"]["private"]
    assert [row["what"] for row in private] == [
        "keys of a service", "the transport is off now and cannot tell"
    ]  # fmt: skip
    plain = b"".join(found.values())
    vault = ana.stores.vault
    assert b"lane-00" in plain
    session = vault.sessions.load(vault.devices.all()[0].session)
    device = vault.devices.all()[0]
    own = ana.own
    secrets = [
        b"secret-of", session.root, device.link.current, own.account.seed,
        own.device.sign_seed, own.device.dh_private, vault.meta.get("source-slots"),
    ]  # fmt: skip
    for secret in secrets:
        assert secret in decrypted(vault)
        for form in (secret, secret.hex().encode(), base64.b32encode(secret).strip(b"=").lower()):
            assert form not in plain
    readme = found["README.txt"].decode()
    for owner in vault.owners:
        for name, why in owner.LEFT_OUT.items():
            assert f"{name}: {why}" in readme


def test_a_text_the_node_hides_is_hidden_there_too(people, tmp_path):
    ana, bo = people
    id_ = bo.write("ana", "regretted canary")
    exchange(ana, bo)
    row = bo.stores.vault.messages.by_id(bo.contacts["ana"], id_, True)
    bo.do(asks.Redact(views.message(row, "").id))
    exchange(ana, bo)
    found = export(ana, tmp_path / "hidden.zip")
    assert b"canary" not in b"".join(found.values())
    assert b"asked to remove this" in found["index.html"]
    object.__setattr__(ana.stores, "redactions", False)
    found = export(ana, tmp_path / "shown.zip")
    assert b"canary" in found["index.html"]
    assert b"canary" in found["json/messages.json"]


def test_the_file_is_private_whole_and_never_overwritten_unawares(people, tmp_path, monkeypatch):
    ana, _ = people
    path = tmp_path / "all.zip"
    export(ana, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="already"):
        export(ana, path)
    assert path.read_bytes() == before
    path.write_bytes(b"something else")
    export(ana, path, replace=True)
    assert zipfile.is_zipfile(path)
    link = tmp_path / "link.zip"
    link.symlink_to(tmp_path / "victim")
    with pytest.raises(InvalidInput):
        export(ana, link)
    assert not (tmp_path / "victim").exists()
    with pytest.raises(StoreError):
        export(ana, tmp_path / "nowhere" / "all.zip")
    if path.owner() != "root":
        with pytest.raises(Denied):
            export(ana, Path("/proc/all.zip"))

    def interrupted(rows: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "TOLD_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        export(ana, tmp_path / "cut.zip", told=interrupted)
    assert not list(tmp_path.glob("*cut.zip*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("at", [0, -2_000_000_000, 8_000_000_000, 400_000_000_000])
def test_an_archive_is_made_whatever_the_clock_says(people, tmp_path, monkeypatch, at):
    """A ZIP knows the years 1980 to 2107, and a Pi that nobody told the time lives in 1970."""
    ana, _ = people
    monkeypatch.setattr("time.localtime", lambda *_: time.gmtime(at))
    monkeypatch.setattr("time.time", lambda: at)
    assert "index.html" in export(ana, tmp_path / "archive.zip")


def test_a_place_without_a_name_is_refused(people):
    ana, _ = people
    with pytest.raises(InvalidInput, match="no place"):
        export(ana, Path("/"), replace=True)
    with pytest.raises(InvalidInput, match="no place"):
        sealed_file.write(Path("/"), sealed_file.new_phrase(), [])


def nameless_files(folder: Path) -> bool:
    """Tell whether the file system knows files without a name."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("nameless", [False, True])
def test_what_is_under_way_has_no_name_that_a_crash_could_leave(
    people, tmp_path, monkeypatch, nameless, replace
):
    ana, _ = people
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "all.zip"
    if replace:
        path.write_bytes(b"older")
    seen: set[tuple[str, ...]] = set()
    opened = os.open

    def refused(place, flags, *more, **named):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return opened(place, flags, *more, **named)

    monkeypatch.setattr(archive, "TOLD_EVERY", 1)
    hidden = nameless and nameless_files(folder)
    if not nameless:
        monkeypatch.setattr(os, "open", refused)
    export(ana, path, replace=replace, told=lambda _: seen.add(tuple(os.listdir(folder))))
    drafts = {name for names in seen for name in names if name != "all.zip"}
    assert len(drafts) == (0 if hidden else 1)
    assert os.listdir(folder) == ["all.zip"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InvalidInput, match="already"):
        export(ana, path)
