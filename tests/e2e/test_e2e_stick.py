"""A real FAT file system, pulled out while courier files are copied onto it.

The image is made, written and read by mtools, a FAT driver in user space, and repaired by
dosfstools. A pull leaves the image as it was with some of the changed sectors: the first, or any.
What the daemons write is random; which cuts there are is not.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pnode import schema
from tests.daemons import Daemon, delivered, homes, pair, texts
from tests.namespaces import networks
from tests.patience import PATIENCE, until

network = pytest.fixture(networks)

SECTOR = 512
SLOT = 4_128
HEAD = 32
SIZES = {1: 4_096, 4: 16_384, 16: 65_536}

CUTS = 12
ENVIRONMENT = {**os.environ, "MTOOLSRC": os.devnull, "MTOOLS_SKIP_CHECK": "1"}


class Fat(NamedTuple):
    """A kind of FAT: sectors of the image, and what mformat must be told."""

    name: str
    sectors: int
    options: tuple[str, ...]


KINDS = (Fat("fat16", 65_536, ("-c", "4")), Fat("fat32", 81_920, ("-F", "-c", "1")))


class Image:
    """A stick: a file with a FAT file system."""

    def __init__(self, path: Path, kind: Fat) -> None:
        self.path = path
        self.kind = kind

    def format(self) -> None:
        """Make the file system anew and empty; what lay in its clusters stays there."""
        shape = ("-T", str(self.kind.sectors), "-h", "64", "-s", "32")
        self._run("mformat", *shape, *self.kind.options, "::")

    def put(self, files: Iterable[Path]) -> None:
        """Copy files onto the stick, over those of the same names."""
        self._run("mcopy", "-n", "-D", "o", "-D", "O", *map(str, files), "::")

    def get(self, folder: Path) -> Path:
        """Copy whatever can be read into a fresh folder, and return it."""
        folder.mkdir()
        for name in self._run("mdir", "-b", "::", may_fail=True).splitlines():
            if name.startswith("::/"):
                self._run("mcopy", "-n", name, str(folder), may_fail=True)
        return folder

    def repair(self) -> None:
        """Check the file system, as is due after a pull."""
        words = ["fsck.vfat", "-a", "-w", str(self.path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode in (0, 1), (done.stdout, done.stderr)

    def _run(self, program: str, *words: str, may_fail: bool = False) -> str:
        done = subprocess.run(
            [program, "-i", str(self.path), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=ENVIRONMENT,
        )
        assert may_fail or done.returncode == 0, (program, words, done.stderr)
        return done.stdout


def sectors(raw: bytes) -> Iterator[bytes]:
    """Yield an image's sectors."""
    for at in range(0, len(raw), SECTOR):
        yield raw[at : at + SECTOR]


def torn(old: bytes, new: bytes, cut: int, draw: random.Random) -> bytes:
    """Return what pull number `cut` leaves of a write: neither nothing nor all of it.

    By turns: the first of the changed sectors or any of them, few of them or nearly all.
    """
    pairs = enumerate(zip(sectors(old), sectors(new), strict=True))
    changed = [number for number, (before, after) in pairs if before != after]
    if cut & 1:
        draw.shuffle(changed)
    few = int((len(changed) - 1) ** draw.random())
    raw = bytearray(old)
    for number in changed[: len(changed) - few if cut & 2 else few]:
        at = number * SECTOR
        raw[at : at + SECTOR] = new[at : at + SECTOR]
    return bytes(raw)


def records(folder: Path) -> set[bytes]:
    """Return the records of whole bundles, as docs/protocol/courier.md lays them out."""
    found = set()
    for path in folder.iterdir():
        raw, at = path.read_bytes(), 0
        while raw[at : at + 4] == b"p2p\1":
            slots = int.from_bytes(raw[at + 6 : at + 8])
            found.add(raw[at : at + HEAD + SIZES[slots]])
            at += slots * SLOT
    return found


def whole(folder: Path, known: set[bytes]) -> list[bytes]:
    """Return every place in a folder's bundles where a known record lies, byte for byte."""
    by_head = {record[:HEAD]: record for record in known}
    found = []
    for path in folder.glob("*.p2p"):
        raw = path.read_bytes()
        for at in range(0, len(raw), SLOT):
            record = by_head.get(raw[at : at + HEAD])
            if record is not None and raw.startswith(record, at):
                found.append(record)
    return found


def is_part_in_order(part: list[str], all_of_it: list[str]) -> bool:
    """Say whether a list is another one with some left out; what it holds is never held twice."""
    rest = iter(all_of_it)
    return all(any(one == other for other in rest) for one in part)


class Reader:
    """A daemon that reads folders, and which records it has taken in."""

    def __init__(self, daemon: Daemon, own: set[bytes], sent: list[str]) -> None:
        self.daemon = daemon
        self._own = own
        self._sent = sent
        self._known: set[bytes] = set()

    def read(self, folder: Path, known: set[bytes]) -> int:
        """Read a folder; check what is counted and shown. Return how many were new."""
        found = whole(folder, known)
        new = set(found) - self._known
        self._known |= new
        assert self.daemon.lines("courier", "read", str(folder)) == [
            {
                "schema": 1,
                "found": len(found),
                "new": len(new),
                "opened": len(new & self._own),
                "refused": 0,
            }
        ]
        shown = texts(self.daemon, "ana")
        assert is_part_in_order([text for _, text in shown], self._sent)
        assert {author for author, _ in shown} <= {"ana"}
        assert len(shown) == len(self._known & self._own)
        return len(new)


def send(daemon: Daemon, to: str, written: list[str]) -> list[str]:
    """Send texts; return the ids."""
    with daemon.client() as client:
        return [client.call(schema.Send(to=to, text=text)).id for text in written]


def wrote(daemon: Daemon, folder: Path, contact: str) -> int:
    """Write own mail for a contact into a folder; return how many envelopes were added."""
    folder.mkdir(exist_ok=True)
    done = daemon.lines("courier", "write", str(folder), "--for", contact)[0]
    return int(done["envelopes"])


def prepare(image: Image, lost: Path, kept: Path, draw: random.Random) -> None:
    """Make a used stick: files on it, and in free clusters files of before, and rubbish."""
    image.path.write_bytes(draw.randbytes(image.kind.sectors * SECTOR))
    image.format()
    image.put(kept.iterdir())
    image.put(lost.iterdir())
    image.format()
    image.put(kept.iterdir())


def receipts_written(daemon: Daemon, more_than: int) -> int:
    """Wait until a daemon has written receipts for carriers, which it does late; return how many
    envelopes of its own wait."""
    with daemon.client() as client:
        until(lambda: client.call(schema.GetStatus()).outbox.count > more_than)
        return client.call(schema.GetStatus()).outbox.count


def all_delivered(daemon: Daemon, contact: str) -> bool:
    """Say whether all that was written to a contact has been acknowledged."""
    with daemon.client() as client:
        page = client.call(schema.GetHistory(contact=contact, limit=500)).messages
    return all(one.state == "delivered" for one in page)


def test_a_stick_pulled_out_of_a_copy(network, tmp_path, chance):
    if shutil.which("mcopy") is None or shutil.which("fsck.vfat") is None:
        pytest.skip("mtools or dosfstools is missing: apt install mtools dosfstools")
    net = network("a", "b", "c")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(tmp_path, "bo", host=net["b"])
    cy = Daemon(tmp_path, "cy", host=net["c"])
    with homes(ana, bo, cy):
        for daemon in (ana, bo, cy):
            daemon.home.config.write_text('[privacy]\norigin = "fast"\n')
            daemon.start()
        for one, two in ((ana, bo), (ana, cy)):
            pair(one, two)
        for host in ("a", "b", "c"):
            net[host].cut()

        lost, kept, stick = tmp_path / "lost", tmp_path / "kept", tmp_path / "stick"
        to_cy = [f"to cy {number}" for number in range(20)]
        send(ana, "cy", to_cy)
        assert wrote(ana, lost, "cy") == 20
        to_bo = [
            f"to bo {number}" + " and on" * chance.choice([0, 0, 0, 0, 400, 3_000])
            for number in range(33)
        ]
        ids = send(ana, "bo", to_bo[:3])
        assert wrote(ana, kept, "bo") == 3
        shutil.copytree(kept, stick)
        for first in (3, 13, 23):
            ids += send(ana, "bo", to_bo[first : first + 10])
            assert wrote(ana, stick, "bo") == 10
        for_bo, for_cy = records(stick), records(lost)
        assert (len(for_bo), len(for_cy)) == (33, 20)
        known = for_bo | for_cy

        readers = [Reader(bo, for_bo, to_bo), Reader(cy, for_cy, to_cy)]
        images = [Image(tmp_path / f"{kind.name}.img", kind) for kind in KINDS]
        states = []
        for image in images:
            prepare(image, lost, kept, chance)
            old = image.path.read_bytes()
            image.put(path for path in stick.iterdir() if not (kept / path.name).exists())
            states.append((old, image.path.read_bytes()))
        damaged = 0
        for cut in range(CUTS):
            kind = (cut ^ cut >> 2) & 1
            image, (old, new) = images[kind], states[kind]
            image.path.write_bytes(torn(old, new, cut, chance))
            folder = image.get(tmp_path / f"cut-{cut}")
            found = set(whole(folder, known))
            assert records(kept) <= found, "what lay there before is unharmed"
            damaged += not for_bo <= found
            for reader in readers:
                reader.read(folder, known)
        assert damaged, "no cut did any harm"

        for number, image in enumerate(images):  # the latest cuts of both kinds, tried again
            image.repair()
            image.put(stick.iterdir())
            folder = image.get(tmp_path / f"again-{number}")
            assert set(whole(folder, known)) >= for_bo
            for reader in readers:
                reader.read(folder, known)
                assert reader.read(folder, known) == 0
        assert texts(bo, "ana") == [("ana", text) for text in to_bo]

        back, image, rounds, waiting = tmp_path / "back", images[0], 0, 0
        while not all_delivered(ana, "bo"):
            waiting = receipts_written(bo, waiting)
            wrote(bo, back, "ana")
            old = image.path.read_bytes()
            image.put(back.iterdir())
            new = image.path.read_bytes()
            for cut in range(2):
                image.path.write_bytes(torn(old, new, cut, chance))
                ana.lines("courier", "read", str(image.get(tmp_path / f"back-{rounds}-{cut}")))
            image.repair()
            image.put(back.iterdir())
            ana.lines("courier", "read", str(image.get(tmp_path / f"home-{rounds}")))
            rounds += 1
        delivered(ana, ids)
        for daemon in (ana, bo, cy):
            assert daemon.end() == 0
            assert "Traceback" not in daemon.log.read_text()
