"""What attackers on or at a link try, and what they get."""

from hashlib import sha256
from itertools import pairwise

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.frames import open_numbered_untrusted, seal_numbered
from p2pnode.protocol.link.handshake import PROLOGUE
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.link.machine import Link
from p2pnode.protocol.link.messages import Bye, Hello, Statement
from p2pnode.protocol.link.noise import NN
from p2pnode.protocol.primitives import ChaChaPoly
from tests.entropy import SeededEntropy
from tests.link_ends import crowd, end, pair_keys, run, strangers


class Stranger:
    """Speaks the link protocol by hand, on either side, and sees inside the encryption."""

    def __init__(self, *, initiator: bool, seed: int = 77) -> None:
        self.noise = NN(
            initiator=initiator, prologue=PROLOGUE, ephemeral=SeededEntropy(seed).take(32)
        )
        self.initiator = initiator

    def agree(self) -> None:
        both = self.noise.split()
        if not self.initiator:
            both = both[::-1]
        self.out, self.into = (ChaChaPoly(keys.recognition_key(one)) for one in both)

    def seal(self, number: int, plaintext: bytes) -> bytes:
        return seal_numbered(self.out, number, plaintext)

    def open(self, frame: bytes) -> bytes:
        return open_numbered_untrusted(self.into, frame)


def visit(node, page: bytes, proof: bytes, seed: int = 77) -> tuple[list[int], list[bytes]]:
    """Dial a node as a stranger; return the sizes of its frames and what was inside."""
    stranger = Stranger(initiator=True, seed=seed)
    (reply,) = node.receive(stranger.noise.write())
    stranger.noise.read_untrusted(reply)
    stranger.agree()
    (answer,) = node.receive(stranger.seal(0, page))
    (last,) = node.receive(stranger.seal(1, proof))
    return [len(one) for one in (reply, answer, last)], [
        stranger.open(one) for one in (answer, last)
    ]


def be_visited(node, answer: bytes, proof: bytes, seed: int = 77) -> tuple[list[int], list[bytes]]:
    """Be dialled by a node as a stranger; return the sizes of its frames and what was inside."""
    stranger = Stranger(initiator=False, seed=seed)
    (first,) = node.take(node.link.start())
    stranger.noise.read_untrusted(first)
    reply = stranger.noise.write()
    stranger.agree()
    (page,) = node.receive(reply)
    (shown,) = node.receive(stranger.seal(0, answer))
    assert node.receive(stranger.seal(1, proof)) == []
    return [len(one) for one in (first, page, shown)], [stranger.open(one) for one in (page, shown)]


def nodes(initiator: bool, seed: int):
    """Nodes of very different lives: alone, with few contacts, with many."""
    for size in (0, 3, 200):
        yield end(initiator=initiator, known=crowd(size), seed=seed)


def test_a_stranger_cannot_tell_one_node_from_another():
    page, proof = bytes(2048), bytes(32)
    dialled = [visit(node, page, proof) for node in nodes(False, 5)]
    dialling = [be_visited(node, page, proof) for node in nodes(True, 5)]
    assert [sizes for sizes, _ in dialled] == [[48, 2072, 56]] * 3
    assert [sizes for sizes, _ in dialling] == [[32, 2072, 56]] * 3


def test_strangers_and_contacts_look_the_same_from_outside():
    one, other = pair_keys(1, 1)
    lives = {
        "match": ([Candidate("bob", one)], [Candidate("alice", other)]),
        "no match": (crowd(3), crowd(4, seed=1)),
        "alone": ([], []),
        "one-sided": ([Candidate("bob", one)], []),
    }
    seen = []
    for known, theirs in lives.values():
        initiator = end(initiator=True, known=known)
        responder = end(initiator=False, known=theirs)
        wire = run(initiator, responder)
        hello = Hello(1, 0, ())
        if initiator.link.peer:
            hello = Hello(1, 0, (Statement(b"session1", 9, 7),) * 16)
        for sender, receiver in ((initiator, responder), (responder, initiator)):
            frame = sender.link.seal(hello, 0)
            receiver.receive(frame)
            wire.append((sender is initiator, frame))
        # Headers are in the clear: they may not differ, either.
        seen.append(
            [(who, len(frame), frame[:8] if n > 1 else b"") for n, (who, frame) in enumerate(wire)]
        )
    assert all(one == seen[0] for one in seen)


def chi_square(sample: bytes) -> float:
    """Return Pearson's statistic of the byte counts against even ones (255 degrees)."""
    expected = len(sample) / 256
    return sum((sample.count(value) - expected) ** 2 / expected for value in range(256))


def bits_set(sample: bytes) -> float:
    return sum(byte.bit_count() for byte in sample) / (8 * len(sample))


@pytest.mark.parametrize("size", [0, 1, 200])
def test_what_a_stranger_gets_to_see_is_uniform(size):
    """Pages and proofs as the stranger decrypts them, and all frames as a sniffer sees them.

    Fixed seeds. 99.9 % of uniform samples stay below 330.5.
    """
    inside, outside = b"", b""
    for seed in range(12):
        asks = SeededEntropy(10_000 + seed)
        known = crowd(size, seed=seed)
        for contents in (
            visit(
                end(initiator=False, known=known, seed=seed), asks.take(2048), asks.take(32), seed
            )[1],
            be_visited(
                end(initiator=True, known=known, seed=seed), asks.take(2048), asks.take(32), seed
            )[1],
        ):
            inside += b"".join(contents)
        wire = run(
            end(initiator=True, known=known, seed=seed),
            end(initiator=False, known=known, seed=seed),
        )
        outside += b"".join(frame[8 * (n > 1) :] for n, (_, frame) in enumerate(wire))
    for sample in (inside, outside):
        assert chi_square(sample) < 330.5
        assert abs(bits_set(sample) - 0.5) < 0.005


def test_a_match_does_not_show_in_the_responders_page():
    """The holder of a true key aside, answers with 0, 1 and 40 matches are equally uniform."""
    for matches in (0, 1, 40):
        pages = b""
        for seed in range(12):
            pairs = [pair_keys(secret=sha256(bytes([n])).digest()) for n in range(40)]
            initiator = end(
                initiator=True, known=[Candidate(n, a) for n, (a, _) in enumerate(pairs)], seed=seed
            )
            responder = end(
                initiator=False,
                known=[Candidate(n, b) for n, (_, b) in enumerate(pairs[:matches])],
                seed=seed,
            )
            opened = []

            def look(from_initiator, frame, ends=initiator, opened=opened):
                if not from_initiator and len(frame) == 2072:
                    opened.append(open_numbered_untrusted(ends.link._handshake._opening, frame))
                return frame

            run(initiator, responder, look)
            pages += opened[0]
        assert chi_square(pages) < 330.5


def test_real_marks_lie_anywhere_on_a_page():
    one, _ = pair_keys()
    places = set()
    for seed in range(40):
        node = end(initiator=True, known=[Candidate("bob", one)], seed=seed)
        _, (page, _) = be_visited(node, bytes(2048), bytes(32), seed)
        marks = [page[at : at + 8] for at in range(0, 2048, 8)]
        own = keys.mark(one.current, initiator=True, alice=True, handshake=node.link.handshake_hash)
        places.add(marks.index(own))
    assert len(places) > 30
    assert min(places) < 40
    assert max(places) > 215


def test_marks_never_repeat_between_links():
    one, _ = pair_keys()
    pages = []
    for seed in range(6):
        node = end(initiator=True, known=[Candidate("bob", one)], seed=seed)
        page = be_visited(node, bytes(2048), bytes(32), seed)[1][0]
        pages.append({page[at : at + 8] for at in range(0, 2048, 8)})
    assert all(not here & there for here, there in pairwise(pages))


def test_a_man_in_the_middle_gets_two_links_with_strangers():
    """Two NN handshakes, everything relayed between them inside: nobody is recognised."""
    one, other = pair_keys()
    alice = end(initiator=True, known=[Candidate("bob", one)])
    bob = end(initiator=False, known=[Candidate("alice", other)])
    to_alice, to_bob = Stranger(initiator=False), Stranger(initiator=True, seed=78)
    (first,) = alice.take(alice.link.start())
    to_alice.noise.read_untrusted(first)
    (reply,) = bob.receive(to_bob.noise.write())
    to_bob.noise.read_untrusted(reply)
    (page,) = alice.receive(to_alice.noise.write())
    to_alice.agree()
    to_bob.agree()
    (answer,) = bob.receive(to_bob.seal(0, to_alice.open(page)))
    (proof,) = alice.receive(to_alice.seal(0, to_bob.open(answer)))
    (last,) = bob.receive(to_bob.seal(1, to_alice.open(proof)))
    alice.receive(to_alice.seal(1, to_bob.open(last)))
    assert alice.peers == bob.peers == [None]
    assert alice.steps == bob.steps == []


def test_a_mere_relay_of_frames_learns_and_changes_nothing():
    one, other = pair_keys()
    alice = end(initiator=True, known=[Candidate("bob", one)])
    bob = end(initiator=False, known=[Candidate("alice", other)])
    run(alice, bob)
    assert (alice.peers, bob.peers) == (["bob"], ["alice"])


def test_a_node_that_is_led_to_itself_meets_a_stranger():
    """Reflection: without sides it would take itself for its contact, and step the key alone."""
    one, other = pair_keys(2, 2)
    for mine in (one, other):
        known = [Candidate("the contact", mine)]
        here, there = end(initiator=True, known=known), end(initiator=False, known=known)
        run(here, there)
        assert here.peers == there.peers == [None]
        assert here.steps == there.steps == []


def test_a_true_mark_with_a_wrong_proof_is_a_stranger():
    """Somebody who could show a mark (say, read in a log of this very link) but holds no key."""
    one, other = pair_keys()
    node = end(initiator=False, known=[Candidate("alice", other)])
    stranger = Stranger(initiator=True)
    (reply,) = node.receive(stranger.noise.write())
    stranger.noise.read_untrusted(reply)
    stranger.agree()
    true = keys.mark(
        one.current, initiator=True, alice=True, handshake=stranger.noise.handshake_hash
    )
    (answer,) = node.receive(stranger.seal(0, true + bytes(2040)))
    (last,) = node.receive(stranger.seal(1, bytes(32)))
    assert [len(reply), len(answer), len(last)] == [48, 2072, 56]
    assert (node.peers, node.steps) == ([None], [])

    node = end(initiator=True, known=[Candidate("bob", one)])
    stranger = Stranger(initiator=False)
    stranger.noise.read_untrusted(node.take(node.link.start())[0])
    reply = stranger.noise.write()
    stranger.agree()
    node.receive(reply)
    true = keys.mark(
        other.current, initiator=False, alice=False, handshake=stranger.noise.handshake_hash
    )
    (proof,) = node.receive(stranger.seal(0, bytes(2040) + true))
    assert len(proof) == 56
    assert node.receive(stranger.seal(1, bytes(32))) == []
    assert (node.peers, node.steps) == ([None], [])


def test_the_initiators_own_proof_sent_back_proves_nothing():
    one, other = pair_keys()
    node = end(initiator=True, known=[Candidate("bob", one)])
    stranger = Stranger(initiator=False)
    stranger.noise.read_untrusted(node.take(node.link.start())[0])
    reply = stranger.noise.write()
    stranger.agree()
    node.receive(reply)
    true = keys.mark(
        other.current, initiator=False, alice=False, handshake=stranger.noise.handshake_hash
    )
    (proof,) = node.receive(stranger.seal(0, true + bytes(2040)))
    node.receive(stranger.seal(1, stranger.open(proof)))
    assert node.peers == [None]


def test_only_the_match_that_was_proved_can_be_proved_back():
    """The other end holds the keys of two contacts and answers with the one not asked for."""
    pairs = [pair_keys(secret=name * 32) for name in (b"a", b"b")]
    node = end(initiator=True, known=[Candidate(n, mine, n) for n, (mine, _) in enumerate(pairs)])
    other = Stranger(initiator=False)
    other.noise.read_untrusted(node.take(node.link.start())[0])
    reply = other.noise.write()
    other.agree()
    (page,) = node.receive(reply)
    handshake = other.noise.handshake_hash
    answer = b"".join(
        keys.mark(theirs.current, initiator=False, alice=False, handshake=handshake)
        for _, theirs in pairs
    ).ljust(2048, b"\0")
    node.receive(other.seal(0, answer))
    wrong = keys.proof(
        pairs[0][1].current,
        initiator=False,
        alice=False,
        handshake=handshake,
        pages=keys.pages_digest(other.open(page), answer),
    )
    node.receive(other.seal(1, wrong))
    assert (node.peers, node.steps) == ([None], [])


def test_a_page_and_proof_of_another_link_mean_nothing():
    one, other = pair_keys()
    taken = be_visited(end(initiator=True, known=[Candidate("bob", one)]), bytes(2048), bytes(32))[
        1
    ]
    node = end(initiator=False, known=[Candidate("alice", other)], seed=9)
    visit(node, *taken)
    assert (node.peers, node.steps) == ([None], [])


@pytest.mark.parametrize("marks", [0, 1, 63, 65, 255, 257, 1536, 4096])
def test_a_page_of_another_size_is_refused(marks):
    stranger = Stranger(initiator=True)
    node = end(initiator=False)
    stranger.noise.read_untrusted(node.receive(stranger.noise.write())[0])
    stranger.agree()
    with pytest.raises(RemoteError, match="bad-page-size"):
        node.receive(stranger.seal(0, bytes(8 * marks)))


def test_an_answer_of_another_size_is_refused():
    for size in (0, 2040, 4096):
        with pytest.raises(RemoteError, match="bad-page-size"):
            be_visited(end(initiator=True), bytes(size), bytes(32))


def test_a_proof_of_another_size_is_refused():
    for size in (0, 31, 33):
        with pytest.raises(RemoteError, match="bad-proof-size"):
            visit(end(initiator=False), bytes(2048), bytes(size))


def test_frames_out_of_turn_are_refused():
    stranger = Stranger(initiator=True)
    node = end(initiator=False)
    stranger.noise.read_untrusted(node.receive(stranger.noise.write())[0])
    stranger.agree()
    with pytest.raises(RemoteError, match="unexpected-frame"):
        node.receive(stranger.seal(1, bytes(32)))
    with pytest.raises(RemoteError, match="link-over"):
        node.receive(stranger.seal(0, bytes(2048)))


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"])
def test_a_low_order_key_is_refused(key):
    with pytest.raises(RemoteError, match="bad-dh-key"):
        end(initiator=False).receive(key)
    node = end(initiator=True)
    node.take(node.link.start())
    with pytest.raises(RemoteError, match="bad-dh-key"):
        node.receive(key + bytes(16))


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_short_first_frame_is_refused(length):
    with pytest.raises(RemoteError, match="handshake-too-short"):
        end(initiator=False).receive(bytes(length))


def test_a_payload_in_the_noise_handshake_is_refused():
    stranger = Stranger(initiator=True)
    with pytest.raises(RemoteError, match="handshake-payload"):
        end(initiator=False).receive(stranger.noise.write(b"x"))


def test_another_version_is_refused_in_the_second_frame():
    node = end(initiator=True)
    other = NN(initiator=False, prologue=b"p2pnode link 2", ephemeral=b"e" * 32)
    other.read_untrusted(node.take(node.link.start())[0])
    with pytest.raises(RemoteError, match="not-authentic"):
        node.receive(other.write())


def test_injected_frames_cannot_speak_for_a_contact():
    initiator, responder = strangers()
    other = strangers(seed=2)[0]
    assert responder.link.receive_untrusted(other.link.seal(Bye(0), 0), 0) == []
    own = responder.link.seal(Bye(0), 0)
    assert responder.link.receive_untrusted(own, 0) == []  # reflected
    assert initiator.link.receive_untrusted(own, 0) != []


def test_a_seized_key_does_not_match_older_marks():
    """A log of pages, opened by whoever dialled, against the stored key some links later."""
    one, other = pair_keys()
    node = end(initiator=True, known=[Candidate("bob", one)])
    logged = be_visited(node, bytes(2048), bytes(32))[1][0]
    marks = {logged[at : at + 8] for at in range(0, 2048, 8)}

    def matches(key):
        return any(
            keys.mark(each.key, initiator=True, alice=True, handshake=node.link.handshake_hash)
            in marks
            for each in keys.expected(Candidate("bob", key))
        )

    assert matches(one)
    later = one
    for index in range(2):
        later = keys.stepped(later, index)
    assert not matches(later)
    assert other.current == one.current


def test_a_link_holds_no_handshake_secret_once_it_stands():
    link = strangers()[0].link
    assert isinstance(link, Link)
    assert link._handshake is None
