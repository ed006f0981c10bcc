"""Addresses, settings and diagnosis: what foreign bytes and people may write."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pnode_lan.address import (
    MAX_ENDPOINTS,
    MIN_PORT,
    Endpoint,
    decode_untrusted,
    encode,
    endpoint_of_text,
    speakable,
)
from p2pnode_lan.diagnosis import diagnose
from p2pnode_lan.discovery import SERVICE, address_untrusted, new_instance
from p2pnode_lan.interfaces import Interface, interfaces_up
from p2pnode_lan.settings import LanSettings

from p2pnode.errors import RemoteError
from p2pnode.spi.transport import MAX_ADDRESS

ports = st.integers(MIN_PORT, 65_535)
scopes = st.integers(0, 2**32 - 1)
link_local = st.integers(0, 2**64 - 1).map(lambda low: IPv6Address((0xFE80 << 112) | low))
far = st.one_of(st.builds(IPv4Address, st.binary(min_size=4, max_size=4)),
                st.builds(IPv6Address, st.binary(min_size=16, max_size=16)))  # fmt: skip
endpoints = st.one_of(
    st.builds(Endpoint, link_local, ports, scopes),
    st.builds(Endpoint, far.filter(lambda ip: speakable(ip) and not _scoped(ip)), ports),
)


def _scoped(ip: IPv4Address | IPv6Address) -> bool:
    return ip.version == 6 and ip.is_link_local


ETH = Interface(
    "eth0",
    2,
    loopback=False,
    multicast=True,
    addresses=(
        IPv4Interface("192.0.2.5/24"),
        IPv6Interface("fd00::5/64"),
        IPv6Interface("fe80::5/64"),
    ),
)
TUN = Interface("tun0", 3, loopback=False, multicast=False, addresses=(IPv4Interface("10.9.0.1"),))


@given(st.lists(endpoints, min_size=1, max_size=MAX_ENDPOINTS))
def test_addresses_round_trip(some):
    address = encode(some)
    assert len(address) <= MAX_ADDRESS
    assert decode_untrusted(address) == some


@given(st.binary(max_size=300))
def test_foreign_addresses_give_endpoints_or_a_remote_error(raw):
    try:
        found = decode_untrusted(raw)
    except RemoteError:
        return
    assert encode(found) == raw, "there is one encoding for each address"
    assert 0 < len(found) <= MAX_ENDPOINTS


@given(st.lists(endpoints, min_size=MAX_ENDPOINTS + 1, max_size=MAX_ENDPOINTS + 5))
def test_an_address_has_a_bound(some):
    assert decode_untrusted(encode(some)) == some[:MAX_ENDPOINTS]
    with pytest.raises(RemoteError):
        decode_untrusted(b"".join(encode([one]) for one in some))


@pytest.mark.parametrize(
    "ip", ["0.0.0.0", "224.0.0.251", "255.255.255.255", "::", "ff02::fb", "::ffff:192.0.2.1"]
)
def test_what_no_node_can_have_is_refused(ip):
    with pytest.raises(RemoteError):
        decode_untrusted(encode([Endpoint(ip_address(ip), 4001)]))


def test_other_peoples_services_are_refused():
    with pytest.raises(RemoteError):
        decode_untrusted(encode([Endpoint(ip_address("192.0.2.1"), 22)]))


@given(st.lists(st.one_of(st.text(max_size=60), far.map(str)), max_size=12), st.integers())
def test_announcements_give_near_addresses_or_a_remote_error(texts, port):
    try:
        address = address_untrusted(texts, port, [ETH, TUN])
    except RemoteError:
        return
    for one in decode_untrusted(address):
        assert ETH.near(one.ip, one.scope) or TUN.near(one.ip, one.scope)


def test_announcements_are_sorted_and_only_what_is_near_counts():
    told = ["fe80::9%2", "fe80::8%7", "198.51.100.1", "fd00::9", "192.0.2.9", "127.0.0.1", "junk"]
    for texts in (told, told[::-1], told * 50):
        found = decode_untrusted(address_untrusted(texts, 4001, [ETH, TUN]))
        assert [(str(one.ip), one.scope) for one in found] == [
            ("192.0.2.9", 0),
            ("fd00::9", 0),
            ("fe80::9", 2),
        ]


def test_a_missing_scope_is_plain_where_there_is_one_interface():
    (found,) = decode_untrusted(address_untrusted(["fe80::9"], 4001, [ETH]))
    assert found.scope == ETH.index
    with pytest.raises(RemoteError):
        address_untrusted(["fe80::9"], 4001, [ETH, TUN])


def test_names_are_random():
    assert len({new_instance() for _ in range(100)}) == 100
    assert new_instance().endswith(SERVICE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:4001", Endpoint(ip_address("127.0.0.1"), 4001)),
        ("[fd00::1]:65535", Endpoint(ip_address("fd00::1"), 65_535)),
        ("[fe80::1%lo]:4001", Endpoint(ip_address("fe80::1"), 4001, 1)),
    ],
)
def test_peers_as_people_write_them(text, expected):
    assert endpoint_of_text(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "4001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:22", "127.0.0.1:99999", "fd00::1:4001",
     "[fe80::1]:4001", "[fe80::1%nowhere0]:4001", "friend.example:4001", "224.0.0.1:4001",
     "127.0.0.1:٤٠٠١"],
)  # fmt: skip
def test_peers_that_cannot_be_are_named_in_the_configurations_error(text):
    with pytest.raises(msgspec.ValidationError, match="peer"):
        msgspec.convert({"peers": [text]}, LanSettings)


@pytest.mark.parametrize("port", [-1, 80, 1023, 65_536])
def test_ports_that_cannot_be(port):
    with pytest.raises(msgspec.ValidationError, match=r"port|int"):
        msgspec.convert({"port": port}, LanSettings)


def test_this_machine_has_loopback():
    loopback = next(one for one in interfaces_up() if one.loopback)
    assert loopback.near(ip_address("127.0.0.1"), 0)
    assert not loopback.near(ip_address("192.0.2.1"), 0)


def results(*args) -> dict[str, str]:
    return {check.name: check.result for check in diagnose(*args)}


def test_diagnosis_tells_what_is_wrong():
    lan = LanSettings()
    assert results(lan, [ETH], 4001, 3) == dict.fromkeys(
        ("interfaces", "port", "discovery", "peers"), "ok"
    )
    assert results(lan, [], None, 0)["interfaces"] == "fail"
    assert results(lan, [TUN], 4001, 0)["discovery"] == "fail"
    assert (
        results(LanSettings(interfaces=("eth0", "wlan0")), [ETH], 4001, 1)["interfaces"] == "warn"
    )
    assert results(LanSettings(discover=False), [ETH], 4001, 0)["discovery"] == "skip"


def test_diagnosis_hints_at_client_isolation():
    alone = next(
        check for check in diagnose(LanSettings(), [ETH], 4001, 0) if check.name == "peers"
    )
    assert alone.result == "warn"
    assert "client isolation" in alone.fix


def test_diagnosis_names_no_address():
    for check in diagnose(LanSettings(), [ETH, TUN], 4001, 3):
        assert "192.0.2" not in check.detail + check.fix
