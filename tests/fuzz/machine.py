"""What this machine brings: calls of the local API, its answers, and files a person wrote."""

import json
import os
from contextlib import suppress
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import trio
import trio.testing

from p2pnode import config, schema
from p2pnode.api import rpc
from p2pnode.api.application import Conversation
from p2pnode.api.http import HttpStream
from p2pnode.calls import Exchange, decode_answer, decode_answers, encode_call
from p2pnode.errors import ConfigError, InvalidInput, LocalError
from p2pnode.sim import scenario
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.samples import ROOT

SETTINGS = {
    point.name: point.load().settings_type
    for point in entry_points(group="p2pnode.transports")
    if (ROOT / "transports" / point.name).is_dir()
}
"""What the transports that are here may be told."""


class _Refusing(schema.Service):
    """A node that answers nothing."""

    async def call(self, request: schema.Request) -> schema.Answer:
        await trio.lowlevel.checkpoint()
        raise InvalidInput("it is only asked", why=type(request).__name__)


def _calls() -> list[bytes]:
    """Return a JSON-RPC call of every method, and some batches."""
    filled = {str: "bo", int: 1, float: 0.5, bool: True}
    calls = []
    for method, (request, _) in schema.METHODS.items():
        params = {
            name: next((v for k, v in filled.items() if k is kind), "bo")
            for name, kind in request.__annotations__.items()
        }
        for given in (params, {}):
            call = {"jsonrpc": "2.0", "id": len(calls), "method": method, "params": given}
            calls.append(json.dumps(call).encode())
    calls += [encode_call(schema.Send("bo", "text é\n", 2), 5)]
    batches = [b"[" + b",".join(pair) + b"]" for pair in pairwise(calls[::5])]
    return [*calls, *batches, b"[]", b'{"jsonrpc":"2.0","method":"x"}', b"[1,null]", *_endless()]


def _rpc() -> Prepared:
    def read(raw: bytes) -> None:
        work = rpc.read(raw)

        async def answer() -> None:
            told = await rpc.carry_out(_Refusing(), work)
            if told is not None:
                json.loads(told)

        if len(work.jobs) > 1 or not isinstance(work.jobs[0], bytes):
            trio.run(answer)

    return _calls(), read


def _http() -> Prepared:
    """All that a client sends on a stream, up to its end."""
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    posts = [
        b"POST /v1/rpc"
        + host
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in _calls()[::4]
    ]
    chunked = (
        b"POST /v1/rpc" + host + b"Content-Type: application/json\r\nExpect: 100-continue\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    )
    gets = [
        b"GET " + path + host + more + b"\r\n"
        for path in (b"/v1/check", b"/v1/events?consumer=x&after=3", b"/v1/events", b"/", b"*")
        for more in (b"", b"Last-Event-ID: 7\r\nOrigin: x\r\n", b"Content-Length: 9\r\n")
    ]

    def talk(raw: bytes) -> None:
        async def converse() -> None:
            ours, theirs = trio.testing.memory_stream_pair()
            await theirs.send_all(raw)
            await theirs.send_eof()
            with trio.fail_after(3_600):
                await Conversation(_Refusing(), HttpStream(ours)).run()
            await ours.aclose()
            said = b""
            async for part in theirs:
                said += part
            assert not said or said.startswith(b"HTTP/1.1 ")

        trio.run(converse, clock=trio.testing.MockClock(autojump_threshold=0))

    return [*posts, chunked, *gets, posts[0] + gets[0] + posts[1]], talk


def _http_answers() -> Prepared:
    """What a client is told by whatever sits behind the socket."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    asked = [schema.Send("bo", "hi"), schema.GetStatus()]
    body = b'{"jsonrpc":"2.0","id":0,"result":{"schema":1,"id":"aa","state":"queued"}}'
    error = (
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no","data":{"code":"config"}}}'
    )
    bodies = [body, error, b"[" + body + b"," + error + b"]", b"null"]
    whole = [head + b"Content-Length: %d\r\n\r\n" % len(one) + one for one in bodies]
    whole += [b"HTTP/1.1 503 no\r\nContent-Length: 14\r\n\r\n" + b'{"what":"off"}']
    whole += [head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n"]

    def receive(raw: bytes) -> None:
        exchange = Exchange()
        exchange.post(b"[]")
        told = exchange.receive(raw)
        if told is not None:
            with suppress(LocalError):
                decode_answers(asked, told)
            decode_answer(asked[0], told)

    return whole, receive


def _client_answers() -> Prepared:
    samples, _ = _http_answers()
    bodies = [raw.partition(b"\r\n\r\n")[2] for raw in samples] + _endless()
    asked = [schema.Send("bo", "hi"), schema.GetStatus(), schema.GetHistory("bo")]

    def read(raw: bytes) -> None:
        with suppress(LocalError):
            decode_answers(asked, raw)
        for one in asked:
            with suppress(LocalError):
                decode_answer(one, raw)

    return bodies, read


def _endless(before: bytes = b"") -> list[bytes]:
    """Return values that nest deeper, or have more digits, than a parser of texts may like."""
    return [before + b"[" * 5_000, before + b"9" * 5_000, before + b'{"a":' * 5_000]


def _configs() -> Prepared:
    text = (
        b'config_version = 1\n[node]\nname = "ana"\n[carry]\nfor = "nobody"\nmax_mb = 7\n'
        b'[privacy]\norigin = "fast"\n[log]\nlevel = "debug"\n[transports]\ncourier = true\n'
        b'[transports.lan]\nport = 4001\ninterfaces = ["lo"]\npeers = ["10.0.0.1:4001"]\n'
    )
    watch = b'[transports.courier]\nwatch = ["/media/stick"]\nmax_size = 9\n[transports]\nlan = 0\n'

    file = os.memfd_create("config.toml")
    path = Path(f"/proc/self/fd/{file}")

    def load(raw: bytes) -> None:
        os.truncate(file, 0)
        os.pwrite(file, raw, 0)
        enabled = config.load(path, set(SETTINGS)).enabled()
        for name, table in enabled.items():
            if name in SETTINGS:
                config.transport_settings(path, name, table, SETTINGS[name])

    return [text, watch, b"", text.replace(b"[", b"#"), *_endless(b"carry = ")], load


def _scenarios() -> Prepared:
    folder = ROOT / "p2pnode" / "sim" / "scenarios"
    texts = [path.read_bytes() for path in sorted(folder.glob("*.toml"))]
    texts += _endless(b"nodes = ")
    return texts, lambda raw: scenario.parsed(raw.decode(errors="replace"), "one.toml")


TARGETS = [
    Target("api.rpc", _rpc, allowed=()),
    Target("api.http", _http, allowed=()),
    Target("client.http", _http_answers, allowed=(LocalError,)),
    Target("client.answer", _client_answers, allowed=()),
    Target("config", _configs, allowed=(ConfigError,)),
    Target("scenario", _scenarios, allowed=(ConfigError,)),
]
