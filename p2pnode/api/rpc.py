"""JSON-RPC 2.0 over bytes: decode, call the service, encode. Knows nothing of HTTP.

Parameters are by name only. The calls of a batch are carried out in their order, and so are its
answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import msgspec

from p2pnode.errors import LocalError
from p2pnode.logs import EventLog, Private, traced
from p2pnode.openrpc import (
    DISCOVER,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LOCAL_ERROR,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    ErrorData,
    document,
)
from p2pnode.schema import LONG, METHODS, UNREADABLE, Answer, Request, Send, Service

MAX_BATCH = 256
"""Calls in one batch."""

Number = int | float | str | None
"""What a client may number its calls with."""

_log = EventLog("api")


class Call(msgspec.Struct, frozen=True):
    """One call. Without an id it is a notification and gets no answer."""

    jsonrpc: Literal["2.0"]
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")
    id: Number | msgspec.UnsetType = msgspec.UNSET


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
_decode_params: dict[str, Callable[[Any], Request]] = {
    method: msgspec.json.Decoder(request).decode for method, (request, _) in METHODS.items()
}
_decode_params[DISCOVER] = msgspec.json.Decoder(Request).decode


@dataclass(frozen=True, slots=True)
class Job:
    """One call that can be carried out; number is UNSET for a notification."""

    number: Number | msgspec.UnsetType
    method: str
    request: Request


@dataclass(frozen=True, slots=True)
class Work:
    """The calls of one body in their order, each a job or already its failure."""

    jobs: tuple[Job | bytes, ...]
    batch: bool

    @property
    def waits(self) -> bool:
        """Whether a call may wait for something to happen."""
        return any(isinstance(job, Job) and _waits(job.request) for job in self.jobs)


def _waits(request: Request) -> bool:
    return bool(getattr(request, "timeout", 0)) or isinstance(request, LONG)


def read(body: bytes) -> Work:
    """Return the call or the calls in a body."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return Work((_job(body),), batch=False)
    try:
        calls = _decode_batch(body)
    except UNREADABLE:
        return _refused(PARSE_ERROR, "the batch is not JSON")
    if not 0 < len(calls) <= MAX_BATCH:
        return _refused(INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} calls")
    return Work(tuple(map(_job, calls)), batch=True)


def _refused(kind: int, what: str) -> Work:
    return Work((_failure(None, kind, what),), batch=False)


def _job(raw: bytes | msgspec.Raw) -> Job | bytes:
    try:
        call = _decode_call(raw)
    except msgspec.ValidationError as error:
        return _failure(None, INVALID_REQUEST, "not a JSON-RPC 2.0 call", why=str(error))
    except UNREADABLE:
        return _failure(None, PARSE_ERROR, "the request is not JSON")
    decode = _decode_params.get(call.method)
    if decode is None:
        told = _failure(_shown(call.id), METHOD_NOT_FOUND, "no such method", hint="See docs/api.md")
        return b"" if call.id is msgspec.UNSET else told
    try:
        request = decode(call.params)
    except UNREADABLE as error:
        told = _failure(_shown(call.id), INVALID_PARAMS, "wrong parameters", why=str(error))
        return b"" if call.id is msgspec.UNSET else told
    if call.method == DISCOVER:  # needs no node
        if call.id is msgspec.UNSET:
            return b""
        return _encode(Success(call.id, msgspec.Raw(document())))
    return Job(call.id, call.method, request)


async def carry_out(service: Service, work: Work) -> bytes | None:
    """Carry out calls one after the other; None when nothing is to be answered (notifications).

    Messages to send that stand next to each other are handed over together: they keep their order
    and share a commit.
    """
    told: list[bytes] = []
    for sends, run in groupby(work.jobs, _is_send):
        if sends:
            told += await _send_all(service, [job for job in run if isinstance(job, Job)])
        else:
            told += [job if isinstance(job, bytes) else await _one(service, job) for job in run]
    told = [one for one in told if one]
    if not told:
        return None
    return b"[" + b",".join(told) + b"]" if work.batch else told[0]


def _is_send(job: Job | bytes) -> bool:
    return isinstance(job, Job) and isinstance(job.request, Send)


async def _send_all(service: Service, jobs: list[Job]) -> list[bytes]:
    requests = [job.request for job in jobs if isinstance(job.request, Send)]
    try:
        answers = await service.send_all(requests)
    except Exception as error:
        return [_defect(job, error) for job in jobs]
    return [_told(job, answer) for job, answer in zip(jobs, answers, strict=True)]


async def _one(service: Service, job: Job) -> bytes:
    try:
        return _told(job, await service.call(job.request))
    except LocalError as error:
        return _told(job, error)
    except Exception as error:
        return _defect(job, error)


def _told(job: Job, answer: Answer | LocalError) -> bytes:
    """Return a call's answer; b"" for a notification."""
    if job.number is msgspec.UNSET:
        return b""
    number = _shown(job.number)
    if isinstance(answer, LocalError):
        shown = ErrorData(answer.code, answer.why, answer.hint)
        return _encode(Failure(number, Error(LOCAL_ERROR, answer.what, shown)))
    return _encode(Success(number, answer))


def _defect(job: Job, error: Exception) -> bytes:
    _log.fault("call.failed", method=job.method, at=traced(error), text=Private(error))
    if job.number is msgspec.UNSET:
        return b""
    return _failure(_shown(job.number), INTERNAL_ERROR, "an error inside the daemon", code="error")


def _shown(number: Number | msgspec.UnsetType) -> Number:
    return None if number is msgspec.UNSET else number


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
