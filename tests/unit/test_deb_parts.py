"""What goes into the Debian package, as far as it can be told without building it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deb import build
from p2pnode.service import unit


def test_it_brings_what_the_program_needs_and_nothing_else():
    names = build.needed()
    assert {"pynacl", "cryptography", "apsw-sqlite3mc", "trio", "zeroconf", "stem"} <= names
    assert not names & {"pytest", "mypy", "hypothesis", "editables", "hatchling", "p2pnode"}
    entries = list(build.locked(names))
    assert len(entries) == len(names)
    for entry in entries:
        assert "==" in entry
        assert "--hash=sha256:" in entry


def test_a_package_that_is_not_locked_stops_the_build():
    with pytest.raises(SystemExit, match="does not name nonsense"):
        list(build.locked({"nonsense"}))


def test_its_unit_is_the_one_that_service_install_writes():
    text = build.unit_text()
    assert "ExecStart=/usr/bin/p2pnode --home /var/lib/p2pnode run\n" in text
    assert f"User={unit.USER}\n" in text


@pytest.mark.parametrize("shell", build.COMPLETIONS)
def test_completion_of_each_shell_is_in_it(shell):
    assert "_P2PNODE_COMPLETE" in build.completion(shell)


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_its_scripts_are_sound_and_do_nothing_when_asked_nothing(script):
    path = Path(build.ROOT, "deb", script)
    assert path.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(path)], check=True)
    if shutil.which("shellcheck") is not None:
        subprocess.run(["shellcheck", str(path)], check=True)


def test_purging_never_names_an_identity_among_what_it_removes():
    script = Path(build.ROOT, "deb/postrm").read_text()
    kept, _, removed = script.partition("else")
    assert "vault.key" in kept
    assert "rm -rf /var/lib/p2pnode" not in kept
    assert removed.count("rm -rf /var/lib/p2pnode") == 1
