"""One neighbour who knocks all the time is let in at a pace, and nobody else is kept waiting."""

from ipaddress import ip_address

import pytest
from p2pnode_lan.pace import AT_ONCE, PER_SECOND, PLACES, Pace


@pytest.mark.parametrize("text", ["192.0.2.7", "fe80::1", "2001:db8::7"])
def test_a_place_gets_so_many_at_once_and_then_a_pace(text):
    pace, ip = Pace(), ip_address(text)
    assert sum(pace.allows(ip, 5.0) for _ in range(1_000)) == AT_ONCE
    assert sum(pace.allows(ip, 5.0 + n / 100) for n in range(1, 1_001)) == 10 * PER_SECOND
    assert sum(pace.allows(ip, 10_000.0) for _ in range(1_000)) == AT_ONCE


def test_others_are_not_kept_waiting():
    pace = Pace()
    for _ in range(1_000):
        pace.allows(ip_address("192.0.2.7"), 1.0)
    assert pace.allows(ip_address("192.0.2.8"), 1.0)


def test_addresses_a_host_chooses_itself_are_one_place():
    pace = Pace()
    many = (ip_address(f"2001:db8::{n:x}") for n in range(1, 1_000))
    assert sum(pace.allows(one, 1.0) for one in many) == AT_ONCE


def test_loopback_is_not_counted():
    pace = Pace()
    assert all(pace.allows(ip_address("127.0.0.1"), 1.0) for _ in range(1_000))


def test_it_remembers_only_so_many_places():
    pace = Pace()
    for n in range(3 * PLACES):
        pace.allows(ip_address(n + 0x0A000000), 1.0)
    assert len(pace._left) == PLACES


def test_a_clock_that_stands_gives_nothing_and_one_place_recovers_alone():
    pace, ip = Pace(), ip_address("192.0.2.7")
    while pace.allows(ip, 1.0):
        pass
    assert not pace.allows(ip, 1.0)
    assert pace.allows(ip, 1.0 + 1 / PER_SECOND)
    assert not pace.allows(ip, 1.0 + 1 / PER_SECOND)
