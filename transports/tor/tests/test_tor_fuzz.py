"""Foreign bytes against what the Tor transport parses: addresses that contacts told, and frames."""

import socket
from contextlib import suppress

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from p2pnode_tor.address import OnionAddress, OnionPublic, decode_untrusted, encode
from p2pnode_tor.channel import TorChannel

from p2pnode.errors import ChannelClosed, RemoteError
from p2pnode.spi.transport import MAX_FRAME

GOOD = bytes(encode(OnionAddress(OnionPublic(b"p" * 32), 4001, b"c" * 32)))


@settings(max_examples=2_000, deadline=None)
@given(
    st.binary(max_size=80)
    | st.binary(min_size=35, max_size=35)
    | st.binary(min_size=66, max_size=66).map(lambda raw: b"\x01" + raw)
)
def test_any_bytes_are_an_address_or_refused(raw):
    try:
        found = decode_untrusted(raw)
    except RemoteError:
        return
    assert bytes(encode(found)) == raw


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_an_address_with_one_wrong_byte_is_another_or_none(at, wrong):
    raw = GOOD[:at] + bytes([GOOD[at] ^ wrong]) + GOOD[at + 1 :]
    try:
        assert bytes(encode(decode_untrusted(raw))) == raw
    except RemoteError:
        assert at in {0, 33, 34}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([bytes(4), b"\0\0\0\x02ab"]), max_size=8))
def test_any_stream_gives_frames_within_bounds_and_an_end(pieces):
    async def read() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        channel = TorChannel(trio.socket.from_stdlib_socket(ours))
        with theirs:
            theirs.sendall(b"".join(pieces))
            theirs.shutdown(socket.SHUT_WR)
            sizes = []
            with suppress(ChannelClosed):
                while True:
                    sizes.append(len(await channel.receive()))
            assert all(0 < size <= MAX_FRAME for size in sizes)
        await channel.aclose()

    trio.run(read)
