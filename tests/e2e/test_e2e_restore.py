"""A backup is restored on another host while the old device runs; and kill -9 in between."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from p2pnode import schema
from p2pnode.errors import UntrustedKey
from p2pnode.protocol.envelope import parse_untrusted
from p2pnode.store import keys
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from tests.daemons import Daemon, by_hand, delivered, homes, pair, texts
from tests.namespaces import networks
from tests.patience import PATIENCE

network = pytest.fixture(networks)


@contextmanager
def besides(*daemons: Daemon) -> Iterator[None]:
    """At the end none of these runs any more; their homes come out of backups."""
    try:
        yield
    finally:
        for daemon in daemons:
            if daemon.process is not None:
                daemon.kill()


def told(daemon: Daemon, reason: str) -> None:
    """Wait for an event with this reason."""
    after = 0
    with daemon.client() as client:
        while True:
            page = client.call(schema.TakeEvents("test", after=after, timeout=PATIENCE))
            assert page.events, f"{daemon.name} was never told: {reason}"
            after = page.events[-1].cursor
            if any(one.reason == reason for one in page.events):
                return


def write(daemon: Daemon, to: str, text: str) -> str:
    with daemon.client() as client:
        return client.call(schema.Send(to=to, text=text)).id


def contact(daemon: Daemon, name: str) -> schema.Contact:
    with daemon.client() as client:
        return client.call(schema.ContactRef(name))


def kept(daemon: Daemon) -> tuple[list[bytes], list[bytes]]:
    """Return all envelopes in a home that is off, and its session's secret keys."""
    passphrase = Path(daemon.secret[1]).read_bytes().rstrip(b"\n") if daemon.secret else None
    key = keys.unlock(daemon.home.vault_key, passphrase=passphrase)
    with closing(Vault.open(daemon.home.vault, key)) as vault:
        raws = [row.raw for _, row in vault.outbox.page(0, 1_000, None)]
        sessions = [
            vault.sessions.load(device.session)
            for device in vault.devices.all()
            if device.session is not None
        ]
        links = [device.link.current for device in vault.devices.all()]
    with closing(Custody.open(daemon.home.custody)) as custody:
        raws += [raw for (raw,) in custody.database.rows("SELECT raw FROM bodies")]
    chains = [
        part
        for one in sessions
        for part in (one.root, one.sending_key, one.receiving_key, one.dh_private, one.kem_seed)
        if part
    ]
    return raws, chains + links


def test_show_3_a_restore_while_the_old_device_runs(network, tmp_path):
    net = network("a", "b", "c")
    ana = Daemon(tmp_path, "ana", host=net["a"])
    bo = Daemon(tmp_path, "bo", host=net["b"], passphrase="battery staple")
    new = Daemon(tmp_path, "bo-anew", host=net["c"], passphrase="another one")
    saved, phrase = tmp_path / "bo.p2pnode", tmp_path / "phrase"
    with homes(ana, bo), besides(new):
        for one in (ana, bo):
            one.home.config.write_text('[privacy]\norigin = "fast"\n')
            one.start()
        pair(ana, bo)
        delivered(ana, [write(ana, "bo", "before")])
        delivered(bo, [write(bo, "ana", "from the old one")])
        asked = [str(saved), "--history", "--phrase-file", str(phrase)]
        before = bo.lines("status")[0]["backup"]
        assert (before["at"], before["missing"]) == (None, 1)
        wrong = bo.cli("backup", "create", *asked, "--passphrase-file", str(bo.log), code=7)
        assert "does not open" in wrong
        [made] = bo.lines("backup", "create", *asked, *bo.secret)
        assert (made["contacts"], made["messages"]) == (1, 2)
        assert len(phrase.read_text().split()) == 18
        assert bo.lines("status")[0]["backup"]["missing"] == 0
        assert "there already" in bo.cli("backup", "create", *asked, *bo.secret, code=2)

        new.cli("restore", str(saved), "--phrase-file", str(phrase), *new.secret)
        assert new.home.config.read_text() == bo.home.config.read_text()
        new.start()
        hello = write(new, "ana", "from the new one")
        told(ana, "restored")
        delivered(new, [hello])  # messages flow to the new one
        told(ana, "clone")  # and the old one is noticed as soon as it comes
        told(bo, "replaced")
        assert (contact(ana, "bo").state, contact(ana, "bo").doubt) == ("suspect", "clone")
        with pytest.raises(UntrustedKey, match="two copies"):
            write(ana, "bo", "to whom?")
        with pytest.raises(UntrustedKey, match="your own identity"):
            write(bo, "ana", "still me")
        assert "clone" in ana.lines("contacts", "show", "bo")[0]["doubt"]

        assert "two copies of bo" in ana.cli("status")
        assert "suspect (two copies in use)" in ana.cli("contacts")
        shown = subprocess.run(
            bo.command("recv"), capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert "your own identity was restored" in shown.stderr

        ana.cli("verify", "bo", "--yes")
        delivered(ana, [write(ana, "bo", f"to the new one {n}") for n in range(3)])
        delivered(new, [write(new, "ana", f"answer {n}") for n in range(3)])
        assert ("", "to the new one 0") in texts(ana, "bo")
        assert texts(new, "ana")[0][1] == "before"
        assert all("to the new one" not in text for _, text in texts(bo, "ana"))
        assert sorted(text for _, text in texts(ana, "bo")) == sorted(
            text for _, text in texts(new, "ana")
        )
        for one in (ana, bo, new):
            assert one.end() == 0
        found = {one.name: kept(one) for one in (ana, bo, new)}
    raws = {raw for here, _ in found.values() for raw in here}
    outer = [parse_untrusted(raw) for raw in raws]
    assert outer
    assert len({one.nonce for one in outer}) == len(outer)
    assert len({one.tag for one in outer}) == len(outer)
    assert not set(found["bo"][1]) & set(found["bo-anew"][1])


def test_kill_9_in_the_middle_of_restoring_and_of_taking_a_reset(tmp_path, chance):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    new = Daemon(tmp_path, "bo-anew")
    saved, phrase = tmp_path / "bo.p2pnode", tmp_path / "phrase"
    with homes(ana, bo), besides(new):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        delivered(ana, [write(ana, "bo", "before")])
        assert bo.end() == 0
        # Without a daemon; ana's own address is in the settings, and the port is free again.
        bo.cli("backup", "create", str(saved), "--phrase-file", str(phrase))
        lost = [write(ana, "bo", f"waiting {n}") for n in range(20)]
        words = ("restore", str(saved), "--phrase-file", str(phrase), "--no-passphrase")
        took = time.monotonic()
        subprocess.run([*new.command("--help")], capture_output=True, check=True)
        took = time.monotonic() - took
        for _ in range(5):
            making = subprocess.Popen(
                new.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                making.wait(took + chance.uniform(0, 1.5))
            except subprocess.TimeoutExpired:
                making.send_signal(signal.SIGKILL)
                making.wait()
            if new.home.exists:
                break
        if not new.home.exists:
            new.cli(*words)
        new.start()
        back = [write(new, "ana", f"back {n}") for n in range(20)]
        for _ in range(4):
            ana.kill()
            ana.start()
            time.sleep(chance.uniform(0, 0.5))  # the moment of the next kill is the test
        delivered(ana, lost)
        delivered(new, back)
        assert (contact(ana, "bo").state, contact(ana, "bo").doubt) == ("active", "")
        mine = [f"waiting {n}" for n in range(20)] + [f"back {n}" for n in range(20)]
        assert sorted(text for _, text in texts(new, "ana")) == sorted(mine)
        assert sorted(text for _, text in texts(ana, "bo")) == sorted([*mine, "before"])


def test_a_home_whose_disk_lost_pages_is_made_whole(tmp_path):
    """What the damaged stores still give goes into new ones, and both write to each other again."""
    ana, bo = Daemon(tmp_path, "ana", passphrase="open sesame"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        before = [f"{number} " + "x" * 400 for number in range(200)]
        delivered(bo, [write(bo, "ana", text) for text in before])
        assert "another daemon runs" in ana.cli("repair", *ana.secret, code=8)
        assert ana.end() == 0
        assert "vault: sound | custody: sound" in ana.cli("repair", *ana.secret)
        for path, page in ((ana.home.vault, -9), (ana.home.custody, 0)):
            raw = bytearray(path.read_bytes())
            raw[page * 2_048 + 7] ^= 1
            path.write_bytes(raw)
        assert "p2pnode repair" in ana.cli("run", *ana.secret, code=8)
        assert "Nothing was changed" in ana.cli("repair", *ana.secret, stdin="n\n", code=130)
        [made] = ana.lines("repair", "--yes", *ana.secret)
        assert (made["vault"], made["custody"], made["contacts"]) == ("new", "new", 1)
        assert (made["lost"], set(made["unread"]) <= {"messages"}) == ([], True)
        ana.start()
        delivered(ana, [write(ana, "bo", "here again")])
        told(bo, "restored")
        delivered(bo, [write(bo, "ana", "so am I")])
        got = [text for author, text in texts(ana, "bo") if author]
        assert got == [text for text in [*before, "so am I"] if text in got]
        assert len(got) == made["messages"] + 1
        assert ana.end() == 0
        assert "vault: sound | custody: sound" in ana.cli("repair", *ana.secret)
