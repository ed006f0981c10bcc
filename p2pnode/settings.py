"""The settings of a running daemon: read again on SIGHUP and on request, and what that changes."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import msgspec
import trio

from p2pnode import plugins, schema
from p2pnode.config import Config, Home, load, own_table, transport_settings
from p2pnode.errors import ConfigError, InvalidInput, LocalError
from p2pnode.logs import EventLog, Journal, Private

log = EventLog("settings")

LIVE = ("carry", "privacy", "retention", "store", "log", "metrics", "node", "transports")
"""Tables whose settings take effect at once; `[node]` is read by `init` alone."""

RELOAD = "p2pnode config reload"

SWEEP_EVERY = 60.0
"""Seconds between two looks at lines of the log that were counted together."""


class Changeable(Protocol):
    """What works by the settings: a node, locked or not."""

    async def change(self, config: Config, transports: Collection[str]) -> None:
        """Work by these settings from now on; transports: names of those whose own changed."""
        ...


class Settings:
    """What is in force, and the way to change it."""

    def __init__(self, home: Home, config: Config, journal: Journal) -> None:
        self.config = config
        self._home = home
        self._journal = journal
        self._reading = trio.Lock()

    async def reload(self, node: Changeable) -> schema.Reloaded:
        """Read config.toml again; node: what runs now. Raises ConfigError, and changes nothing."""
        async with self._reading:
            try:
                fresh = await trio.to_thread.run_sync(check, self._home)
            except ConfigError as error:
                line = re.search(r":(\d{1,6})\b", error.what)
                log.fault("refused", line=int(line[1]) if line else 0, text=Private(error))
                raise
            changed = sorted(differing(self.config, fresh))
            applied = [key for key in changed if key.partition(".")[0] in LIVE]
            restart = [key for key in changed if key not in applied]
            before, after = self.config.enabled(), fresh.enabled()
            names = {*before, *after}
            switched = sorted(name for name in names if before.get(name) != after.get(name))
            # What waits for the next start stays as it was, and is told each time.
            kept = {
                table: getattr(self.config, table)
                for table in {key.partition(".")[0] for key in restart}
            }
            self.config = msgspec.structs.replace(fresh, **kept)
            self._journal.configure(fresh.log.level, identifiers=fresh.log.identifiers)
            await node.change(self.config, switched)
            log.info("reloaded", applied=len(applied), restart=len(restart))
            return schema.Reloaded(applied=applied, restart=restart)

    async def findings(self) -> list[schema.Finding]:
        """Look at config.toml, for `doctor`: can it be used, and is it what is in force?"""
        area, name = "settings", self._home.config.name
        try:
            fresh = await trio.to_thread.run_sync(check, self._home)
        except ConfigError as error:
            fix = error.hint or f"correct it, then: {RELOAD}"
            what = f"{error.what}; the settings from before are in force"
            return [schema.Finding(area=area, name=name, result="fail", detail=what, fix=fix)]
        waits = sorted(differing(self.config, fresh))
        if waits:
            what = f"not in force yet: {', '.join(waits)}"
            fix = f"start the daemon again, or, for what needs no start: {RELOAD}"
            return [schema.Finding(area=area, name=name, result="warn", detail=what, fix=fix)]
        return [schema.Finding(area=area, name=name, result="pass", detail="in force")]

    def allow_metrics(self) -> None:
        """Raise InvalidInput where metrics are not turned on."""
        if not self.config.metrics.enabled:
            raise InvalidInput(
                "metrics are off", hint="Turn them on: p2pnode config set metrics.enabled true"
            )

    async def sweep(self) -> None:
        """Say now and then what the log counted, until cancelled."""
        while True:
            await trio.sleep(SWEEP_EVERY)
            self._journal.sweep()


class Governed(schema.Service):
    """A node, and what runs beside it, with the settings they work by.

    service: what is asked; node: what is told of changes.
    """

    def __init__(self, settings: Settings, service: schema.Service, node: Changeable) -> None:
        self._settings = settings
        self._service = service
        self._node = node

    async def call(self, request: schema.Request) -> schema.Answer:
        """Carry out a request. Raises LocalError."""
        if isinstance(request, schema.Reload):
            return await self._settings.reload(self._node)
        if isinstance(request, schema.GetMetrics):
            self._settings.allow_metrics()
        answer = await self._service.call(request)
        if isinstance(answer, schema.Diagnosis):
            findings = [*await self._settings.findings(), *answer.findings]
            return schema.Diagnosis(findings=findings)
        return answer

    async def send_all(self, requests: Sequence[schema.Send]) -> list[schema.Answer | LocalError]:
        """Send messages in their order."""
        return await self._service.send_all(requests)


def check(home: Home) -> Config:
    """Return the settings of a home, those of its transports looked at too. Raises ConfigError."""
    config = load(home.config, plugins.names())
    written = {name: own_table(value) for name, value in config.transports.items()}
    plugins.check(home.config, {**config.enabled(), **written})
    return config


class Setting(msgspec.Struct, frozen=True):
    """One setting: its key, its value, and whether config.toml sets it (else it is the default)."""

    key: str
    value: Any
    set: bool


def listed(home: Home) -> list[Setting]:
    """Return every setting there is, those of installed transports too. Raises ConfigError."""
    config = check(home)
    own = msgspec.structs.replace(config, transports={})
    defaults = flat(Config())
    found = [Setting(key, value, value != defaults[key]) for key, value in flat(own).items()]
    on = config.enabled()
    for name in plugins.names():
        table = config.transports.get(name, {})
        found.append(Setting(f"transports.{name}", name in on, name in config.transports))
        kind = plugins.settings_of(name)
        if kind is None:
            continue
        given = table if isinstance(table, dict) else {}
        settings = transport_settings(home.config, name, own_table(given), kind)
        for field in msgspec.structs.fields(kind):
            value = msgspec.to_builtins(getattr(settings, field.name))
            key = f"transports.{name}.{field.encode_name}"
            found.append(Setting(key, value, field.encode_name in given))
    return found


def differing(one: Config, other: Config) -> Iterator[str]:
    """Yield the keys whose values differ, as `table.key`."""
    before, after = flat(one), flat(other)
    for key in {*before, *after}:
        if before.get(key) != after.get(key):
            yield key


def flat(config: Config) -> dict[str, Any]:
    """Return every setting as `table.key` → plain value."""
    return dict(_leaves(msgspec.to_builtins(config), ""))


def _leaves(table: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
