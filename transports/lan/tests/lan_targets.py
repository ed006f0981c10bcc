"""What the fuzzer attacks here: told addresses, answers of multicast DNS, and frames."""

import socket
from ipaddress import IPv4Interface, IPv6Interface, ip_address

import trio
from p2pnode_lan import address, discovery
from p2pnode_lan.channel import LanChannel
from p2pnode_lan.interfaces import Interface

from p2pnode.errors import ChannelClosed
from p2pnode.spi.transport import MAX_FRAME
from tests.fuzz.fuzz import Prepared, Target


def _lan_addresses() -> Prepared:
    ips = ("10.77.0.1", "192.168.1.9", "fd77::1", "fe80::1")
    ends = [address.Endpoint(ip_address(ip), 4_001, 2 * (ip[0] == "f")) for ip in ips]
    rows = [address.encode(ends[:count]) for count in range(1, 5)]

    def read(raw: bytes) -> None:
        address.encode(address.decode_untrusted(raw))

    return [*rows, *(bytes(one) * 2 for one in rows)], read


def _lan_answers() -> Prepared:
    """What multicast DNS tells: a port and texts of addresses."""
    own = (IPv4Interface("10.77.0.1/24"), IPv6Interface("fd77::1/64"), IPv6Interface("fe80::1/64"))
    one = Interface("eth0", 2, False, True, own)
    other = Interface("wlan0", 3, False, True, (IPv4Interface("192.168.1.1/24"),))

    def read(raw: bytes) -> None:
        texts = raw[3:].decode(errors="replace").split("\n")
        port = int.from_bytes(raw[1:3])
        near = discovery.address_untrusted(texts, port, (one, other)[: 1 + raw[:1].count(1)])
        address.decode_untrusted(near)  # what was found can be dialled

    texts = b"10.77.0.2\nfe80::2%2\nfd77::2\n::ffff:10.77.0.3\nfe80::3\n10.77.0.255\n192.168.1.2"
    return [b"\0\x10\0" + texts, b"\1\xff\xff" + texts, b"\1\0\x50fe80::2%9"], read


def _lan_peers() -> Prepared:
    texts = [b"10.0.0.1:4001", b"[fd77::1]:4001", b"[fe80::1%lo]:4001", b"host:1", b"::1:80"]
    return texts, lambda raw: address.endpoint_of_text(raw.decode(errors="replace"))


def _lan_frames() -> Prepared:
    """A stream of bytes on a LAN channel, until it ends."""
    frames = [(size).to_bytes(4) + bytes(size) for size in (1, 32, 2_000, 66_560)]
    bad = [bytes(4), b"\xff" * 8, (66_561).to_bytes(4) + bytes(100), b"\0\0"]

    def read(raw: bytes) -> None:
        async def receive() -> None:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.setblocking(False)
                theirs.send(raw)
                theirs.shutdown(socket.SHUT_WR)
                channel = LanChannel(ours)
                while True:
                    assert 0 < len(await channel.receive()) <= MAX_FRAME

        trio.run(receive)

    return [*frames, *bad, frames[0] * 3 + frames[1], frames[2] + bad[1]], read


TARGETS = [
    Target("lan.address", _lan_addresses, most=400),
    Target("lan.answer", _lan_answers, most=2_000),
    Target("lan.frames", _lan_frames, allowed=(ChannelClosed,), most=150_000),
    Target("lan.peer", _lan_peers, allowed=(ValueError,), most=300),
]
