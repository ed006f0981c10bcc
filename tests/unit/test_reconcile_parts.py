"""The parts of reconciliation: buckets, estimates, tables, messages in pieces."""

import pytest

from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.reconcile import buckets, estimate
from p2pnode.protocol.reconcile.limits import BLOCKS, LEAVES, MAX_PIECES, MAX_RECONCILE
from p2pnode.protocol.reconcile.messages import (
    Assembly,
    MoreShorts,
    Want,
    decode_message_untrusted,
    pieces,
    turn_untrusted,
)
from p2pnode.protocol.reconcile.short_ids import ShortIds, shorts_in
from p2pnode.protocol.reconcile.table import Table, cells_of
from tests.reconcile_sides import made

SALT = b"salt" * 8


def short_ids(ids):
    own = ShortIds(SALT)
    own.add([EnvelopeId(one) for one in sorted(ids)])
    return own


def test_a_leaf_holds_the_ids_with_its_first_ten_bits():
    assert buckets.leaf_of(bytes(32)) == 0
    assert buckets.leaf_of(b"\x00\x3f" + bytes(30)) == 0
    assert buckets.leaf_of(b"\x00\x40" + bytes(30)) == 1
    assert buckets.leaf_of(b"\xff" * 32) == LEAVES - 1


def test_leaves_depend_on_the_set_alone():
    ids = made(0, 500)
    all_leaves = buckets.leaves(ids)
    assert all_leaves == buckets.leaves([*sorted(ids), *ids])
    assert sum(one.count for one in all_leaves) == 500
    changed = buckets.leaves(ids | made(500, 501))
    assert sum(a != b for a, b in zip(all_leaves, changed, strict=True)) == 1
    assert buckets.root(all_leaves, b"a" * 16) != buckets.root(all_leaves, b"b" * 16)
    assert buckets.root(all_leaves, b"a" * 16) != buckets.root(changed, b"a" * 16)


@pytest.mark.parametrize("groups", [1, 2, 8, 64, 1024])
def test_groups_name_the_leaves_that_differ(groups):
    one, other = made(0, 300), made(3, 303)
    mine, theirs = buckets.leaves(one), buckets.leaves(other)
    differing = buckets.differing(
        buckets.group_digests(mine, groups, SALT), buckets.group_digests(theirs, groups, SALT)
    )
    bits = buckets.bitmap(differing, groups)
    assert buckets.chosen(bits, groups) == differing
    apart = buckets.leaves_in(differing, groups)
    assert {buckets.leaf_of(each) for each in one ^ other} <= set(apart)
    assert buckets.rest(mine, apart, SALT) == buckets.rest(theirs, apart, SALT)
    assert buckets.rest(mine, (), SALT) != buckets.rest(theirs, (), SALT)


@pytest.mark.parametrize(
    ("count", "groups"), [(0, 1), (1, 2), (100, 16), (10_000, 128), (100_000, 512), (10**9, 1024)]
)
def test_groups_grow_with_the_root_of_the_set(count, groups):
    assert buckets.groups_for(count) == groups


def test_estimates():
    assert estimate.from_groups(0, 64) == 0
    assert estimate.from_groups(1, 1024) in (1, 2)
    assert estimate.from_groups(64, 64) is None
    assert 500 <= estimate.from_groups(443, 1024) <= 700  # of about 580
    common = made(0, 200)
    for count in (50, 500, 2_000):
        mine = short_ids(common | made(1_000, 1_000 + count)).sketch(64)
        theirs = short_ids(common).sketch(64)
        assert count <= estimate.from_sketches(mine, theirs) <= 2.2 * count
    assert estimate.from_sketches(mine, mine) == 0


def test_sizes_never_exceed_the_blocks():
    for used in range(BLOCKS + 1):
        for had in ([], [4] * min(used, 4), [1_000] * min(used, 4)):
            sizes = estimate.more_sizes(had, used, 500)
            assert used + len(sizes) <= BLOCKS
            assert bool(sizes) == (used < BLOCKS)
            assert all(size > 0 for size in sizes)


@pytest.mark.parametrize("count", [0, 1, 2, 10, 100, 1_000])
def test_tables_of_the_usual_size_decode_nearly_always(count):
    tries, failed = (60, 0) if count <= 100 else (8, 0)
    for number in range(tries):
        at = 10_000 + number * count
        mine = short_ids(made(at, at + count // 2))
        theirs = short_ids(made(at + count // 2, at + count))
        sizes = estimate.first_sizes(count)
        table = Table(mine, SALT, first=0, shift=0)
        table.extend(sizes, cells_of(theirs, sizes, 0, 0))
        found = table.decode()
        failed += found is None
        if found is not None:
            assert found == shorts_in(mine.listed(0)) | shorts_in(theirs.listed(0))
    assert failed <= tries // 15


def test_a_table_grows_until_it_decodes():
    mine, theirs = short_ids(made(0, 60)), short_ids(made(30, 130))
    table = Table(mine, SALT, first=0, shift=0)
    table.extend((20, 20, 20, 20), cells_of(theirs, (20, 20, 20, 20), 0, 0))
    assert table.decode() is None
    table.extend((90,), cells_of(theirs, (90,), 4, 0))
    found = table.decode()
    assert not table.broken
    assert found == shorts_in(mine.listed(0)) ^ shorts_in(theirs.listed(0))
    assert len(theirs.among(set(found))) == 70


def test_a_sample_holds_about_its_share_on_both_sides():
    mine, theirs = short_ids(made(0, 900)), short_ids(made(100, 1_000))
    sample = shorts_in(mine.listed(2)) ^ shorts_in(theirs.listed(2))
    assert 20 < len(sample) < 80
    table = Table(mine, SALT, first=3, shift=2)
    table.extend((40,) * 4, cells_of(theirs, (40,) * 4, 3, 2))
    assert table.decode() == sample
    assert mine.listed(32) == b""


def test_messages_are_put_together_from_pieces_in_any_order():
    message = MoreShorts(0, bytes(range(256)) * 300)
    cut = pieces(b"exch", 4, message)
    assert [len(one) for one in cut[:-1]] == [MAX_RECONCILE] * 4
    assert {turn_untrusted(one) for one in cut} == {4}
    assembly = Assembly(b"exch")
    order = [3, 0, 4, 1]
    assert [assembly.add_untrusted(cut[at], 4) for at in order] == [None] * 4
    assert assembly.add_untrusted(b"else" + cut[2][4:], 4) is None
    whole = assembly.add_untrusted(cut[2], 4)
    assert decode_message_untrusted(whole) == message
    (small,) = pieces(b"exch", 5, Want(True, 0, b""))
    assert decode_message_untrusted(assembly.add_untrusted(small, 5)) == Want(True, 0, b"")


def test_pieces_that_do_not_fit_are_refused():
    head = b"exch\x00"
    for raw, reason in (
        (b"", "reconcile-too-short"),
        (head + b"\x00\x01", "reconcile-too-short"),
        (head + b"\x00\x01" + bytes(MAX_RECONCILE), "reconcile-too-long"),
        (b"exch\x02\x00\x01x", "unexpected-turn"),
        (head + b"\x00\x00x", "bad-piece"),
        (head + b"\x01\x01x", "bad-piece"),
        (head + bytes((0, MAX_PIECES + 1)) + b"x", "bad-piece"),
    ):
        with pytest.raises(RemoteError, match=reason):
            Assembly(b"exch").add_untrusted(raw, 0)
    assembly = Assembly(None)
    assembly.add_untrusted(head + b"\x00\x02x", 0)
    with pytest.raises(RemoteError, match="piece-twice"):
        assembly.add_untrusted(head + b"\x00\x02x", 0)
    with pytest.raises(RemoteError, match="bad-piece"):
        assembly.add_untrusted(head + b"\x01\x03x", 0)
    with pytest.raises(RemoteError, match="reconcile-too-short"):
        turn_untrusted(b"exch")
