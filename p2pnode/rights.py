"""What a person may do with what is kept: take it along, erase it, say how long it is kept."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pnode import archive, questions, schema
from p2pnode.engine.engine import Engine
from p2pnode.erasure import GRACE
from p2pnode.errors import InvalidInput
from p2pnode.turns import asks, views
from p2pnode.turns.stores import Stores

DAY = 86_400

Read = Callable[..., Awaitable[Any]]


class Rights:
    """Carries out these requests for a node.

    read: asks a question of the stores, off the event loop. exported: the stores once more, to read
    for long; None where they are in memory. settings: the text of config.toml, or where it
    is.
    """

    REQUESTS = (
        schema.Export
        | schema.Erase
        | schema.CancelErasures
        | schema.GetErasures
        | schema.GetRules
        | schema.SetRetention
        | schema.Propose
        | schema.AnswerProposal
        | schema.Redact
    )

    def __init__(
        self, engine: Engine, read: Read, exported: Stores | None, settings: Path | None
    ) -> None:
        self._engine = engine
        self._ask = engine.owner.ask
        self._read = read
        self._exported = exported
        self._settings = settings
        self._exporting = trio.Lock()
        self.work: dict[str, int] = {}

    async def call(self, request: schema.Request) -> schema.Answer:
        """Carry out a request. Raises LocalError."""
        match request:
            case schema.Export(path=path, replace=replace):
                return await self._export(Path(path), replace=replace)
            case schema.Erase():
                return await self._erase(request)
            case schema.CancelErasures(contact=name):
                of = (await self._read(questions.contact_row, name)).id if name else None
                cancelled = await self._ask(asks.CancelErasures(of))
                return await self._erasures(cancelled)
            case schema.GetErasures():
                return await self._erasures()
            case schema.GetRules(contact=name):
                pass
            case schema.SetRetention(contact=name, days=days):
                row = await self._read(questions.contact_row, name)
                seconds = None if days is None else days * DAY
                await self._ask(asks.SetRetention(row.id, seconds))
                await self._engine.rounds.collect()
            case schema.Propose(contact=name, seconds=span):
                row = await self._read(questions.contact_row, name)
                await self._ask(asks.Propose(row.id, span))
            case schema.AnswerProposal(contact=name, accepted=accepted):
                row = await self._read(questions.contact_row, name)
                await self._ask(asks.Decide(row.id, accepted))
            case schema.Redact(id=prefix):
                await self._ask(asks.Redact(prefix))
                asked: schema.Message = await self._read(questions.message, prefix)
                return asked
            case _:
                raise LookupError(type(request).__name__)
        found: schema.Rules = await self._read(rules, name)
        return found

    async def _erase(self, request: schema.Erase) -> schema.Erasures:
        if request.what == "all":
            raise InvalidInput("this node has no home to erase")  # the daemon does it itself
        found = await self._read(questions.contact_row, request.contact)
        await self._ask(asks.Erase(found.id, request.what, 0 if request.now else GRACE))
        if request.now:
            await self._engine.rounds.collect()
        return await self._erasures()

    async def _erasures(self, cancelled: int = 0) -> schema.Erasures:
        found = await self._read(erasing, self._engine.clock.now().node)
        return schema.Erasures(erasing=found, cancelled=cancelled)

    async def _export(self, path: Path, *, replace: bool) -> schema.Exported:
        if not path.is_absolute():
            raise InvalidInput("the archive's path must be absolute")
        what = {one.name: dict(one.private) for _, one in self._engine.diagnosable() if one.private}
        write = partial(
            archive.write, path=path, replace=replace, kept=what, settings=self._settings
        )
        async with self._exporting:
            self.work["export"] = 0
            try:
                if self._exported is None:
                    done: schema.Exported = await self._read(partial(write, told=self._told))
                    return done
                return await trio.to_thread.run_sync(self._export_here, write, self._exported)
            finally:
                del self.work["export"]

    def _export_here(
        self, write: Callable[..., schema.Exported], stores: Stores
    ) -> schema.Exported:
        """Write the archive in a worker thread; ends early when nobody waits for it any more."""

        def told(rows: int) -> None:
            trio.from_thread.check_cancelled()
            self._told(rows)

        return write(stores, told=told)

    def _told(self, rows: int) -> None:
        self.work["export"] = rows


def erasing(stores: Stores, now: int) -> list[schema.Erasing]:
    """Return what is planned to be erased. now: node time."""
    return [
        schema.Erasing(
            what=row.what,
            contact=views.petname(stores.vault, row.contact),
            left=max(0, row.due - now),
        )
        for row in stores.vault.erasures.all()
    ]


def rules(stores: Stores, name: str) -> schema.Rules:
    """Return how long messages with one contact, or all, are kept. Raises UnknownContact."""
    vault = stores.vault
    people = [views.find_contact(vault, name)] if name else vault.contacts.all()
    found = []
    for row in people:
        rule = vault.conversations.get(row.id)
        found.append(
            schema.Rule(
                contact=row.name,
                days=None if rule.retention is None else rule.retention // DAY,
                seconds=rule.span,
                proposed=rule.own_span if rule.own_offer else None,
                offered=rule.their_span if rule.their_offer else None,
            )
        )
    return schema.Rules(default=stores.retention // DAY, rules=found)
