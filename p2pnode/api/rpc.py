"""JSON-RPC 2.0 over bytes: decode, call the service, encode. Knows nothing of HTTP.

Parameters are by name only. A batch runs concurrently, so that what it asks for can share one
commit; its answers come in the order of its calls.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
import trio

from p2pnode.errors import LocalError
from p2pnode.logs import traced
from p2pnode.schema import METHODS, Request, Service

MAX_BATCH = 256
"""Calls in one batch."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
LOCAL_ERROR = -32000
"""A `LocalError`: message is what happened; data has code, why and hint."""

Number = int | float | str | None
"""What a client may number its calls with."""

_log = logging.getLogger(__name__)


class Call(msgspec.Struct, frozen=True):
    """One call. Without an id it is a notification and gets no answer."""

    jsonrpc: Literal["2.0"]
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")
    id: Number | msgspec.UnsetType = msgspec.UNSET


class ErrorData(msgspec.Struct, frozen=True):
    """What a client needs to raise the same `LocalError`, or to tell its person."""

    code: str
    why: str = ""
    hint: str = ""


class Error(msgspec.Struct, frozen=True):
    """Why a call failed."""

    code: int
    message: str
    data: ErrorData


class Failure(msgspec.Struct, frozen=True):
    """The answer to a call that failed."""

    id: Number
    error: Error
    jsonrpc: str = "2.0"


class Success(msgspec.Struct, frozen=True):
    """The answer to a call that did not."""

    id: Number
    result: Any
    jsonrpc: str = "2.0"


_encode = msgspec.json.Encoder().encode
_decode_call: Callable[[Any], Call] = msgspec.json.Decoder(Call).decode
_decode_batch: Callable[[Any], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_params = {
    method: msgspec.json.Decoder(request).decode for method, (request, _) in METHODS.items()
}


async def answer(service: Service, body: bytes) -> bytes | None:
    """Carry out one call or a batch; None when nothing is to be answered (notifications)."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return await _one(service, body)
    try:
        calls = _decode_batch(body)
    except (msgspec.DecodeError, RecursionError):
        return _failure(None, PARSE_ERROR, "the batch is not JSON")
    if not 0 < len(calls) <= MAX_BATCH:
        return _failure(None, INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} calls")
    answers = await _gathered([_bound(service, call) for call in calls])
    told = [found for found in answers if found is not None]
    return b"[" + b",".join(told) + b"]" if told else None


def _bound(service: Service, call: msgspec.Raw) -> Callable[[], Awaitable[bytes | None]]:
    return lambda: _one(service, call)


async def _gathered(tasks: list[Callable[[], Awaitable[bytes | None]]]) -> list[bytes | None]:
    found: list[bytes | None] = [None] * len(tasks)

    async def run(at: int) -> None:
        found[at] = await tasks[at]()

    async with trio.open_nursery() as nursery:
        for at in range(len(tasks)):
            nursery.start_soon(run, at)
    return found


async def _one(service: Service, raw: bytes | msgspec.Raw) -> bytes | None:
    try:
        call = _decode_call(raw)
    except msgspec.ValidationError as error:
        return _failure(None, INVALID_REQUEST, "not a JSON-RPC 2.0 call", why=str(error))
    except (msgspec.DecodeError, RecursionError):
        return _failure(None, PARSE_ERROR, "the request is not JSON")
    told = await _carry_out(service, call)
    return None if call.id is msgspec.UNSET else told


async def _carry_out(service: Service, call: Call) -> bytes:
    number = None if call.id is msgspec.UNSET else call.id
    decode = _decode_params.get(call.method)
    if decode is None:
        return _failure(number, METHOD_NOT_FOUND, "no such method", hint="See docs/api.md")
    try:
        request: Request = decode(call.params)
    except (msgspec.DecodeError, RecursionError) as error:
        return _failure(number, INVALID_PARAMS, "wrong parameters", why=str(error))
    try:
        result = await service.call(request)
        return _encode(Success(number, result))
    except LocalError as error:
        data = ErrorData(error.code, error.why, error.hint)
        return _encode(Failure(number, Error(LOCAL_ERROR, error.what, data)))
    except Exception as error:
        _log.error("api: %s failed: %s", call.method, traced(error))
        return _failure(number, INTERNAL_ERROR, "an error inside the daemon", code="error")


def _failure(
    number: Number,
    kind: int,
    what: str,
    *,
    why: str = "",
    hint: str = "",
    code: str = "invalid-input",
) -> bytes:
    return _encode(Failure(number, Error(kind, what, ErrorData(code, why, hint))))
