"""Whole exchanges, frozen byte for byte, and what is refused: what a second implementation meets.

Ids are BLAKE2b-256 of a number as u64, given as ranges [first, last + 1], or ground into one leaf.
"""

import json
from pathlib import Path

import pytest

from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.primitives import digest
from p2pnode.protocol.reconcile import buckets
from p2pnode.protocol.reconcile.messages import Assembly, decode_message_untrusted, encode_message
from p2pnode.protocol.reconcile.short_ids import ShortIds, words_of
from p2pnode.protocol.reconcile.table import cells_of
from tests.reconcile_sides import Side, in_leaf, made, run

FROZEN = json.loads((Path(__file__).parent / "reconcile.json").read_text())


def ids_of(ranges):
    """Return the ids of a list of ranges."""
    found = set()
    for one in ranges:
        found |= in_leaf(one[0][0], one[1]) if isinstance(one[0], list) else made(*one)
    return found


def side_of(case, role):
    """Return one side of a case."""
    side = case[role]
    return Side(
        ids_of(side["ids"]),
        initiator=role == "initiator",
        salt=bytes.fromhex(side["salt"]),
        recent=ids_of(side["recent"]),
        checkpoint=None if side["checkpoint"] is None else bytes.fromhex(side["checkpoint"]),
    )


@pytest.mark.parametrize("case", FROZEN["exchanges"], ids=lambda case: case["name"])
def test_exchanges_byte_for_byte(case):
    initiator, responder = side_of(case, "initiator"), side_of(case, "responder")
    turns = run(initiator, responder)
    assert [[piece.hex() for piece in turn] for turn in turns] == case["turns"]
    for role, side in (("initiator", initiator), ("responder", responder)):
        assert [one.hex() for one in sorted(side.found.they_lack)] == case[role]["they_lack"]
        assert side.found.we_lack == case[role]["we_lack"]
        assert (side.token and side.token.hex()) == case[role]["token"]


def test_parts():
    parts = FROZEN["parts"]
    ids = sorted(made(*parts["ids"]))
    assert ids[0].hex() == parts["lowest_id"]
    leaves = buckets.leaves(ids)
    at = buckets.leaf_of(EnvelopeId(ids[0]))
    assert (at, leaves[at].count, leaves[at].digest.hex()) == tuple(parts["lowest_leaf"])
    empty = next(one for one in leaves if not one.count)
    assert empty.digest.hex() == parts["empty_leaf"]
    first, second = bytes.fromhex(parts["salts"][0]), bytes.fromhex(parts["salts"][1])
    assert buckets.root(leaves, first).hex() == parts["root"]
    salt = digest(b"p2pnode rc salt", first, second)
    assert salt.hex() == parts["salt"]
    assert buckets.group_digests(leaves, 8, salt).hex() == parts["group_digests_of_8"]
    apart = buckets.leaves_in([1, 6], 8)
    assert buckets.bitmap([1, 6], 8).hex() == parts["groups_1_and_6"]
    assert buckets.rest(leaves, apart, salt).hex() == parts["rest_without_1_and_6"]
    own = ShortIds(salt)
    own.add(ids)
    short = own.listed(0)[:6]
    assert short.hex() == parts["lowest_short_id"]
    assert words_of(salt, short).hex() == parts["lowest_words"]
    assert own.sketch(64).hex() == parts["sketch_of_64"]
    assert cells_of(own, (5, 7), 2, 0).hex() == parts["cells_of_5_and_7_from_block_2"]
    assert cells_of(own, (5,), 0, 3).hex() == parts["cells_of_5_with_shift_3"]
    assert own.listed(3).hex() == parts["list_with_shift_3"]


@pytest.mark.parametrize("case", FROZEN["messages"], ids=lambda case: case["name"])
def test_messages(case):
    raw = bytes.fromhex(case["raw"])
    message = decode_message_untrusted(raw)
    assert repr(message) == case["message"]
    assert encode_message(message) == raw


@pytest.mark.parametrize("case", FROZEN["refused_messages"], ids=lambda case: case["name"])
def test_refused_messages(case):
    with pytest.raises(RemoteError) as caught:
        decode_message_untrusted(bytes.fromhex(case["raw"]))
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("case", FROZEN["refused_pieces"], ids=lambda case: case["name"])
def test_refused_pieces(case):
    """All but the last are taken by a side that waits for `turn` of the exchange 65786368."""
    assembly = Assembly(b"exch")
    *taken, refused = [bytes.fromhex(one) for one in case["pieces"]]
    for piece in taken:
        assert assembly.add_untrusted(piece, case["turn"]) is None
    with pytest.raises(RemoteError) as caught:
        assembly.add_untrusted(refused, case["turn"])
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("case", FROZEN["refused_turns"], ids=lambda case: case["name"])
def test_refused_turns(case):
    """Each takes the place of one turn of an exchange above."""
    frozen = next(one for one in FROZEN["exchanges"] if one["name"] == case["exchange"])
    place = 0

    def between(pieces):
        nonlocal place
        place += 1
        return [bytes.fromhex(case["piece"])] if place - 1 == case["turn"] else pieces

    with pytest.raises(RemoteError) as caught:
        run(side_of(frozen, "initiator"), side_of(frozen, "responder"), between)
    assert caught.value.reason == case["reason"]
