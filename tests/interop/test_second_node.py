"""A real daemon has a second implementation, made from the documents alone, for a contact."""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from p2pnode import schema
from tests.daemons import Daemon, delivered, homes, texts
from tests.interop.second_bytes import Dice, kem_public, pack, unpack, x25519_public
from tests.interop.second_custody import read_bundle, write_bundle
from tests.interop.second_link import LinkKey, link_first
from tests.interop.second_node import Friend, Link
from tests.interop.second_pairing import Keys, Mutual, Pairing, make_code, parse_code
from tests.interop.second_session import Reset, Session, envelope_id
from tests.patience import PATIENCE
from tests.ports import free_port

LOOPBACK = "127.0.0.1"


def configured(daemon, peers=()):
    """Let a daemon listen on loopback; return where."""
    port = free_port()
    daemon.home.config.write_text(
        f'[transports.lan]\ndiscover = false\ninterfaces = ["lo"]\n'
        f'port = {port}\npeers = {json.dumps(list(peers))}\n[privacy]\norigin = "fast"\n'
    )
    return LOOPBACK, port


@contextmanager
def speaking(daemon, *words):
    """A verb that talks while it waits, and its lines."""
    with subprocess.Popen(
        daemon.command(*words, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.stdout.read()
        assert process.wait() == 0


def joined(daemon, friend, name, broken=0):
    """The friend joins by the daemon's code, after so many links that broke off."""
    with speaking(daemon, "pair", "show", "--accept", "--petname", name) as shows:
        pairing = Pairing(friend.identity, json.loads(shows.stdout.readline())["uri"])
        for _ in range(broken):
            key = LinkKey(link_first(pairing.link_secret), True, rank=2, steps=False)
            Link.dial(daemon.place, [key]).close()
        words = friend.pair(pairing)
        assert len(json.loads(shows.stdout.readline())["words"]) == len(words)


@pytest.fixture(scope="module")
def ana(tmp_path_factory):
    """A daemon that runs, with its place."""
    root = tmp_path_factory.mktemp("interop")
    daemon = Daemon(root, "ana")
    secret = root / "key"
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    daemon.secret = ["--key-file", str(secret)]
    with homes(daemon):
        daemon.place = configured(daemon)
        daemon.start()
        yield daemon


@pytest.fixture
def friend(ana, request):
    """A contact of ana's, on a link."""
    found = Friend(ana.place)
    found.name = request.node.name[5:30]
    joined(ana, found, found.name, broken=2)
    found.meet()
    yield found
    found.part()


def foreign(size=4096):
    """An envelope for somebody else."""
    return b"\1" + os.urandom(16) + b"\3" + os.urandom(size - 18)


def said(daemon, name):
    return [text for author, text in texts(daemon, name) if author]


def sends(daemon, name, text):
    with daemon.client() as client:
        return client.call(schema.Send(to=name, text=text)).id


def test_messages_and_receipts_both_ways(ana, friend):
    sent = [friend.write("a short one"), friend.write("longer " * 2_000)]
    offered = friend.write("offered first", send=False)
    friend.offer(offered)
    friend.until(lambda: {*sent, offered} <= friend.receipts)
    assert said(ana, friend.name) == ["a short one", "longer " * 2_000, "offered first"]

    answer = sends(ana, friend.name, "an answer " * 2_000)
    friend.until(lambda: friend.texts)
    assert friend.texts == ["an answer " * 2_000]
    delivered(ana, [answer])

    # What came is receipted again, given or offered; an unknown kind of content is not.
    friend.receipts.clear()
    friend.give(friend.outbox[offered])
    friend.until(lambda: offered in friend.receipts)
    unknown = friend.post(b"\x63later")
    friend.until(lambda: unknown in friend.accepted)
    assert unknown not in friend.receipts


def test_what_is_carried_is_reconciled(ana, friend):
    carried, lacking, old = foreign(), foreign(16384), b"\1" + bytes(16) + b"\0" + bytes(4078)
    friend.give(carried)
    friend.give(old, age=25)
    friend.until(lambda: envelope_id(carried) in friend.accepted)
    friend.until(lambda: (1, envelope_id(old)) in friend.refused)
    friend.held = {envelope_id(lacking): lacking}
    friend.reconcile()
    friend.until(lambda: envelope_id(lacking) in friend.accepted)
    friend.until(lambda: envelope_id(carried) in friend.held)
    assert friend.held[envelope_id(carried)] == carried


def test_pieces_go_on_where_a_link_broke(ana, friend):
    envelope = friend.write("w" * 50_000, send=False)
    raw = friend.outbox[envelope]
    for number in range(7):
        friend.give_piece(raw, number)
    between = friend.write("between")
    friend.until(lambda: between in friend.receipts)
    friend.meet()
    friend.until(lambda: friend.last_piece)
    assert friend.last_piece == (envelope, 7)
    for number in range(7, 16):
        friend.give_piece(raw, number)
    friend.until(lambda: envelope in friend.receipts)
    assert said(ana, friend.name)[-1] == "between"  # written later, but here first


def test_how_long_messages_live_is_agreed(ana, friend):
    proposal = os.urandom(16)
    proposed = friend.post(b"\4" + pack([proposal, 3600, b""]))
    friend.until(lambda: proposed in friend.receipts)
    ana.cli("disappear", friend.name, "--accept")
    friend.until(lambda: b"\5" + pack([proposal, True]) in friend.contents)
    fading = friend.write("fades", span=3600)
    ana.cli("disappear", friend.name, "2h")
    friend.until(lambda: friend.contents[-1][0] == 4)
    theirs, span, answers = unpack(friend.contents[-1][1:])
    assert (span, answers) == (7200, b"")
    verdict = friend.post(b"\5" + pack([theirs, True]))
    friend.until(lambda: {fading, verdict} <= friend.receipts)
    [rules] = ana.lines("disappear", friend.name)
    assert [rule["seconds"] for rule in rules["rules"]] == [7200]


def test_files_both_ways(ana, friend, tmp_path):
    friend.part()
    friend.write("by stick", send=False)
    [raw] = friend.outbox.values()
    (tmp_path / "abcdefgh.p2p").write_bytes(write_bundle([(raw, 0), (foreign(65536), 5)]))
    [read] = ana.lines("courier", "read", str(tmp_path))
    assert (read["new"], read["opened"]) == (2, 1)
    sends(ana, friend.name, "by stick, too")
    ana.cli("courier", "write", str(tmp_path), "--for", friend.name)
    found = [one for path in tmp_path.glob("*.p2p") for one in read_bundle(path.read_bytes())]
    listed = friend.session.listed_tags()
    opened = [friend.session.open(one[0]) for one in found if one[0][1:17] in listed]
    assert "by stick, too" in [unpack(content[1:])[4] for content in opened if content[0] == 1]


def test_the_second_begins_anew(ana, friend):
    begun = Reset.begin(friend.generation, friend.identity.certificate, os.urandom(16))
    friend.give(begun.envelope(3))
    with pytest.raises(Exception, match="channel-over"):
        friend.until(lambda: False)
    assert friend.bye == 2
    friend.session = Session(begun.key("session"), False, begun, friend.generation.theirs)
    friend.key = LinkKey(link_first(begun.key("link")), False, rank=1)
    friend.meet()
    friend.until(lambda: any(content[0] == 10 for content in friend.contents))
    after = friend.write("anew")
    friend.until(lambda: after in friend.receipts)
    with ana.client() as client:
        contact = client.call(schema.ContactRef(friend.name))
    assert (contact.state, contact.verified) == ("active", "no")


def test_a_mutual_scan(ana):
    second = Friend(ana.place)
    keys = Keys(second.identity, Dice())
    expires = int(time.time()) // 60 + 43_200
    own, uri = make_code(keys.reveal, os.urandom(16), expires)
    with speaking(ana, "pair", "mutual", uri, "--accept", "--petname", "scanned") as scans:
        theirs = parse_code(json.loads(scans.stdout.readline())["uri"])
        mutual = Mutual(second.identity, keys, own, theirs)
        key = LinkKey(link_first(mutual.link_secret), mutual.alice, rank=2, steps=False)
        link = Link.dial(ana.place, [key])
        while not link.peer:  # the code was told before the other one was taken in
            link.close()
            link = Link.dial(ana.place, [key])
        link.send(b"\4\0\0" + mutual.start())
        while not mutual.done:
            kind, fields = link.receive()
            if kind == 4:
                for raw in mutual.receive(fields[1]):
                    link.send(b"\4\0\0" + raw)
                link.send(b"\7" + envelope_id(fields[1]))
        while kind != 12:
            kind, fields = link.receive()
    link.close()
    second.become(mutual)
    second.meet()
    text = second.write("scanned")
    second.until(lambda: text in second.receipts)
    second.part()


def test_a_locked_friend_is_met_by_its_pass(ana, friend):
    friend.until(lambda: friend.carry_pass)
    ana.cli("lock")
    ana.ready()  # who has locked it was told before it listened again
    friend.meet([friend.key, friend.carry_pass], [])
    assert friend.link.peer is friend.carry_pass
    kept = friend.write("while locked")
    friend.until(lambda: kept in friend.accepted)
    friend.held = {}
    friend.reconcile()
    friend.until(lambda: kept in friend.held)
    ana.cli("unlock", *ana.secret)
    ana.ready()
    friend.meet()
    friend.until(lambda: kept in friend.receipts)


def dialled(server, key):
    """The next link on which a key is recognised."""
    while True:
        wire, _ = server.accept()
        wire.settimeout(PATIENCE)
        link = Link(wire, [key], False)
        if link.peer:
            return link
        link.close()


def test_a_daemon_joins_is_set_back_and_begins_anew(tmp_path):
    bo = Daemon(tmp_path, "bo")
    with socket.create_server((LOOPBACK, 0)) as server, homes(bo):
        server.settimeout(PATIENCE)
        place = configured(bo, [f"{LOOPBACK}:{server.getsockname()[1]}"])
        bo.start()
        second = Friend(place)
        pairing = Pairing(second.identity)
        with speaking(bo, "pair", "join", pairing.code, "--accept", "--petname", "second"):
            open_code = LinkKey(link_first(pairing.link_secret), False, rank=2, steps=False)
            # Both yes cross on this very link.
            second.pair(pairing, dialled(server, open_code))
        second.stand(dialled(server, second.key))
        text = second.write("to the one who joined")
        second.until(lambda: text in second.receipts)
        second.part()

        # Its disk goes back to what it was; the links since then are unknown to it.
        bo.end()
        shutil.copytree(bo.home.root, tmp_path / "image")
        bo.start()
        for _ in range(2):
            second.meet()
        forgotten = second.write("forgotten")
        second.until(lambda: forgotten in second.receipts)
        second.part()
        bo.end()
        shutil.rmtree(bo.home.root)
        (tmp_path / "image").rename(bo.home.root)
        bo.start()
        taken_by(second)
        text = second.write("welcome back")
        second.until(lambda: text in second.receipts)
        sends(bo, "second", "thank you")
        second.until(lambda: "thank you" in second.texts)
        second.part()
        assert said(bo, "second") == ["to the one who joined", "welcome back"]


def taken_by(second):
    """Be told by the reset mark of who begins anew, take the reset, answer in the new session."""
    generation = second.generation
    mark = LinkKey(generation.k("mark", b"", 32), generation.alice, rank=-1, steps=False)
    known = [[generation.k("hand", b"", 8), second.key.index, 0]]
    while not second.held:  # it reads there that it was set back, and the first link ends
        second.meet([second.key, mark], known)
        assert second.link.peer is mark
        second.until(lambda: second.held or second.bye == 2)
        second.bye = None
        second.part()
    [raw] = second.held.values()
    reset = Reset.take(generation, second.account, raw)
    second.session = Session(reset.key("session"), True, generation, reset.public)
    second.key = LinkKey(link_first(reset.key("link")), True, rank=1)
    second.part()
    second.meet()
    following = x25519_public(os.urandom(32)), kem_public(os.urandom(64))
    answer = second.post(b"\x0a" + pack([reset.restore, *following, 5, b""]))
    second.until(lambda: answer in second.accepted)
