"""A disk that is full to the last byte: a real small one, in a mount namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pnode import schema
from p2pnode.errors import StoreFull
from tests.daemons import Daemon, by_hand, delivered, homes, pair, texts
from tests.patience import PATIENCE

MOUNTED = 'mount -t tmpfs -o size=24m,mode=700 none "$1" && shift && exec "$@"'


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
def test_a_node_lives_on_a_disk_that_is_full(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    scene_ = [sys.executable, "-m", "tests.e2e.test_e2e_full_disk", str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", str(small), *scene_],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fill(path: Path) -> None:
    """Take all the room a file system has."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for size in (65_536, 4_096, 1):
        try:
            while True:
                os.write(handle, bytes(size))
        except OSError:
            continue
    os.close(handle)


def scene(folder: Path) -> None:
    small, ballast = folder / "small", folder / "small" / "ballast"
    ana, bo = Daemon(small, "ana"), Daemon(folder, "bo")
    ana.log, key = folder / "ana.log", folder / "key"
    key.write_bytes(os.urandom(64))
    ana.secret = ["--key-file", str(key)]
    opening = schema.Unlock(key_file=str(key))
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(bo, [bo.lines("send", "ana", "before")[0]["id"]])
        fill(ballast)
        held = sorted(os.listdir(small))
        waiting = bo.lines("send", "ana", "while it is full")[0]["id"]
        with ana.client() as client:
            with pytest.raises(StoreFull):
                for _ in range(2_000):  # what its log has room for goes in
                    client.call(schema.Send(to="bo", text="x" * 1_000))
            for words in (("map", "--svg"), ("export",), ("backup", "create", *ana.secret)):
                made = small / words[0]
                done = subprocess.run(ana.command(*words, str(made)), capture_output=True)
                assert made.exists() == (done.returncode == 0), done  # nothing half-made or empty
                made.unlink(missing_ok=True)
            assert sorted(os.listdir(small)) == held
            for number in range(2):
                client.call(schema.Lock())
                client.call(opening)
                assert client.call(schema.GetStatus()).contacts == 1, number
            # The room that is kept for a start is kept again once there is some.
            ballast.unlink()
            client.call(schema.Lock())
            client.call(opening)
        assert ana.home.reserve.exists()
        fill(ballast)
        assert ana.end() == 0
        fill(ballast)
        ana.start()
        ana.kill()
        ana.start()
        assert ("bo", "before") in texts(ana, "bo")
        ballast.unlink()
        with ana.client() as client:  # a fresh link asks at once; this one would in a minute
            client.call(schema.Lock())
            client.call(opening)
        delivered(bo, [waiting])
        delivered(ana, [ana.lines("send", "bo", "room again")[0]["id"]])
        assert ana.end() == 0
        assert "Traceback" not in ana.log.read_text()


if __name__ == "__main__":
    scene(Path(sys.argv[1]))
