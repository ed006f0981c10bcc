"""A scripted node for the tests of the local API: everything a client can ask for, in memory."""

import trio

from p2pnode import schema
from p2pnode.errors import InvalidInput, LocalError, NotDelivered, PairingFailed, UnknownContact

ACCOUNT = "aacc" * 13
FINGERPRINT = "7Q4M 2KXA BBBB CCCC DDDD EEEE FFFF GGGG HHHH IIII JJJJ KKKK X2PD"
WORDS = ["ember", "otter", "salt", "quill"] * 4
URI = "P2PNODE:" + "A" * 146
SAS = ["dog", "key", "train", "cactus", "moon"]
EMOJI = ["🐶", "🔑", "🚂", "🌵", "🌙"]


class ScriptedNode(schema.Service):
    """One contact, bo; what is sent to it is queued; `arrive` is what bo writes.

    Sending "fail …" raises; pairing goes through its steps when a client asks for the next one.
    """

    def __init__(self) -> None:
        self.events: list[schema.Event] = []
        self.acked: dict[str, int] = {}
        self.messages: list[schema.Message] = []
        self.calls: list[schema.Request] = []
        self.cancelled = 0
        self.locked = False
        self.metered = True
        self.adapter = "warn"
        self.courier: dict[str, int] = {}
        self.erasing: list[schema.Erasing] = []
        self.running = 0
        self.most_running = 0
        self.change = trio.Event()
        self.ready = trio.Event()
        self.ready.set()
        self.hang = trio.Event()
        self.steps: dict[str, list[schema.PairingStep]] = {}
        self.script: list[str] = ["compare", "confirming", "paired"]
        self.contact = schema.Contact(
            name="bo",
            hint="Bo",
            account=ACCOUNT,
            fingerprint=FINGERPRINT,
            words=WORDS,
            state="active",
            verified="words",
            devices=["dd"],
            last_seen=1_700_000_000,
            online=True,
        )
        self.contacts: dict[str, schema.Contact] = {"bo": self.contact}

    def arrive(self, text: str, sender: str = "bo") -> schema.Message:
        """Let a message come."""
        message = schema.Message(
            id=f"m{len(self.messages):03}aaaa",
            from_=sender,
            to="",
            text=text,
            state="received",
            at=1_700_000_000 + len(self.messages),
        )
        self.messages.append(message)
        self.tell("message.received", message)
        return message

    def tell(self, kind: str, message: schema.Message | None = None, contact: str = "") -> None:
        """Store an event."""
        self.events.append(
            schema.Event(
                cursor=len(self.events) + 1,
                kind=kind,  # type: ignore[arg-type]
                at=1_700_000_000,
                message=message,
                contact=contact,
            )
        )
        self._changed()

    def _changed(self) -> None:
        self.change.set()
        self.change = trio.Event()

    async def call(self, request: schema.Request) -> schema.Answer:
        """Carry out a request."""
        self.calls.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await getattr(self, "_" + type(request).__name__.lower())(request)  # type: ignore[no-any-return]
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def _known(self, name: str) -> schema.Contact:
        if name not in self.contacts:
            raise UnknownContact(f'no contact "{name}"', hint="Did you mean: bo?")
        return self.contacts[name]

    async def _getidentity(self, ask: schema.GetIdentity) -> schema.Identity:
        return schema.Identity(
            name="ana", account="bb", device="dd", fingerprint="AAAA BBBB", words=WORDS[:4]
        )

    async def _getready(self, ask: schema.GetReady) -> schema.Ready:
        with trio.move_on_after(ask.timeout):
            await self.ready.wait()
        return schema.Ready(ready=self.ready.is_set())

    async def _getmap(self, ask: schema.GetMap) -> schema.Map:
        met = schema.Meetings(transport="lan", days=[0] * 29 + [3], last=1_700_000_000)
        peers = (await self._getpeers(schema.GetPeers())).peers
        places = [schema.MapEntry(peer=peer, met=[met] if peer.over else []) for peer in peers]
        return schema.Map(name="ana", days=30, places=places)

    async def _getpeers(self, ask: schema.GetPeers) -> schema.Peers:
        return schema.Peers(
            peers=[
                schema.Peer(
                    name=name,
                    state="active",
                    over="lan" if name == "bo" else "",
                    locked=False,
                    last_seen=None,
                    encounters=0,
                    waiting=0,
                    oldest=0,
                    carrying=0,
                )
                for name in sorted(self.contacts)
            ]
        )

    async def _createbackup(self, ask: schema.CreateBackup) -> schema.BackupMade:
        return schema.BackupMade(
            place=ask.place, phrase="abacus zebra", contacts=1, messages=2, bytes=262_144
        )

    async def _diagnose(self, ask: schema.Diagnose) -> schema.Diagnosis:
        finding = schema.Finding("ble", "adapter", self.adapter, "blocked", "rfkill unblock all")
        return schema.Diagnosis(findings=[finding])

    async def _reload(self, ask: schema.Reload) -> schema.Reloaded:
        return schema.Reloaded(applied=["log.level"], restart=[])

    async def _getmetrics(self, ask: schema.GetMetrics) -> schema.Metrics:
        if not self.metered:
            raise InvalidInput("metrics are off")
        return schema.Metrics(text="p2pnode_contacts 1\n")

    async def _rotateaddress(self, ask: schema.RotateAddress) -> schema.Done:
        self._known(ask.contact)
        return schema.Done()

    async def _unlock(self, ask: schema.Unlock) -> schema.Done:
        return schema.Done()

    async def _changesecret(self, ask: schema.ChangeSecret) -> schema.Done:
        return schema.Done()

    async def _lock(self, ask: schema.Lock) -> schema.Done:
        self.locked = True
        return schema.Done()

    async def _getstatus(self, ask: schema.GetStatus) -> schema.Status:
        return schema.Status(
            version="0.1.0",
            uptime=7_260.0,
            contacts=1,
            pending=0,
            links=[schema.LinkStatus(transport="lan", contact="bo", age=3.5)],
            outbox=schema.OutboxStatus(count=1, oldest=240.0),
            custody=schema.CustodyStatus(count=3, bytes=12_288, limit=200_000_000),
            transports={"lan": schema.TransportStatus(state="up", nearby=2)},
            locked=self.locked,
            courier=self.courier,
            erasing=self.erasing,
            rejected={"bad-frame": 2},
            warnings=["the vault has no passphrase"],
        )

    async def _listcontacts(self, ask: schema.ListContacts) -> schema.Contacts:
        return schema.Contacts(contacts=list(self.contacts.values()))

    async def _contactref(self, ask: schema.ContactRef) -> schema.Contact:
        return self._known(ask.contact)

    async def _renamecontact(self, ask: schema.RenameContact) -> schema.Contact:
        import msgspec

        found = msgspec.structs.replace(self._known(ask.contact), name=ask.name)
        del self.contacts[ask.contact]
        self.contacts[ask.name] = found
        return found

    async def _removecontact(self, ask: schema.RemoveContact) -> schema.Done:
        del self.contacts[self._known(ask.contact).name]
        return schema.Done()

    async def _blockcontact(self, ask: schema.BlockContact) -> schema.Contact:
        import msgspec

        state = "blocked" if ask.blocked else "active"
        found = msgspec.structs.replace(self._known(ask.contact), state=state)
        self.contacts[ask.contact] = found
        return found

    async def _verifycontact(self, ask: schema.VerifyContact) -> schema.Contact:
        import msgspec

        found = msgspec.structs.replace(
            self._known(ask.contact),
            verified="person" if ask.matches else "no",
            state="active" if ask.matches else "suspect",
        )
        self.contacts[ask.contact] = found
        return found

    async def _send(self, ask: schema.Send) -> schema.Sent:
        self._known(ask.to)
        if ask.text.startswith("fail"):
            raise InvalidInput("it fails", why="the test wants it", hint="Do not")
        if ask.text.startswith("crash"):
            raise ZeroDivisionError("canary-of-a-secret")
        if ask.text.startswith("hang"):
            await self.hang.wait()
        await trio.lowlevel.checkpoint()
        message = schema.Message(
            id=f"s{len(self.messages):03}bbbb",
            from_="",
            to=ask.to,
            text=ask.text,
            state="queued",
            at=1_700_000_000,
        )
        self.messages.append(message)
        return schema.Sent(id=message.id, state="queued")

    def _message(self, name: str) -> schema.Message:
        for message in self.messages:
            if message.id.startswith(name):
                return message
        raise InvalidInput(f'no message "{name}"', hint="See p2pnode history")

    async def _waitstate(self, ask: schema.WaitState) -> schema.Message:
        import msgspec

        found = self._message(ask.id)
        if "never" in found.text:
            with trio.move_on_after(ask.timeout):
                await trio.sleep_forever()
            raise NotDelivered(
                "not delivered in time", why="bo was not seen", hint="It stays queued"
            )
        return msgspec.structs.replace(found, state=ask.state)

    async def _gethistory(self, ask: schema.GetHistory) -> schema.History:
        self._known(ask.contact)
        return schema.History(messages=self.messages[-ask.limit :])

    async def _why(self, ask: schema.Why) -> schema.Because:
        found = self._message(ask.id)
        return schema.Because(
            id=found.id,
            state=found.state,
            events=[schema.WhyEvent(at=1_700_000_000, kind="saved", text="saved")],
            summary="It waits for bo.",
        )

    async def _takeevents(self, ask: schema.TakeEvents) -> schema.Events:
        after = ask.after if ask.after >= 0 else self.acked.get(ask.consumer, 0)
        with trio.move_on_after(ask.timeout):
            while len(self.events) <= after:
                await self.change.wait()
        return schema.Events(events=self.events[after : after + ask.limit])

    async def _ackevents(self, ask: schema.AckEvents) -> schema.Done:
        self.acked[ask.consumer] = max(self.acked.get(ask.consumer, 0), ask.cursor)
        self._changed()
        return schema.Done()

    async def _beginevents(self, ask: schema.BeginEvents) -> schema.Begun:
        fresh = ask.consumer not in self.acked
        cursor = self.acked.setdefault(ask.consumer, len(self.events))
        return schema.Begun(cursor=cursor, fresh=fresh)

    async def _redact(self, ask: schema.Redact) -> schema.Message:
        import msgspec

        return msgspec.structs.replace(self._message(ask.id), redacted=True)

    def _rules(self, name: str, **changes: object) -> schema.Rules:
        names = [self._known(name).name] if name else list(self.contacts)
        rules = [
            schema.Rule(**{"contact": one, "days": None, "seconds": 0, **changes})  # type: ignore[arg-type]
            for one in names
        ]
        return schema.Rules(default=0, rules=rules)

    async def _getrules(self, ask: schema.GetRules) -> schema.Rules:
        return self._rules(ask.contact, offered=604_800)

    async def _setretention(self, ask: schema.SetRetention) -> schema.Rules:
        return self._rules(ask.contact, days=ask.days)

    async def _propose(self, ask: schema.Propose) -> schema.Rules:
        return self._rules(ask.contact, proposed=ask.seconds)

    async def _answerproposal(self, ask: schema.AnswerProposal) -> schema.Rules:
        return self._rules(ask.contact, seconds=604_800 if ask.accepted else 0)

    async def _export(self, ask: schema.Export) -> schema.Exported:
        return schema.Exported(path=ask.path, bytes=1_000, contacts=1, messages=len(self.messages))

    async def _erase(self, ask: schema.Erase) -> schema.Erasures:
        if ask.contact:
            self._known(ask.contact)
        self.erasing = [schema.Erasing(what=ask.what, contact=ask.contact, left=86_400)]
        return schema.Erasures(erasing=[] if ask.now else self.erasing)

    async def _geterasures(self, ask: schema.GetErasures) -> schema.Erasures:
        return schema.Erasures(erasing=self.erasing)

    async def _cancelerasures(self, ask: schema.CancelErasures) -> schema.Erasures:
        cancelled, self.erasing = len(self.erasing), []
        return schema.Erasures(erasing=[], cancelled=cancelled)

    async def _writecourier(self, ask: schema.WriteCourier) -> schema.CourierWritten:
        if ask.contact:
            self._known(ask.contact)
        return schema.CourierWritten(envelopes=3, bytes=12_288)

    async def _readcourier(self, ask: schema.ReadCourier) -> schema.CourierRead:
        return schema.CourierRead(found=5, new=3, opened=1, refused=0)

    async def _showcode(self, ask: schema.ShowCode) -> schema.Pairing:
        return self._opened(URI)

    async def _joincode(self, ask: schema.JoinCode) -> schema.Pairing:
        if not ask.uri.upper().startswith("P2PNODE:"):
            raise InvalidInput("this is not a pairing code", hint="It begins with P2PNODE:")
        return self._opened("") if not ask.pairing else self._pairing(ask.pairing)

    def _opened(self, uri: str) -> schema.Pairing:
        name = f"p{len(self.steps)}"
        self.steps[name] = []
        return schema.Pairing(pairing=name, uri=uri, expires_in=600)

    def _pairing(self, name: str) -> schema.Pairing:
        if name not in self.steps:
            raise PairingFailed("no such pairing")
        return schema.Pairing(pairing=name, uri="", expires_in=600)

    async def _nextstep(self, ask: schema.NextStep) -> schema.PairingStep:
        steps = self.steps[ask.pairing]
        if len(steps) == ask.seen:
            if ask.seen >= len(self.script) or self.script[ask.seen] == "wait":
                with trio.move_on_after(ask.timeout):
                    await trio.sleep_forever()
                return schema.PairingStep(pairing=ask.pairing, step=ask.seen, event="waiting")
            steps.append(self._step(ask.pairing, ask.seen + 1, self.script[ask.seen]))
        return steps[ask.seen]

    def _step(self, pairing: str, number: int, event: str) -> schema.PairingStep:
        event, _, reason = event.partition(":")
        return schema.PairingStep(
            pairing=pairing,
            step=number,
            event=event,  # type: ignore[arg-type]
            words=SAS if event == "compare" else [],
            emoji=EMOJI if event == "compare" else [],
            contact="bo" if event == "paired" else "",
            fingerprint=FINGERPRINT if event == "paired" else "",
            reason=reason,
        )

    async def _answerpairing(self, ask: schema.AnswerPairing) -> schema.PairingStep:
        steps = self.steps[ask.pairing]
        if not ask.yes:
            self.script = [*self.script[: len(steps)], "failed:refused"]
        return steps[-1]

    async def _cancelpairing(self, ask: schema.CancelPairing) -> schema.Done:
        if self.steps.pop(ask.pairing, None) is None:
            raise LocalError("no such pairing")
        return schema.Done()
