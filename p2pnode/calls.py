"""What travels between a client and the local API: HTTP/1.1 with JSON-RPC inside. No IO here."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import h11
import msgspec

from p2pnode.errors import InvalidInput, LocalError, NoDaemon, find
from p2pnode.schema import CALLS, UNREADABLE, A, Answer, Asks, Request


class _ErrorData(msgspec.Struct, frozen=True):
    code: str = "error"
    why: str = ""
    hint: str = ""


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: _ErrorData = _ErrorData()


class _Reply(msgspec.Struct, frozen=True):
    id: int | None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None


class _Refusal(msgspec.Struct, frozen=True):
    what: str = "the daemon refused the request"
    why: str = ""


_encode = msgspec.json.Encoder().encode

_decode_reply = msgspec.json.Decoder(_Reply).decode

_decode_replies = msgspec.json.Decoder(list[_Reply]).decode

_decode_result: dict[type[Request], Callable[[Any], Answer]] = {
    request: cast("Callable[[Any], Answer]", msgspec.json.Decoder(answer).decode)
    for request, (_, answer) in CALLS.items()
}


WHOLE = (h11.DONE, h11.MUST_CLOSE)
"""How the other side stands when its answer is whole; the latter after its last one."""


class Exchange:
    """One request and its answer after the other on one stream of bytes; does no IO itself."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._body: list[bytes] = []

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this stream."""
        return self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE

    @property
    def ended(self) -> bool:
        """Whether the answer under way is whole."""
        return self._http.their_state in WHOLE

    def post(self, body: bytes) -> bytes:
        """Return the bytes that ask for a call or a batch."""
        headers = [
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ]
        request = h11.Request(method="POST", target="/v1/rpc", headers=headers)
        return self._sent(request, h11.Data(body))

    def get(self, target: str) -> bytes:
        """Return the bytes that ask for a stream of events."""
        return self._sent(h11.Request(method="GET", target=target, headers=[("Host", "localhost")]))

    def _sent(self, *events: h11.Request | h11.Data) -> bytes:
        self._status, self._body = 0, []
        parts = [self._http.send(event) or b"" for event in (*events, h11.EndOfMessage())]
        return b"".join(parts)

    def receive(self, found: bytes) -> bytes | None:
        """Take bytes from the stream; return the body when it is whole. Raises LocalError."""
        for _ in self.pieces(found):
            pass
        if not self.ended:
            return None
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        return b"".join(self._body)

    def pieces(self, found: bytes) -> Iterator[bytes]:
        """Take bytes from the stream and yield the parts of the body in them. Raises LocalError."""
        try:
            self._http.receive_data(found)
            while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._body.append(bytes(event.data))
                    if self._status == 200:
                        yield self._body[-1]
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    raise gone()
        except h11.RemoteProtocolError:
            raise gone() from None
        if self.ended and self._status not in {200, 204}:
            raise self._refused()

    def forget(self) -> None:
        """Drop the parts of the body kept so far (a stream of events has no end)."""
        self._body.clear()

    def _refused(self) -> LocalError:
        try:
            told = msgspec.json.decode(b"".join(self._body), type=_Refusal)
        except UNREADABLE:
            told = _Refusal()
        if self._status == 503:
            return NoDaemon(told.what, why=told.why, hint="Try again in a moment")
        return InvalidInput(told.what, why=told.why or f"HTTP status {self._status}")


def gone() -> NoDaemon:
    """Return the error for a stream that ended before the answer came."""
    return NoDaemon(
        "the daemon went away before it answered",
        why="it was stopped, or it crashed",
        hint="Start it: p2pnode run",
    )


def encode_call(request: Request, number: int) -> bytes:
    """Return the JSON-RPC call of a request."""
    method = CALLS[type(request)][0]
    try:
        return _encode({"jsonrpc": "2.0", "id": number, "method": method, "params": request})
    except UnicodeEncodeError:
        raise InvalidInput(
            "the text is not valid UTF-8", hint="Check the terminal's locale"
        ) from None


def decode_answer(request: Asks[A], raw: bytes) -> A:
    """Return the answer to a request. Raises the LocalError that came instead."""
    try:
        return cast("A", _opened(request, _decode_reply(raw)))
    except UNREADABLE as error:
        raise _strange(error) from None


def decode_answers(requests: Sequence[Request], raw: bytes) -> list[Answer | LocalError]:
    """Return the answers of a batch, in its order, an error in the place of what failed."""
    found: list[Answer | LocalError] = []
    try:
        if not raw.startswith(b"["):
            raise _raised(_decode_reply(raw))
        replies = {reply.id: reply for reply in _decode_replies(raw)}
        for number, request in enumerate(requests):
            try:
                found.append(_opened(request, replies.get(number, _Reply(None))))
            except LocalError as error:
                found.append(error)
    except UNREADABLE as error:
        raise _strange(error) from None
    return found


def _opened(request: Request, reply: _Reply) -> Answer:
    if reply.error is not None:
        raise _raised(reply)
    return _decode_result[type(request)](reply.result)


def _raised(reply: _Reply) -> LocalError:
    error = reply.error or _Error(0, "the daemon's answer is not understood")
    return find(error.data.code)(error.message, why=error.data.why, hint=error.data.hint)


def _strange(error: Exception) -> LocalError:
    return LocalError(
        "the daemon's answer is not understood",
        why=str(error),
        hint="Are p2pnode and the running daemon of the same version? Restart the daemon",
    )
