"""Which tags are listed, what a jump keeps, and the limits of both."""

import pytest

from p2pnode.protocol import envelope, limits
from p2pnode.protocol.session import keys, tags
from tests.session_sides import Side, sides

SENTINELS = limits.MAX_JUMP // limits.BLOCK


def listed(side: Side, chain: int) -> list[int]:
    return sorted(n for c, n in side.rows if c == chain)


def check_listing(side: Side) -> None:
    """The run and the sentinels are there, exactly, for both chains."""
    for listing in (side.session.current, side.session.coming):
        if not listing.next_step:
            continue
        live = [n for n in listed(side, listing.chain) if n >= listing.next]
        assert limits.WINDOW <= listing.listed - listing.next < 2 * limits.WINDOW
        run = list(range(listing.next, listing.listed))
        last = listing.next + limits.MAX_JUMP
        first = -(-listing.listed // limits.BLOCK) * limits.BLOCK
        assert live == run + list(range(first, last + 1, limits.BLOCK))
    dead = [r for r in side.rows.values() if not r.message_key and not lives(side, r.chain, r.n)]
    assert not dead


def lives(side: Side, chain: int, n: int) -> bool:
    return any(
        chain == listing.chain and n >= listing.next
        for listing in (side.session.current, side.session.coming)
    )


def test_first_listing() -> None:
    alice, bob = sides(1)
    ahead = [*range(limits.WINDOW), *range(256, 24_833, 256)]
    assert listed(bob, 1) == ahead
    assert listed(alice, 0) == listed(alice, 1) == ahead
    assert {chain for chain, _ in bob.rows} == {1}
    check_listing(alice)
    check_listing(bob)


def test_the_listing_moves_with_every_envelope() -> None:
    alice, bob = sides(2)
    for n in range(600):
        raw = alice.write()
        if n % 7:
            bob.open(raw)
            check_listing(bob)
    alice.open(bob.write())
    check_listing(alice)
    bob.open(alice.write())
    check_listing(bob)


def test_walking_by_blocks_reaches_what_single_steps_reach() -> None:
    block, step = keys.open_block(bytes(32))
    for n in range(2 * limits.BLOCK + 2):
        assert tags.walk(0, *keys.open_block(bytes(32)), n) == (block, step)
        block, step = tags.walk(n, block, step, n + 1)


@pytest.mark.parametrize("lost", [64, 127, 128, 255, 1_000, 1_999, 2_000, 2_001, 5_000, 24_832])
def test_a_sentinel_is_heard_after_any_loss(lost: int) -> None:
    alice, bob = sides(3)
    gone = [alice.write() for _ in range(lost)]
    unheard = []
    while not bob.hears(raw := alice.write(b"here")):
        unheard.append(raw)
    assert len(unheard) < limits.BLOCK
    assert bob.read(raw) == b"here"
    check_listing(bob)
    # What was skipped last and comes late opens; so does what follows.
    for late in unheard[-limits.MAX_SKIPPED :]:
        assert bob.read(late) == b"here"
    assert bob.read(alice.write(b"next")) == b"next"
    heard = sum(bob.hears(raw) for raw in gone)
    assert heard == min(lost, limits.MAX_SKIPPED - len(unheard))


def test_only_the_newest_skipped_keys_are_kept() -> None:
    alice, bob = sides(4)
    first = [alice.write(b"old %d" % n) for n in range(60)]
    bob.read(alice.write())
    assert bob.hears(first[0])
    for _ in range(8):
        gone = [alice.write(b"%d" % n) for n in range(256)]
        bob.take(gone[-1])
        while not bob.hears(raw := alice.write()):
            pass
        bob.read(raw)
        kept = [row for row in bob.rows.values() if row.message_key]
        assert len(kept) <= limits.MAX_SKIPPED
    assert not bob.hears(first[0])
    assert bob.read(gone[0]) == b"0"
    assert len(kept) == limits.MAX_SKIPPED
    check_listing(bob)


def test_skipped_keys_live_on_across_chains() -> None:
    alice, bob = sides(5)
    late = []
    for turn in range(6):
        late += [alice.write(b"%d.%d" % (turn, n)) for n in range(5)]
        bob.read(alice.write())
        late += [alice.write(b"%d.%d" % (turn, n)) for n in range(5, 8)]
        alice.read(bob.write())
        check_listing(bob)
    bob.read(alice.write())
    check_listing(bob)
    assert len(late) == 48
    for raw in reversed(late):
        assert b"." in bob.read(raw)
    assert not [row for row in bob.rows.values() if row.message_key]


def test_a_chain_that_ran_too_far_ahead_is_given_up_and_the_pair_goes_on() -> None:
    alice, bob = sides(6)
    bob.read(alice.write())
    lost = [alice.write(b"lost") for _ in range(limits.MAX_JUMP + 300)]
    assert not bob.hears(alice.write())
    assert not any(bob.hears(raw) for raw in lost[25_089:])
    alice.read(bob.write())
    assert bob.read(alice.write(b"again")) == b"again"
    check_listing(bob)
    assert bob.session.received == limits.MAX_JUMP + 303
    kept = [row for row in bob.rows.values() if row.message_key]
    assert len(kept) == limits.MAX_SKIPPED
    assert bob.read(lost[24_000]) == b"lost"
    alice.read(bob.write())
    assert bob.read(alice.write(b"and on")) == b"and on"


def test_the_last_sentinel_is_the_last_jump() -> None:
    alice, bob = sides(7)
    for _ in range(SENTINELS * limits.BLOCK):
        alice.write()
    raw = alice.write(b"far")
    row = bob.tags[envelope.parse_untrusted(raw).tag]
    assert row.n == 24_832
    assert bob.read(raw) == b"far"
    check_listing(bob)
