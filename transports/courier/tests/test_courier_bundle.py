"""The bytes of a bundle: frozen vectors, rejections, and damage of every kind."""

import json
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p2pnode_courier.bundle import (
    CAPACITIES,
    HEAD,
    MAX_BUNDLE,
    SLOT,
    SLOTS,
    check,
    encode,
    fill,
    read_untrusted,
    record_untrusted,
)

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import Parcel
from transports.courier.tests.courier_stick import SECTOR, envelope, parcels

FROZEN = json.loads((Path(__file__).parent / "courier_vectors.json").read_text())
MIXED = [*parcels(3), *parcels(2, first=10, size=16_384), *parcels(2, first=20, size=65_536)]


def named(case):
    return case["name"]


@pytest.mark.parametrize("case", FROZEN["bundles"], ids=named)
def test_bundles_byte_for_byte(case):
    given_parcels = [Parcel(envelope(number, size), age) for number, size, age in case["parcels"]]
    raw = encode(given_parcels)
    assert len(raw) == case["size"]
    assert blake2b(raw, digest_size=32).hexdigest() == case["blake2b_256"]
    found = read_untrusted(raw)
    numbers = {envelope(number, size): number for number, size, _ in case["parcels"]}
    assert [numbers[parcel.envelope] for parcel in found.parcels] == case["order"]
    assert sorted(found.parcels, key=repr) == sorted(given_parcels, key=repr)
    assert found.damaged == 0


@pytest.mark.parametrize("case", FROZEN["records"], ids=lambda case: str(case["envelope"]))
def test_records_byte_for_byte(case):
    head = bytes.fromhex(case["head"])
    whole = Parcel(envelope(*case["envelope"]), case["age"])
    assert record_untrusted(head + whole.envelope) == whole
    assert encode([whole]).startswith(head + whole.envelope)


@pytest.mark.parametrize("case", FROZEN["rejections"], ids=named)
def test_rejections(case):
    first = FROZEN["records"][0]
    raw = bytes.fromhex(first["head"]) + envelope(*first["envelope"])
    assert record_untrusted(raw).age == first["age"]
    if "cut" in case:
        raw = raw[: case["cut"]]
    else:
        new = bytes.fromhex(case["bytes"])
        raw = raw[: case["at"]] + new + raw[case["at"] + len(new) :]
    with pytest.raises(RemoteError, match=f"^{case['reason']}$"):
        record_untrusted(raw)


def test_a_longer_file_is_refused():
    with pytest.raises(RemoteError, match="file-too-long"):
        read_untrusted(bytes(MAX_BUNDLE + 1))
    assert read_untrusted(bytes(MAX_BUNDLE)).parcels == ()


@pytest.mark.parametrize("size", [0, 1, 4_095, 4_097, 65_537])
def test_other_sizes_are_a_mistake(size):
    with pytest.raises(ValueError, match="envelope"):
        check(Parcel(bytes(size), 0))


@pytest.mark.parametrize("age", [-1, 65_536])
def test_other_ages_are_a_mistake(age):
    with pytest.raises(ValueError, match="age"):
        encode([Parcel(bytes(4_096), age)])


def test_no_bundle_is_larger_than_the_largest():
    with pytest.raises(ValueError, match="256"):
        encode(parcels(17, size=65_536))


def test_order_of_writing_does_not_show():
    assert encode(MIXED) == encode(MIXED[::-1])


@given(
    st.lists(st.sampled_from(sorted(SLOTS)), max_size=40),
    st.integers(0, MAX_BUNDLE + SLOT),
)
def test_fill_takes_what_fits_and_keeps_the_order(sizes, room):
    given_parcels = [Parcel(bytes(size), 0) for size in sizes]
    some = fill(given_parcels, room)
    assert some == given_parcels[: len(some)]
    if some:
        assert len(encode(some)) <= room
    for more in given_parcels[len(some) : len(some) + 1]:
        largest = max((slots * SLOT for slots in CAPACITIES if slots * SLOT <= room), default=0)
        assert sum(SLOTS[len(one.envelope)] for one in [*some, more]) * SLOT > largest


def places(raw):
    """Return where each parcel's record lies: parcel → the bytes that matter to it."""
    found = {}
    at = 0
    for parcel in read_untrusted(raw).parcels:
        found[parcel] = range(at, at + HEAD.size + len(parcel.envelope))
        at += SLOTS[len(parcel.envelope)] * SLOT
    return found


WHOLE = encode(MIXED)
LIES_AT = places(WHOLE)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), max_size=6))
def test_flipped_bits_cost_the_records_they_hit_and_no_other(flips):
    raw = bytearray(WHOLE)
    for at, bits in flips:
        raw[at] ^= bits
    hit = {at for at, _ in flips if raw[at] != WHOLE[at]}
    spared = {one for one, lies in LIES_AT.items() if not any(at in lies for at in hit)}
    assert set(read_untrusted(bytes(raw)).parcels) == spared


@given(st.integers(0, len(WHOLE)))
def test_a_torn_tail_costs_the_tail_alone(length):
    found = read_untrusted(WHOLE[:length])
    assert set(found.parcels) == {one for one, lies in LIES_AT.items() if lies.stop <= length}
    assert (found.damaged > 0) == (length not in {slots * SLOT for slots in CAPACITIES})


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.sampled_from(["zero", "rubbish", "swap", "old"]))
def test_lost_and_reordered_sectors_yield_nothing_false(random, how):
    old = encode(parcels(8, first=50))
    sectors = [WHOLE[at : at + SECTOR] for at in range(0, len(WHOLE), SECTOR)]
    for at in random.sample(range(len(sectors)), 40):
        other = random.randrange(len(sectors))
        if how == "zero":
            sectors[at] = bytes(SECTOR)
        elif how == "rubbish":
            sectors[at] = random.randbytes(SECTOR)
        elif how == "swap":
            sectors[at], sectors[other] = sectors[other], sectors[at]
        else:
            sectors[at] = old[at * SECTOR : (at + 1) * SECTOR] or sectors[at]
    found = read_untrusted(b"".join(sectors)[: len(WHOLE)])
    assert set(found.parcels) <= {*MIXED, *parcels(8, first=50)}


@given(st.binary(max_size=3 * SLOT))
def test_rubbish_is_no_bundle(raw):
    assert read_untrusted(raw).parcels == ()


def test_an_envelope_may_hold_what_looks_like_a_record():
    inner = encode(parcels(1))[:SLOT]
    outer = Parcel(bytes(SLOT - HEAD.size) + inner + bytes(65_536 - 2 * SLOT + HEAD.size), 3)
    assert read_untrusted(encode([outer])).parcels == (outer,)
