"""`rpc`: the local API as lines of JSON-RPC on stdin and stdout, for bots in any language."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pnode.cli.terminal import Terminal
from p2pnode.cli.verbs import flags
from p2pnode.errors import InvalidInput, LocalError, NoDaemon, VaultLocked

if TYPE_CHECKING:
    import trio

    from p2pnode.client import Client

MAX_LINE = 1 << 20
"""Bytes in a line: what the API takes in one request."""

MAX_WAITING = 16
"""Lines at once whose calls wait for something; reading stops while there are so many."""

LOOK_AGAIN = 0.5
"""Seconds between looks for a daemon that has gone, or for its vault to be unlocked."""

CHUNK = 65_536
"""Bytes read from stdin at once."""

STDIN, STDOUT = 0, 1


@click.command("rpc")
@click.option("--events", is_flag=True, help="Write events between the answers.")
@click.option("--consumer", metavar="C", help="Whose place in the stream of events (rpc).")
@click.option("--new", is_flag=True, help="A consumer not seen before gets only what comes now.")
@click.option("--schema", is_flag=True, help="Print the API's description (OpenRPC), no more.")
@flags
@click.pass_obj
def command(
    terminal: Terminal, events: bool, consumer: str | None, new: bool, schema: bool
) -> None:
    """Read JSON-RPC 2.0 from stdin, a call or batch a line; write an answer a line to stdout.

    With --events each event comes as a notification "event" until `events.ack` acknowledges it, and
    a notification "daemon" tells when the daemon goes, comes back or is locked. Ends with stdin.
    """
    if schema:
        from p2pnode.openrpc import document

        terminal.line(_shown(terminal, document()))
        return
    if not events and (consumer is not None or new):
        raise InvalidInput("--consumer and --new go with --events")
    import trio

    _check_consumer(consumer or "rpc")
    wanted = (consumer or "rpc") if events else None
    bridge = Bridge(terminal.home.socket, wanted, new=new, patience=terminal.patience)
    with _single_errors():
        trio.run(bridge.run)


def _check_consumer(name: str) -> None:
    """Raise InvalidInput for a name that no consumer can have."""
    import msgspec

    from p2pnode.schema import Consumer

    try:
        msgspec.convert(name, Consumer)
    except msgspec.ValidationError:
        raise InvalidInput(
            "this cannot be a consumer's name", hint="Use 1 to 64 letters, digits, dots, dashes, _"
        ) from None


def _shown(terminal: Terminal, document: bytes) -> str:
    import msgspec

    return (document if terminal.json else msgspec.json.format(document, indent=2)).decode()


@contextmanager
def _single_errors() -> Iterator[None]:
    """Raise what ended the work instead of the groups trio puts it into."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


class Bridge:
    """Lines in, lines out, and a daemon behind. consumer: whose events are told, None for none.
    patience: seconds the daemon may take to answer at the start.

    Calls are carried out in the order of their lines. Lines with a call that may wait (it has a
    timeout, or takes long) are carried out beside the others, so their answers may come later.
    """

    def __init__(self, socket: Path, consumer: str | None, *, new: bool, patience: float) -> None:
        import trio

        self._patience = patience
        self._socket = socket
        self._consumer = consumer
        self._new = new
        self._writing = trio.Lock()
        self._room = trio.Semaphore(MAX_WAITING)
        self._state = ""

    async def run(self) -> None:
        """Serve until stdin ends and everything asked is answered.

        Raises NoDaemon when none runs at the start, BrokenPipeError when nobody reads stdout.
        """
        import trio

        from p2pnode.client import Client
        from p2pnode.schema import GetReady

        async with Client(self._socket) as client:
            with trio.move_on_after(self._patience) as start:
                await client.call(GetReady())
            if start.cancelled_caught:
                raise NoDaemon("the daemon does not answer", hint="Look at its log, or restart it")
            async with trio.open_nursery() as nursery:
                if self._consumer is not None:
                    nursery.start_soon(self._tell_events, client, self._consumer)
                async with trio.open_nursery() as waiting:
                    await self._serve(client, waiting)
                nursery.cancel_scope.cancel()

    async def _serve(self, client: "Client", waiting: "trio.Nursery") -> None:
        lines = Lines()
        while (line := await lines.next()) is not None:
            if line == TOO_LONG:
                what = InvalidInput(f"a line is longer than {MAX_LINE} bytes", hint="Split it")
                await self._write(_failures(what, [None], batch=False, number=-32600))
            elif waits(line):
                await self._room.acquire()
                waiting.start_soon(self._answer_beside, client, line)
            else:
                await self._answer(client, line)

    async def _answer_beside(self, client: "Client", line: bytes) -> None:
        try:
            await self._answer(client, line)
        finally:
            self._room.release()

    async def _answer(self, client: "Client", line: bytes) -> None:
        try:
            told = await client.post(line)
        except LocalError as error:
            told = _failures(error, *_ids(line))
        await self._write(told)

    async def _tell_events(self, client: "Client", consumer: str) -> None:
        """Write events as they come; look for the daemon again when it has gone."""
        import trio

        from p2pnode.openrpc import EVENT
        from p2pnode.schema import BeginEvents

        while True:
            try:
                if self._new:
                    await client.call(BeginEvents(consumer))
                    self._new = False
                async with client.events(consumer) as events:
                    await self._tell_state(client)
                    async for event in events:
                        await self._notify(EVENT, event)
                state = "gone"  # the stream ended: the daemon stops
            except NoDaemon:
                state = "gone"
            except VaultLocked:
                state = "locked"
            await self._tell(state)
            await trio.sleep(LOOK_AGAIN)

    async def _tell_state(self, client: "Client") -> None:
        from p2pnode.schema import GetStatus

        status = await client.call(GetStatus())
        await self._tell("locked" if status.locked else "up")

    async def _tell(self, state: str) -> None:
        """Tell how the daemon is, when that has changed."""
        from p2pnode.schema import SCHEMA

        if state != self._state:
            self._state = state
            await self._notify("daemon", {"schema": SCHEMA, "state": state})

    async def _notify(self, method: str, params: Any) -> None:
        import msgspec

        note = {"jsonrpc": "2.0", "method": method, "params": params}
        await self._write(msgspec.json.encode(note))

    async def _write(self, raw: bytes) -> None:
        """Write a line, if there is one; wait while nobody reads. Raises BrokenPipeError."""
        import trio

        from p2pnode.lines import escaped

        if not raw:
            return
        line = escaped(raw.decode()).encode() + b"\n"
        async with self._writing:
            while line:
                write = partial(os.write, STDOUT, line)
                line = line[await trio.to_thread.run_sync(write, abandon_on_cancel=True) :]


TOO_LONG = b"\n"
"""Stands for a line that was longer than MAX_LINE; no real one holds this."""


class Lines:
    """The lines of stdin that are not empty; never more than one and a chunk in memory."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._skipping = False
        self._ended = False

    async def next(self) -> bytes | None:
        """Return the next line, TOO_LONG in the place of one that is; None at the end."""
        while True:
            line, newline, rest = self._kept.partition(b"\n")
            if newline or self._ended:
                self._kept = rest
                whole = not self._skipping and len(line) <= MAX_LINE
                self._skipping = False
                if not whole:
                    return TOO_LONG
                if line.strip(b" \t\r"):
                    return bytes(line)
                if not newline:
                    return None
                continue
            if len(self._kept) > MAX_LINE:
                self._kept.clear()
                self._skipping = True
            await self._fill()

    async def _fill(self) -> None:
        import trio

        def read() -> bytes:
            try:
                return os.read(STDIN, CHUNK)
            except OSError:  # closed, or a directory
                return b""

        found = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        self._ended = not found
        if self._skipping:  # only where this line ends matters
            at = found.find(b"\n")
            found = b"" if at < 0 else found[at:]
        self._kept += found


def _calls(line: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the calls in a line, as far as there are any, and whether it is a batch."""
    import msgspec

    from p2pnode.schema import UNREADABLE

    try:
        found = msgspec.json.decode(line)
    except UNREADABLE:
        return [], False
    batch = isinstance(found, list)
    return [one for one in (found if batch else [found]) if isinstance(one, dict)], batch


def waits(line: bytes) -> bool:
    """Return whether a call in a line may wait for something to happen."""
    import msgspec

    from p2pnode.schema import LONG, METHODS

    for call in _calls(line)[0]:
        method, params = call.get("method"), call.get("params")
        if not isinstance(method, str) or method not in METHODS:
            continue
        request, _ = METHODS[method]
        if request in LONG:
            return True
        given = params.get("timeout") if isinstance(params, dict) else None
        for field in msgspec.structs.fields(request):
            if field.name == "timeout" and (field.default if given is None else given):
                return True
    return False


def _ids(line: bytes) -> tuple[list[Any], bool]:
    """Return the ids a line wants answers to, and whether it is a batch."""
    calls, batch = _calls(line)
    ids = [one["id"] for one in calls if "id" in one]
    known = [one if isinstance(one, int | float | str) else None for one in ids]
    return (known if calls else [None]), batch


def _failures(error: LocalError, ids: list[Any], batch: bool, number: int = -32000) -> bytes:
    """Return the answer that tells each of these calls the same error; b"" for none."""
    import msgspec

    shown = {
        "code": number,
        "message": error.what,
        "data": {"code": error.code, "why": error.why, "hint": error.hint},
    }
    told = [{"id": one, "error": shown, "jsonrpc": "2.0"} for one in ids]
    if not told:
        return b""
    return msgspec.json.encode(told if batch else told[0])
