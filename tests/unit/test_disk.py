"""Plain files: nothing waits for what stands in their place, nothing half-made stays."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pnode import disk, erasure
from p2pnode.cli import qr
from p2pnode.config import Home, load, transport_settings
from p2pnode.errors import ConfigError, InvalidInput, StoreError
from p2pnode.spi.transport import Settings
from p2pnode.store import files, keys
from p2pnode.store.custody import Custody


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """Let no file become larger than so many bytes, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_no_file_is_refused_at_once(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder, Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(OSError, match=r"no regular file|No such file"):
            disk.read(path, 10)
    plain = tmp_path / "plain"
    plain.write_bytes(b"12345")
    assert disk.read(plain, 5) == b"12345"
    assert disk.read(plain, 3) == b"1234"


def test_nobody_waits_for_a_pipe_in_the_place_of_a_file(tmp_path):
    """Each of these held a thread of the daemon, or all of it, for ever."""
    home = Home(tmp_path)
    for path in (home.config, home.vault_key, home.carry_pass, home.erasure, home.custody):
        os.mkfifo(path)
    with pytest.raises(ConfigError, match="no regular file"):
        load(home.config)
    assert transport_settings(home.config, "lan", {}, Settings) == Settings()
    with pytest.raises(StoreError, match="no regular file"):
        keys.kind(home.vault_key)
    assert files.carry_pass(home.carry_pass) is None
    with pytest.raises(StoreError, match="no regular file"):
        erasure.intent(home)
    for read_only in (True, False):
        with pytest.raises(StoreError, match="no regular file"):
            Custody.open(home.custody, read_only=read_only)
    sound = tmp_path / "sound.key"
    with pytest.raises(InvalidInput, match="no regular file"):
        keys.create(sound, passphrase=None, key_file=home.vault_key)
    assert not sound.exists()


def test_what_does_not_fit_leaves_no_trace(tmp_path):
    path = tmp_path / "file"
    with no_room(1_000), pytest.raises(OSError, match="too large"):
        disk.write(path, bytes(2_000))
    assert names(tmp_path) == []
    path.write_bytes(b"older")
    with no_room(1_000), pytest.raises(OSError, match="too large"):
        disk.write(path, bytes(2_000))
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"older"
    with no_room(50), pytest.raises(InvalidInput):
        qr.written("P2PNODE:X", tmp_path / "code.png", "png")
    assert names(tmp_path) == ["file"]


def test_a_file_is_written_in_the_place_of_another(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    disk.write(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    link.symlink_to(path)
    disk.write(link, b"two")
    assert link.is_symlink()
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for taken in (path, link):
        with pytest.raises(FileExistsError):
            disk.write(taken, b"three", replace=False)
    reading, writing = os.pipe()  # as /dev/stdout may be: it stays what it is
    disk.write(Path(f"/dev/fd/{writing}"), b"four")
    assert os.read(reading, 10) == b"four"
    os.close(reading)
    os.close(writing)
    assert names(tmp_path) == ["file", "link"]


def test_an_erasure_that_could_not_destroy_the_key_does_not_say_that_it_did(tmp_path):
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.vault_key.mkdir()  # stands for one that cannot be deleted
    with pytest.raises(StoreError, match="nothing was erased"):
        erasure.carry_out(home)
    home.vault_key.rmdir()
    keys.create(home.vault_key, passphrase=None)
    (home.root / "transports").write_text("no folder")
    home.vault.mkdir()
    with pytest.raises(StoreError, match="the keys are destroyed"):
        erasure.carry_out(home)
    assert not home.vault_key.exists()
