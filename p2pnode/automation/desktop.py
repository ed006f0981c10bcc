"""`[notify]`: desktop notifications through `notify-send`, without names and texts by default.

Whoever looks at the screen, or at what the desktop keeps of notifications, learns that a message
has come and no more, unless `preview` is set.
"""

import html
import os
import shutil
from pathlib import Path

import msgspec
import trio

from p2pnode.automation.consumer import Consumer
from p2pnode.automation.program import run_program, surroundings
from p2pnode.config import Notify
from p2pnode.diagnosis import finding
from p2pnode.lines import clean
from p2pnode.logs import EventLog, phrase
from p2pnode.schema import Finding, Message, ProgramStatus, Service

log = EventLog("automation")

NAME = "desktop"

PROGRAM = "notify-send"

MISSING = "notify-send is not installed"

CONSUMER = "notify.desktop"

PAGE = 100
"""Messages that one notification tells of at most."""

QUIET = 10.0
"""Seconds between notifications; what comes meanwhile is told together."""

PATIENCE = 10.0
"""Seconds the desktop may take."""

SHOWN = 3
"""Messages of which a preview shows something."""

LETTERS = 120
"""Characters of each that it shows."""

DESKTOP = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")
"""What the desktop is found by."""


def wanted(settings: Notify) -> bool:
    """Return whether to notify: "auto" does on a desktop that can."""
    if settings.desktop == "auto":
        return (
            bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")) and shutil.which(PROGRAM) is not None
        )
    return settings.desktop


def words(messages: list[Message], *, preview: bool) -> list[str]:
    """Return a notification: a line, and with `preview` what the newest messages say.

    Nothing in it can move a cursor or be taken for the desktop's own markup.
    """
    one = len(messages) == 1
    told = "A message has come" if one else f"{len(messages)} messages have come"
    if not preview:
        return [told]
    lines = [
        html.escape(f"{clean(message.from_)}: {_beginning(clean(message.text))}", quote=False)
        for message in messages[-SHOWN:]
    ]
    return [told, "\n".join(lines)]


def _beginning(text: str) -> str:
    return text if len(text) <= LETTERS else text[:LETTERS] + "…"


class Desktop:
    """Notifications, and how they have done. `status` is for `status`, `look` for `doctor`."""

    def __init__(self, service: Service, settings: Notify, home: Path) -> None:
        self._settings = settings
        self._environment = surroundings(home, DESKTOP)
        self._consumer = Consumer(service, CONSUMER)
        self.status = ProgramStatus(state="ready")

    async def run(self) -> None:
        """Serve until cancelled. A notification that fails is not tried again: it would be late."""
        await self._consumer.begin()
        while True:
            events = await self._consumer.next(PAGE)
            messages = [
                event.message
                for event in events
                if event.kind == "message.received" and event.message is not None
            ]
            if messages:
                await self._show(words(messages, preview=self._settings.preview))
            await self._consumer.done(events[-1])
            if messages:
                await trio.sleep(QUIET)

    def look(self) -> list[Finding]:
        """Return how notifications are, for `doctor`."""
        return look(self._settings, self.status)

    def failed(self) -> None:
        """Note that a defect of ours ended `run`."""
        self._note(state="refused", detail="internal error")

    async def _show(self, told: list[str]) -> None:
        self._note(state="running")
        wrong = await self._try(told)
        if wrong:
            if wrong != self.status.detail:
                log.warning("desktop.failed", why=phrase(wrong))
            self._note(state="ready", failed=self.status.failed + 1, detail=wrong)
        else:
            self._note(state="ready", done=self.status.done + 1, detail="")

    async def _try(self, told: list[str]) -> str:
        """Show a notification; return what went wrong, or an empty string."""
        path = shutil.which(PROGRAM)
        if path is None:
            return MISSING
        options = ["--app-name=p2pnode", "--category=im.received", "--"]
        try:
            code = await run_program(
                [path, *options, *told], b"", environment=self._environment, patience=PATIENCE
            )
        except OSError as error:
            return f"notify-send cannot be started ({error.strerror})"
        return "" if code == 0 else "the desktop did not take a notification"

    def _note(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)


def look(settings: Notify, status: ProgramStatus) -> list[Finding]:
    """Return how notifications are, for `doctor`."""
    wrong = status.detail if shutil.which(PROGRAM) else MISSING
    if wrong:
        fix = "apt install libnotify-bin, run inside a desktop session, or [notify] desktop = false"
        return [finding("notify", NAME, "warn", wrong, fix)]
    shown = "names and texts are shown" if settings.preview else "without names and texts"
    return [finding("notify", NAME, "pass", f"{status.done} shown, {shown}")]
