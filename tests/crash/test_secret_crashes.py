"""Changing what opens the vault is cut short before each thing it does to the disk: one of the two
secrets fits, whatever came between."""

from contextlib import suppress
from pathlib import Path

from p2pnode.errors import LocalError
from p2pnode.store import keys
from p2pnode.store.keys import Cost, Secret
from tests.cuts import Cut, cut_before

CALLS = ("open", "write", "pwrite", "fsync", "rename", "unlink")
CHEAP = Cost(1, 8 * 1024 * 1024)


def opens(path: Path, passphrase: bytes) -> bytes | None:
    try:
        return keys.unlock(path, passphrase=passphrase)
    except LocalError:
        return None


def test_one_of_two_passphrases_fits_after_a_crash_at_any_point(tmp_path):
    outcomes = []
    for number in range(100):
        path = tmp_path / f"vault-{number}.key"
        key = keys.create(path, passphrase=b"old", cost=CHEAP)
        done = False
        with suppress(Cut), cut_before(number, CALLS):
            keys.change(path, Secret(b"old"), Secret(b"new"), cost=CHEAP)
            done = True
        found = {name: opens(path, name) for name in (b"old", b"new")}
        fits = [name for name, opened in found.items() if opened is not None]
        assert found[fits[0]] == key
        assert len(fits) == 1
        outcomes.append(fits[0])
        # What a crash has left holds the key under the other secret, or none: a start destroys it.
        keys.forget_draft(path)
        assert not list(tmp_path.glob("*.new"))
        path.with_name(f"{path.name}.new").write_bytes(b"left")  # nor is it an obstacle to a change
        keys.change(path, Secret(fits[0]), Secret(b"third"), cost=CHEAP)
        assert opens(path, b"third") == key
        if done:
            break
    assert done
    assert outcomes[0] == b"old"
    assert outcomes[-1] == b"new"
    assert outcomes == sorted(outcomes, reverse=True)  # first the old one, from some point the new
    assert len(outcomes) > 5
