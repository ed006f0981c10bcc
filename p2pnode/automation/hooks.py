"""`[hooks] on_message`: a program run for every message that comes, message on its stdin.

Messages are taken from the stored events, one after the other, and acknowledged once the program
has ended well or too many tries failed. So none is lost over a restart; one whose run a crash cut
off is given to the program again.
"""

from pathlib import Path

import msgspec
import trio

from p2pnode.automation.consumer import Consumer
from p2pnode.automation.program import Unfit, run_program, surroundings, unfit
from p2pnode.config import Hooks
from p2pnode.diagnosis import finding
from p2pnode.lines import as_json
from p2pnode.logs import EventLog, Plain, phrase
from p2pnode.schema import Finding, Message, ProgramStatus, Service

log = EventLog("automation")

NAME = "on_message"

CONSUMER = "hooks.on_message"

DEFECT = "internal error"

PAGE = 8
"""Events taken at once."""

PAUSES = (5.0, 60.0)
"""Seconds after each failed try; after one more the message is skipped."""

LOOK_AGAIN = 30.0
"""Seconds between looks at a program that must not be run."""


class Hook:
    """The program, and how it has done. `status` is for `status`, `look` for `doctor`."""

    def __init__(self, service: Service, settings: Hooks, home: Path) -> None:
        self._settings = settings
        self._environment = surroundings(home)
        self._consumer = Consumer(service, CONSUMER)
        self.status = ProgramStatus(state="ready")

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._consumer.begin()
        while True:
            page = await self._consumer.next(PAGE)
            # One message a page: another may be gone from the vault once this one is dealt with.
            come = (one for one in page if one.kind == "message.received" and one.message)
            first = next(come, page[-1])
            if first.kind == "message.received" and first.message is not None:
                await self._deal(first.message)
            await self._consumer.done(first)

    def look(self) -> list[Finding]:
        """Return how the hook is, for `doctor`."""
        return look(self._settings, self.status)

    def failed(self) -> None:
        """Note that a defect of ours ended `run`."""
        self._note(state="refused", detail=DEFECT)

    async def _deal(self, message: Message) -> None:
        """Give a message to the program until that went well, or it is to be skipped."""
        for pause in (*PAUSES, None):
            await self._fit()
            self._note(state="running")
            wrong = await self._try(message)
            if not wrong:
                self._note(state="ready", done=self.status.done + 1, detail="")
                return
            log.warning("hook.failed", why=phrase(wrong))
            self._note(state="retrying", failed=self.status.failed + 1, detail=wrong)
            if pause is not None:
                await trio.sleep(pause)
        self._note(state="ready", skipped=self.status.skipped + 1)

    async def _try(self, message: Message) -> str:
        """Run the program for a message; return what went wrong, or an empty string."""
        try:
            code = await run_program(
                self._settings.on_message,
                as_json(message).encode() + b"\n",
                environment=self._environment,
                patience=self._settings.timeout,
            )
        except OSError as error:
            return f"it cannot be started ({error.strerror})"
        if code is None:
            return f"it took longer than {self._settings.timeout:,.0f} s"
        if code < 0:
            return f"signal {-code} ended it"
        return f"it ended with {code}" if code else ""

    async def _fit(self) -> None:
        """Wait until the program may be run."""
        while wrong := await _unfit(self._settings):
            if self.status.detail != wrong.why or self.status.state != "refused":
                log.warning("hook.refused", why=Plain(wrong.why))
            self._note(state="refused", detail=wrong.why)
            await trio.sleep(LOOK_AGAIN)

    def _note(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)


async def _unfit(settings: Hooks) -> Unfit | None:
    return await trio.to_thread.run_sync(unfit, settings.on_message[0])


def look(settings: Hooks, status: ProgramStatus | None = None) -> list[Finding]:
    """Return how a hook is; without its status, what can be seen of its program."""
    if not settings.on_message:
        return []
    if wrong := unfit(settings.on_message[0]):
        return [finding("hooks", NAME, "fail", f"it is not run: {wrong.why}", wrong.fix)]
    if status is None:
        return [finding("hooks", NAME, "pass", "its program may be run")]
    if status.detail == DEFECT:
        fix = "restart the daemon, and report what its log says"
        return [finding("hooks", NAME, "fail", f"it is not run: {DEFECT}", fix)]
    told = f"{status.done} done, {status.failed} failed tries, {status.skipped} skipped"
    if not status.failed:
        return [finding("hooks", NAME, "pass", told)]
    detail = f"{told}; last: {status.detail}" if status.detail else told
    fix = "run it by hand with a message on its stdin: docs/automation.md"
    return [finding("hooks", NAME, "warn", detail, fix)]
