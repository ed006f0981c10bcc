"""Backups as files: whole or not there, under a phrase, of few sizes, and hostile ones."""

import os
import stat

import pytest
from nacl import pwhash

from p2pnode import backup, schema
from p2pnode.config import Home
from p2pnode.errors import (
    InvalidInput,
    LocalError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreTooNew,
    WrongPassphrase,
)
from p2pnode.home import create_home, shown_identity
from p2pnode.store import keys, sealed_file
from p2pnode.store.keys import Cost

WEAK = Cost(pwhash.argon2id.OPSLIMIT_MIN, pwhash.argon2id.MEMLIMIT_MIN)

PHRASE = (
    "sheep tower broccoli badger backpack rice phone umbrella spoon "
    "unicorn fork tulip fork lantern koala lipstick canoe circus"
)
"""One of them: of a phrase made at random, once in 65,536 runs a slip would pass."""


def written(tmp_path, pieces, phrase: str = "", name: str = "b"):
    phrase = phrase or sealed_file.new_phrase()
    path = tmp_path / name
    sealed_file.write(path, phrase, pieces, cost=WEAK)
    return path, phrase


def test_a_phrase_has_eighteen_words_and_forgives_how_it_is_typed() -> None:
    phrase = sealed_file.new_phrase()
    secret = sealed_file.phrase_secret(phrase)
    assert (len(phrase.split()), len(secret)) == (18, 16)
    assert sealed_file.phrase_secret(phrase.upper().replace(" ", "-")) == secret
    cut = "\n".join(word[:4] for word in phrase.split())
    assert sealed_file.phrase_secret(cut) == secret
    assert sealed_file.new_phrase() != phrase


def test_a_slip_in_a_phrase_is_told_from_a_wrong_phrase(tmp_path) -> None:
    path, phrase = written(tmp_path, [b"x"], PHRASE)
    words = phrase.split()
    with pytest.raises(InvalidInput, match="18 words, these are 17"):
        sealed_file.phrase_secret(" ".join(words[1:]))
    with pytest.raises(InvalidInput, match="word 3"):
        sealed_file.phrase_secret(" ".join([*words[:2], "qqqqqq", *words[3:]]))
    swapped = ["zebra" if words[0] != "zebra" else "abacus", *words[1:]]
    with pytest.raises(InvalidInput, match="wrong"):
        sealed_file.phrase_secret(" ".join(swapped))
    with pytest.raises(WrongPassphrase):
        list(sealed_file.read_untrusted(path, sealed_file.new_phrase()))


@pytest.mark.parametrize(
    "sizes", [[1], [65_530, 1, 70_000], [262_136], [262_140, 1], [1_000_000] * 2, []]
)
def test_what_is_written_is_read_back_and_sizes_are_few(tmp_path, sizes) -> None:
    pieces = [bytes([n % 255 + 1]) * size for n, size in enumerate(sizes)]
    path, phrase = written(tmp_path, pieces)
    assert list(sealed_file.read_untrusted(path, phrase)) == pieces
    size = path.stat().st_size - 68
    chunks = size // (65_536 + 17)
    assert size % (65_536 + 17) == 0
    assert chunks & (chunks - 1) == 0
    assert chunks >= 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_contact_or_a_hundred_make_one_size(tmp_path) -> None:
    few, _ = written(tmp_path, [b"c" * 1_800], name="few")
    many, _ = written(tmp_path, [b"c" * 1_800] * 100, name="many")
    assert few.stat().st_size == many.stat().st_size


def test_nothing_is_overwritten_and_nothing_half_is_left(tmp_path) -> None:
    path, phrase = written(tmp_path, [b"x"])
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="there already"):
        sealed_file.write(path, phrase, [b"y"], cost=WEAK)
    assert path.read_bytes() == before

    def broken():
        yield b"x" * 100_000
        raise StoreError("the vault cannot be read")

    with pytest.raises(StoreError):
        sealed_file.write(tmp_path / "other", phrase, broken(), cost=WEAK)
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(StoreError, match="cannot be written"):
        sealed_file.write(tmp_path / "no" / "where", phrase, [b"y"], cost=WEAK)


def test_every_changed_or_missing_byte_is_noticed(tmp_path) -> None:
    path, phrase = written(tmp_path, [b"one", b"t" * 150_000, b"end"])
    whole = path.read_bytes()
    cases = {
        "cut": whole[:-1],
        "a chunk less": whole[: -(65_536 + 17)],
        "a byte more": whole + b"\0",
        "head alone": whole[:44],
        "empty": b"",
        "other": b"not a backup at all, but long enough to be one, perhaps" * 3,
    }
    for at in (15, 18, 22, 28, 45, 70, 66_000, len(whole) - 5):
        changed = bytearray(whole)
        changed[at] ^= 1
        cases[f"byte {at}"] = bytes(changed)
    chunk = 65_536 + 17
    cases["swapped"] = whole[:68] + whole[68 + chunk : 68 + 2 * chunk] * 2 + whole[68 + 2 * chunk :]
    for name, raw in cases.items():
        path.write_bytes(raw)
        with pytest.raises(LocalError):
            list(sealed_file.read_untrusted(path, phrase))
        assert name


def test_a_hostile_backup_may_not_ask_for_all_memory(tmp_path) -> None:
    path, phrase = written(tmp_path, [b"x"])
    whole = path.read_bytes()
    for passes, memory in ((2**32 - 1, 8_192), (1, 2**63), (0, 0), (1, 2**31 + 1)):
        head = sealed_file._HEAD.pack(passes, memory, bytes(16))
        path.write_bytes(whole[:16] + head + whole[44:])
        with pytest.raises(StoreCorrupt):
            list(sealed_file.read_untrusted(path, phrase))
    path.write_bytes(whole[:15] + b"\x02" + whole[16:])
    with pytest.raises(StoreTooNew):
        list(sealed_file.read_untrusted(path, phrase))


def test_a_home_is_restored_as_a_new_device_all_or_nothing(tmp_path) -> None:
    home = Home(tmp_path / "old")
    made = create_home(home, "ana", passphrase=None)
    home.config.write_text('[privacy]\norigin = "hide"\n')
    key = keys.unlock(home.vault_key, passphrase=None)
    phrase = sealed_file.new_phrase()
    path = tmp_path / "ana.p2pnode"
    done = backup.create(home, key, path, phrase, history=True, cost=WEAK)
    assert (done.contacts, done.messages) == (0, 0)
    new = Home(tmp_path / "new")
    with pytest.raises(WrongPassphrase):
        backup.restore(new, path, sealed_file.new_phrase(), passphrase=None)
    assert not new.exists
    assert os.listdir(new.root) == ["lock"]
    found = backup.restore(new, path, phrase, passphrase=None)
    assert found.own.account.seed
    assert (found.own.name, found.settings) == ("ana", True)
    assert new.config.read_text() == home.config.read_text()
    again = shown_identity(found.own)
    assert again.account == made.account
    assert again.device != made.device
    with pytest.raises(InvalidInput, match="identity here already"):
        backup.restore(new, path, phrase, passphrase=None)


def test_a_home_that_has_settings_keeps_them(tmp_path) -> None:
    home = Home(tmp_path / "old")
    create_home(home, "ana", passphrase=None)
    home.config.write_text("[node]\n")
    key = keys.unlock(home.vault_key, passphrase=None)
    phrase = sealed_file.new_phrase()
    backup.create(home, key, tmp_path / "b", phrase, history=False, cost=WEAK)
    new = Home(tmp_path / "new")
    new.root.mkdir()
    new.config.write_text("# mine\n")
    assert not backup.restore(new, tmp_path / "b", phrase, passphrase=None).settings
    assert new.config.read_text() == "# mine\n"


async def test_a_full_disk_in_the_home_costs_no_backup_that_is_elsewhere(tmp_path) -> None:
    home = Home(tmp_path / "home")
    create_home(home, "ana", passphrase=None)

    async def full(ask):
        raise StoreFull("the disk is full")

    made = await backup.serve(home, schema.CreateBackup(str(tmp_path / "stick")), full)
    assert list(sealed_file.read_untrusted(tmp_path / "stick", made.phrase))
