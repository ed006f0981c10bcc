"""What nobody who means well sends to the local API: it answers or closes, and serves the next."""

import random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode import schema
from p2pnode.api import http
from p2pnode.client import Client
from p2pnode.errors import LocalError
from tests.patience import PATIENCE
from tests.served import HEAD, answer, posted, served

STATUS = b'{"jsonrpc":"2.0","id":1,"method":"node.status"}'
MUCH = 16 * 1024 * 1024
"""Bytes that no buffers on the way between two processes hold."""

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
NO_TYPE = b"POST /v1/rpc HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (posted(STATUS, HEAD.replace(b"localhost", b"evil.example")), 421),
        (posted(STATUS, HEAD.replace(b"localhost", b"localhost:80")), 421),
        (posted(STATUS, HEAD + b"Origin: http://evil.example\r\n"), 403),
        (posted(STATUS, HEAD + b"Sec-Fetch-Site: cross-site\r\n"), 403),
        (posted(STATUS, HEAD + b"Referer: http://localhost/\r\n"), 403),
        (posted(STATUS, NO_TYPE), 415),
        (posted(STATUS, NO_TYPE + b"Content-Type: text/plain\r\n"), 415),
        (posted(b""), 400),
        (GET % b"/v1/rpc", 405),
        (posted(STATUS, HEAD.replace(b"/v1/rpc", b"/v1/check")), 405),
        (GET.replace(b"GET", b"DELETE") % b"/v1/check", 405),
        (GET % b"/", 404),
        (GET % b"/v1/rpc/../check", 404),
        (GET % b"/v1/events", 400),
        (GET % b"/v1/events?consumer=a/b", 400),
        (GET % b"/v1/events?consumer=a&after=x", 400),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", 413),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421),
        (b"\x16\x03\x01\x02\x00" + bytes(64), 400),
        (HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    ],
)
async def test_a_request_that_must_not_be_carried_out_is_refused(tmp_path, raw, status):
    async with served(tmp_path) as api:
        assert (await api.say(raw))[0] == status
        assert api.node.calls == []
        assert (await api.call("node.status"))["schema"] == 1


async def test_a_head_request_gets_a_head_alone(tmp_path):
    async with served(tmp_path) as api, await api.stream() as stream:
        await stream.send_all(GET.replace(b"GET", b"HEAD") % b"/v1/check" + posted(STATUS))
        raw = b""
        while b'"version"' not in raw:
            raw += await stream.receive_some()
        first, second, _ = raw.split(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 405")
        assert second.startswith(b"HTTP/1.1 200")


async def test_a_body_in_chunks_is_bounded_too(tmp_path):
    async with served(tmp_path) as api, await api.stream() as stream:
        await stream.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        for _ in range(http.MAX_BODY // 65_536 + 1):
            await stream.send_all(block)
        assert (await answer(stream))[0] == 413
        assert (await api.call("node.status"))["schema"] == 1


async def test_a_request_that_never_ends_is_given_up(tmp_path, autojump_clock):
    async with served(tmp_path) as api:
        for start in (b"POST /v1", HEAD, posted(STATUS)[:-5]):
            status, _ = await api.say(start)
            assert status == 408
        assert trio.current_time() < 4 * http.REQUEST_TIMEOUT


async def test_a_client_that_does_not_read_is_cut_off_and_costs_no_memory(
    tmp_path, autojump_clock, monkeypatch
):
    async with served(tmp_path) as api:
        for number in range(3_000):
            api.node.arrive(f"{number} " + "x" * 1_000)
        stream = await api.stream()
        await stream.send_all(GET % b"/v1/events?consumer=slow")
        await trio.sleep(3 * http.UNREAD_TIMEOUT)
        taken = len(api.node.calls)
        assert 1 < taken < 40  # pages of 32 events: what the kernel's buffers hold, no more
        await trio.sleep(1_000)
        assert len(api.node.calls) == taken
        assert api.node.running == 0
        await stream.aclose()


async def test_a_client_that_goes_on_talking_is_read_no_further_than_a_bound(tmp_path):
    async with served(tmp_path) as api, await api.stream() as stream:
        await stream.send_all(GET % b"/v1/events?consumer=x")
        sent = 0
        while sent < MUCH:
            with trio.move_on_after(0.2) as patience:
                await stream.send_all(b"more" * 16_384)
            if patience.cancelled_caught:
                break
            sent += 4 * 16_384
        assert sent < MUCH
        assert (await api.call("node.status"))["schema"] == 1


@settings(max_examples=40, deadline=None)
@given(raw=st.binary(max_size=400), seed=st.integers(0, 1 << 30))
def test_noise_is_answered_or_closed_and_the_next_client_is_served(tmp_path_factory, raw, seed):
    async def main() -> None:
        async with served(tmp_path_factory.mktemp("api")) as api:
            whole = bytearray(posted(STATUS))
            for _ in range(random.Random(seed).randrange(4)):
                whole[seed % len(whole)] ^= 1 << seed % 8
            for noise in (raw, bytes(whole) + raw):
                async with await api.stream() as stream:
                    await stream.send_all(noise)
                    await stream.send_eof()
                    with trio.fail_after(PATIENCE):
                        while await stream.receive_some():
                            pass
            assert (await api.call("node.status"))["schema"] == 1

    trio.run(main)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}",
        b"garbage\r\n\r\n",
    ],
)
async def test_a_client_tells_a_broken_answer_in_words(tmp_path, told):
    path = tmp_path / "api.sock"
    tmp_path.chmod(0o700)
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(str(path))
    listener.listen()

    async def pretend() -> None:
        while True:
            near, _ = await listener.accept()
            async with trio.SocketStream(near) as stream:
                await stream.receive_some()
                await stream.send_all(told)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pretend)
        async with Client(path) as client:
            with pytest.raises(LocalError):
                await client.call(schema.GetStatus())
        nursery.cancel_scope.cancel()
    listener.close()
