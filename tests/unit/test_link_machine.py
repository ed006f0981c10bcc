"""The link machine: handshake, recognition, messages, keep-alive, death."""

import pytest

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.protocol import limits
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.effects import (
    AskCandidates,
    AskStep,
    Dead,
    Established,
    Received,
    SendFrame,
)
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.link.machine import NEVER, Link
from p2pnode.protocol.link.messages import (
    Bye,
    EnvelopeOut,
    Hello,
    Offer,
    Ping,
    Pong,
)
from tests.entropy import SeededEntropy
from tests.link_ends import crowd, end, linked, pair_keys, run, strangers

ENVELOPE = EnvelopeOut(7, b"e" * 4096)
SIZES = [32, 48, 2072, 2072, 56, 56]
SECOND = 1000


def deliver(sender, receiver, message, now=0):
    return receiver.link.receive_untrusted(sender.link.seal(message, now), now)


def test_strangers_get_an_encrypted_link():
    initiator, responder = end(initiator=True), end(initiator=False)
    wire = run(initiator, responder)
    assert [len(frame) for _, frame in wire] == SIZES
    assert initiator.peers == responder.peers == [None]
    assert initiator.link.established
    assert responder.link.established
    assert initiator.link.handshake_hash == responder.link.handshake_hash
    assert len(initiator.link.handshake_hash) == 64
    assert deliver(initiator, responder, ENVELOPE) == [Received(ENVELOPE)]
    assert deliver(responder, initiator, Hello(1, 0, ())) == [Received(Hello(1, 0, ()))]


@pytest.mark.parametrize("alice_initiates", [True, False])
@pytest.mark.parametrize(
    ("alice", "bob"),
    [(0, 0), (5, 5), (5, 6), (6, 5), (0, 1), (1, 0)],
)
def test_a_pair_recognises_each_other_by_previous_current_and_next(alice, bob, alice_initiates):
    initiator, responder = linked(alice, bob, alice_initiates=alice_initiates)
    proven = alice if alice_initiates else bob
    names = ["bob", "alice"] if alice_initiates else ["alice", "bob"]
    assert [initiator.link.peer, responder.link.peer] == names
    assert [initiator.peers, responder.peers] == [[name] for name in names]
    assert initiator.steps == [AskStep(names[0], proven)]
    assert responder.steps == [AskStep(names[1], proven)]
    indexes = {one.known[0].key.index for one in (initiator, responder)}
    assert indexes == {max(alice, bob, proven + 1)}  # a whole link brings the two together
    assert deliver(initiator, responder, ENVELOPE) == [Received(ENVELOPE)]
    assert deliver(responder, initiator, ENVELOPE) == [Received(ENVELOPE)]


@pytest.mark.parametrize(("alice", "bob"), [(5, 7), (7, 5)])
def test_two_steps_apart_are_strangers(alice, bob):
    initiator, responder = linked(alice, bob)
    assert initiator.peers == responder.peers == [None]
    assert initiator.steps == responder.steps == []


def test_keys_of_a_known_link_differ_from_a_strangers_over_the_same_handshake():
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)])
    responder = end(initiator=False, known=[Candidate("alice", other)])
    run(initiator, responder)
    alone = strangers()[1]
    assert alone.link.handshake_hash == responder.link.handshake_hash
    assert alone.link.receive_untrusted(initiator.link.seal(Bye(1), 0), 0) == []
    assert alone.link.dropped == 1


def test_the_responders_step_is_durable_before_its_proof_leaves():
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)])
    responder = end(initiator=False, known=[Candidate("alice", other)])
    run(initiator, responder)
    kinds = [type(effect) for effect in responder.effects]
    assert kinds == [SendFrame, AskCandidates, SendFrame, AskStep, SendFrame, Established]
    kinds = [type(effect) for effect in initiator.effects]
    assert kinds == [SendFrame, AskCandidates, SendFrame, SendFrame, AskStep, Established]


def test_whom_the_other_side_claims_to_be_is_known_before_anything_is_proved():
    one, other = pair_keys()
    for known, theirs, claims in (
        ([Candidate("bob", one)], [Candidate("alice", other)], [("bob",), ("alice",)]),
        (crowd(3), crowd(3, seed=1), [(), ()]),
    ):
        initiator = end(initiator=True, known=known)
        responder = end(initiator=False, known=theirs)
        claimed = {initiator.link: [], responder.link: []}

        def note(_from_initiator, frame, claimed=claimed):
            for link, found in claimed.items():
                found.append(link.claimed)
            return frame

        run(initiator, responder, note)
        # Before frames 1 to 6 arrive: each end knows from the other's page on, until it stands.
        assert claimed[initiator.link] == [None] * 4 + [claims[0]] * 2
        assert claimed[responder.link] == [None] * 3 + [claims[1]] * 2 + [None]


def test_an_unanswered_step_lets_nothing_out():
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)])
    frames = initiator.take(initiator.link.start())
    link = Link(initiator=False, marks=256, entropy=SeededEntropy(9), now=0)
    effects = link.receive_untrusted(frames[0], 0)
    frames = initiator.receive(effects[0].frame)
    effects = link.candidates([Candidate("alice", other)])
    assert effects == []
    effects = link.receive_untrusted(frames[0], 0)
    frames = initiator.receive(effects[0].frame)
    assert link.receive_untrusted(frames[0], 0) == [AskStep("alice", 0)]
    assert not link.established
    with pytest.raises(RuntimeError):
        link.seal(Bye(0), 0)
    assert [type(one) for one in link.stepped()] == [SendFrame, Established]
    with pytest.raises(RuntimeError):
        link.stepped()


def test_the_page_may_come_before_the_responder_has_its_candidates():
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)])
    link = Link(initiator=False, marks=256, entropy=SeededEntropy(9), now=0)
    reply, ask = link.receive_untrusted(initiator.take(initiator.link.start())[0], 0)
    assert ask == AskCandidates()
    page = initiator.receive(reply.frame)[0]
    assert link.receive_untrusted(page, 0) == []
    assert link.receive_untrusted(page, 0) == []  # a medium that repeats itself
    (answer,) = link.candidates([Candidate("alice", other)])
    proof = initiator.receive(answer.frame)[0]
    assert link.receive_untrusted(proof, 0) == [AskStep("alice", 0)]


def test_of_several_matches_the_initiators_highest_rank_is_proved():
    pairs = {name: pair_keys(secret=name * 32) for name in (b"a", b"b", b"c")}
    for ranks in ({b"a": 1, b"b": 3, b"c": 2}, {b"a": 2, b"b": 0, b"c": 1}):
        initiator = end(
            initiator=True, known=[Candidate(n, pairs[n][0], r) for n, r in ranks.items()]
        )
        # The responder ranks the other way round; only the initiator decides.
        responder = end(
            initiator=False, known=[Candidate(n, pairs[n][1], -r) for n, r in ranks.items()]
        )
        run(initiator, responder)
        best = max(ranks, key=lambda name: ranks[name])
        assert initiator.peers == responder.peers == [best]
        assert len(initiator.steps) == len(responder.steps) == 1


def test_equal_ranks_are_settled_the_same_way_at_both_ends():
    pairs = {name: pair_keys(secret=name * 32) for name in (b"a", b"b", b"c")}
    for seed in range(8):
        known = [Candidate(name, pair[0]) for name, pair in pairs.items()]
        theirs = [Candidate(name, pair[1]) for name, pair in reversed(pairs.items())]
        initiator = end(initiator=True, known=known, seed=seed)
        responder = end(initiator=False, known=theirs, seed=seed)
        run(initiator, responder)
        assert initiator.peers == responder.peers != [None]


@pytest.mark.parametrize(
    ("marks", "others", "pages"),
    [
        (256, 0, 1),
        (256, 255, 1),
        (256, 256, 2),
        (256, 600, 4),
        (256, 2047, 8),
        (64, 0, 1),
        (64, 63, 1),
        (64, 64, 2),
        (64, 300, 8),
    ],
)
def test_more_candidates_make_more_pages(marks, others, pages):
    one, other = pair_keys(2)
    initiator = end(initiator=True, known=[*crowd(others), Candidate("bob", one)], marks=marks)
    responder = end(initiator=False, known=[Candidate("alice", pair_keys(1, 2)[1])], marks=marks)
    wire = run(initiator, responder)
    page = pages * marks * 8 + 24
    assert [len(frame) for _, frame in wire] == [32, 48, page, page, 56, 56]
    assert (initiator.peers, responder.peers) == (["bob"], ["alice"])
    assert other.index == 0


def test_beyond_the_last_page_the_highest_ranks_are_shown():
    one, other = pair_keys()
    for rank, recognised in ((1, True), (-1, False)):
        initiator = end(initiator=True, known=[*crowd(600), Candidate("bob", one, rank)], marks=64)
        responder = end(initiator=False, known=[Candidate("alice", other)], marks=64)
        wire = run(initiator, responder)
        assert len(wire[2][1]) == 8 * 64 * 8 + 24
        assert (responder.peers == ["alice"]) is recognised


def test_a_responder_looks_for_any_number_of_candidates():
    one, other = pair_keys(1)
    initiator = end(initiator=True, known=[Candidate("bob", one)])
    responder = end(initiator=False, known=[*crowd(3000), Candidate("alice", other)])
    wire = run(initiator, responder)
    assert [len(frame) for _, frame in wire] == SIZES
    assert responder.peers == ["alice"]


def test_two_links_of_a_pair_at_once_both_stand():
    one, other = pair_keys(3, 3)
    known, theirs = [Candidate("bob", one)], [Candidate("alice", other)]
    first = end(initiator=True, known=known, seed=1), end(initiator=False, known=theirs, seed=1)
    second = end(initiator=False, known=known, seed=2), end(initiator=True, known=theirs, seed=2)
    run(*first)
    run(second[1], second[0])
    for ends in (first, second):
        assert {ends[0].link.peer, ends[1].link.peer} == {"alice", "bob"}
        assert [each.steps[0].proven for each in ends] == [3, 3]
    assert first[0].link.handshake_hash != second[0].link.handshake_hash


def test_an_open_pairing_takes_part():
    secret = b"one-time secret of a shown code!"
    shows = Candidate(("pairing", 1), keys.first(secret, alice=True), rank=1)
    joins = Candidate(("pairing", 2), keys.first(secret, alice=False), rank=1)
    for shows_first in (True, False):
        known = [[*crowd(5), shows], [*crowd(5, seed=1), joins]]
        if not shows_first:
            known.reverse()
        initiator = end(initiator=True, known=known[0])
        responder = end(initiator=False, known=known[1])
        run(initiator, responder)
        assert {initiator.link.peer, responder.link.peer} == {("pairing", 1), ("pairing", 2)}


def test_identical_inputs_and_entropy_give_identical_effects():
    def once():
        one, other = pair_keys(4, 5)
        initiator = end(initiator=True, known=[*crowd(300), Candidate("bob", one)], seed=3)
        responder = end(initiator=False, known=[*crowd(9), Candidate("alice", other)], seed=3)
        wire = run(initiator, responder)
        frames = [initiator.link.seal(ENVELOPE, 5), responder.link.seal(Bye(1), 6)]
        ticks = initiator.link.tick(11 * SECOND)
        return wire, frames, ticks, initiator.effects, responder.effects

    assert once() == once()


# The standing link ----------------------------------------------------------------------------


def test_pings_are_answered_and_only_messages_come_out():
    initiator, responder = strangers()
    (pong,) = deliver(initiator, responder, Ping(b"12345678"))
    assert initiator.link.receive_untrusted(pong.frame, 0) == []
    assert deliver(initiator, responder, Pong(b"unasked!")) == []


def test_a_kind_of_a_later_version_is_ignored():
    initiator, responder = strangers()
    frame = initiator.link._sealing.seal(b"\xc8later", 0)
    assert responder.link.receive_untrusted(frame, 0) == []
    assert responder.link.established


def test_a_malformed_message_ends_the_link():
    initiator, responder = strangers()
    with pytest.raises(RemoteError, match="bad-ids"):
        responder.link.receive_untrusted(initiator.link._sealing.seal(b"\x05short", 0), 0)
    assert not responder.link.established
    with pytest.raises(RemoteError, match="link-over"):
        deliver(initiator, responder, Bye(0))
    with pytest.raises(ChannelClosed):
        responder.link.seal(Bye(0), 0)
    assert responder.link.deadline() == NEVER


def test_an_oversized_frame_ends_the_link():
    _, responder = strangers()
    with pytest.raises(RemoteError, match="frame-too-long"):
        responder.link.receive_untrusted(bytes(limits.MAX_FRAME + 1), 0)


def test_reordered_and_repeated_frames_are_borne():
    initiator, responder = strangers()
    offers = [Offer((bytes([n]) * 32,)) for n in range(5)]
    frames = [initiator.link.seal(one, 0) for one in offers]
    got = [responder.link.receive_untrusted(frames[n], 0) for n in (3, 0, 3, 4, 1, 2, 0)]
    assert got == [[Received(offers[n])] for n in (3, 0)] + [[]] + [
        [Received(offers[n])] for n in (4, 1, 2)
    ] + [[]]
    assert responder.link.dropped == 2


def test_repeated_handshake_frames_do_not_disturb_a_standing_link():
    initiator, responder = end(initiator=True), end(initiator=False)
    wire = run(initiator, responder)
    for from_initiator, frame in wire[2:]:
        other = responder if from_initiator else initiator
        assert other.receive(frame) == []
    assert deliver(initiator, responder, ENVELOPE) == [Received(ENVELOPE)]


def early_initiator():
    """Return an initiator that has not yet got the proof, the proof, and the responder."""
    one, other = pair_keys()
    initiator = end(initiator=True, known=[Candidate("bob", one)])
    responder = end(initiator=False, known=[Candidate("alice", other)])
    frame = initiator.take(initiator.link.start())[0]
    for _ in range(2):
        frame = initiator.receive(responder.receive(frame)[0])[0]
    (proof,) = responder.receive(frame)
    return initiator, proof, responder


def test_frames_that_overtake_the_proof_are_taken_after_it():
    initiator, proof, responder = early_initiator()
    assert initiator.receive(responder.link.seal(ENVELOPE, 0)) == []
    assert initiator.receive(responder.link.seal(Ping(b"12345678"), 0)) == []
    (pong,) = initiator.receive(proof)
    assert initiator.effects[-3:] == [Established("bob"), Received(ENVELOPE), SendFrame(pong)]
    assert responder.receive(pong) == []


def test_frames_may_come_while_the_initiator_steps():
    initiator, proof, responder = early_initiator()
    assert initiator.link.receive_untrusted(proof, 0) == [AskStep("bob", 0)]
    assert initiator.link.receive_untrusted(responder.link.seal(ENVELOPE, 0), 0) == []
    assert initiator.link.receive_untrusted(proof, 0) == []
    assert initiator.link.stepped() == [Established("bob"), Received(ENVELOPE)]


def test_early_frames_are_bounded():
    initiator, _, responder = early_initiator()
    for _ in range(limits.MAX_EARLY_FRAMES):
        initiator.receive(responder.link.seal(ENVELOPE, 0))
    with pytest.raises(RemoteError, match="too-many-early-frames"):
        initiator.receive(responder.link.seal(ENVELOPE, 0))


def test_a_malformed_early_frame_ends_the_link_when_its_time_comes():
    initiator, proof, responder = early_initiator()
    initiator.receive(responder.link._sealing.seal(b"\x05short", 0))
    with pytest.raises(RemoteError, match="bad-ids"):
        initiator.receive(proof)
    assert not initiator.link.established


# Time -----------------------------------------------------------------------------------------


def test_a_handshake_that_does_not_end_dies():
    for initiator in (True, False):
        link = Link(initiator=initiator, marks=64, entropy=SeededEntropy(1), now=500)
        link.start()
        assert link.deadline() == 500 + 20 * SECOND
        assert link.tick(link.deadline() - 1) == []
        assert link.tick(link.deadline()) == [Dead("handshake-timeout")]
        assert link.tick(10**9) == []
        assert link.deadline() == NEVER
        with pytest.raises(RemoteError, match="link-over"):
            link.receive_untrusted(bytes(32), 10**9)


def test_answers_after_the_end_are_ignored():
    initiator, proof, _ = early_initiator()
    initiator.link.receive_untrusted(proof, 0)
    initiator.link.tick(limits.HANDSHAKE_TIMEOUT * SECOND)
    assert initiator.link.stepped() == []
    link = Link(initiator=False, marks=64, entropy=SeededEntropy(1), now=0)
    link.receive_untrusted(end(initiator=True).link.start()[0].frame, 0)
    link.tick(limits.HANDSHAKE_TIMEOUT * SECOND)
    assert link.candidates([]) == []


def test_an_idle_link_pings_and_a_busy_one_does_not():
    initiator, responder = strangers()
    assert initiator.link.deadline() == 10 * SECOND
    assert initiator.link.tick(10 * SECOND - 1) == []
    initiator.link.seal(ENVELOPE, 9 * SECOND)
    assert initiator.link.tick(10 * SECOND) == []
    assert initiator.link.deadline() == 19 * SECOND
    (ping,) = initiator.link.tick(19 * SECOND)
    assert initiator.link.deadline() == 29 * SECOND
    (pong,) = responder.link.receive_untrusted(ping.frame, 19 * SECOND)
    assert initiator.link.receive_untrusted(pong.frame, 19 * SECOND) == []
    # The answer was sending, too: the responder's own ping is put off.
    assert responder.link.deadline() == 29 * SECOND


def test_keep_alive_keeps_two_idle_ends_alive_and_a_cut_kills_both():
    initiator, responder = strangers()
    for now in range(0, 3 * 3600 * SECOND, SECOND):
        for here, there in ((initiator, responder), (responder, initiator)):
            for effect in here.link.tick(now):
                for answer in there.link.receive_untrusted(effect.frame, now):
                    here.link.receive_untrusted(answer.frame, now)
    assert initiator.link.established
    assert responder.link.established
    assert initiator.link._sealing._next >> 48 == 2  # rekeyed by the hour, idle as it is
    for link in (initiator.link, responder.link):
        dead = [effect for s in range(31) for effect in link.tick(now + s * SECOND)][-1]
        assert dead == Dead("silent")
        assert not link.established


def test_frames_that_do_not_authenticate_do_not_keep_a_link_alive():
    initiator, responder = strangers()
    for second in range(0, 30, 5):
        frame = initiator.link.seal(ENVELOPE, second * SECOND)
        responder.link.receive_untrusted(frame[:-1] + bytes([frame[-1] ^ 1]), second * SECOND)
        responder.link.tick(second * SECOND)
    assert responder.link.tick(30 * SECOND) == [Dead("silent")]


def test_a_worn_out_link_dies():
    initiator, _ = strangers()
    initiator.link._sealing._next |= 0xFFFE << 48
    initiator.link.seal(ENVELOPE, 3600 * SECOND)
    initiator.link._heard = 3600 * SECOND
    assert initiator.link.tick(3600 * SECOND) == [Dead("worn-out")]


def test_the_owners_mistakes_are_told():
    with pytest.raises(ValueError, match="marks"):
        Link(initiator=True, marks=100, entropy=SeededEntropy(1), now=0)
    link = Link(initiator=True, marks=64, entropy=SeededEntropy(1), now=0)
    assert [type(one) for one in link.start()] == [SendFrame]
    assert link.start() == []
    for call in (lambda: link.candidates([]), link.stepped, lambda: link.seal(Bye(0), 0)):
        with pytest.raises(RuntimeError):
            call()
    standing = strangers()[0].link
    assert standing.start() == []
    with pytest.raises(RuntimeError):
        standing.candidates([])
